"""Tables: the columns of each asset's artifact, and rows made from what the ledger holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa

from resources.adapters.ledger.work_queries import StoredResult

_TIME = pa.timestamp("ms", tz="UTC")
_TEXTS = pa.list_(pa.string())

MANIFEST = pa.schema(
    [
        ("domain", pa.string()),
        ("line", pa.int64()),
        ("name", pa.string()),
        ("country", pa.string()),
        ("other_names", _TEXTS),
        ("attributes", pa.string()),
    ]
)

_OUTCOME = [
    ("domain", pa.string()),
    ("state", pa.string()),
    ("kind", pa.string()),
    ("reason", pa.string()),
    ("settled_at", _TIME),
]

ENRICHED = pa.schema(
    [
        *_OUTCOME,
        ("matched", _TEXTS),
        ("credits", pa.float64()),
        (
            "facts",
            pa.list_(
                pa.struct(
                    [
                        ("field", pa.string()),
                        ("value", pa.string()),
                        ("source", pa.string()),
                        ("url", pa.string()),
                        ("at", _TIME),
                        ("confidence", pa.float64()),
                    ]
                )
            ),
        ),
        ("providers", pa.string()),
    ]
)

SCRAPED = pa.schema(
    [
        *_OUTCOME,
        ("role", pa.string()),
        ("url", pa.string()),
        ("status", pa.int32()),
        ("fetched_at", _TIME),
        ("body_hash", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("language", pa.string()),
        ("company_name", pa.string()),
        ("emails", _TEXTS),
        ("phones", _TEXTS),
        ("social", _TEXTS),
        ("addresses", pa.string()),
        ("jsonld", pa.string()),
        ("text", pa.string()),
    ]
)


def moment(at: float | None) -> datetime | None:
    """Epoch seconds as a UTC time, for people and tables."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


def as_text(value: Any) -> str:
    """A value as one cell of text: text as it is, all else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def manifest_rows(members: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
    """Rows of a batch's manifest."""
    return [{**member, "attributes": as_text(member["attributes"])} for member in members]


def enriched_rows(results: Sequence[StoredResult]) -> list[dict[str, Any]]:
    """One row per domain: what the providers say."""
    rows = []
    for result in results:
        payload = orjson.loads(result.payload) if result.payload else {"providers": []}
        facts = [fact for p in payload["providers"] for fact in p.get("facts", ())]
        rows.append(
            {
                **_outcome(result),
                "matched": [p["provider"] for p in payload["providers"] if p["verdict"] == "match"],
                "credits": sum(p.get("credits", 0.0) for p in payload["providers"]),
                "facts": [
                    {**fact, "value": as_text(fact["value"]), "at": moment(fact["at"])}
                    for fact in facts
                ],
                "providers": as_text(payload["providers"]),
            }
        )
    return rows


def scraped_rows(results: Sequence[StoredResult]) -> list[dict[str, Any]]:
    """One row per page; a domain without pages has one row that says why."""
    return [row for result in results for row in _page_rows(result)]


def _page_rows(result: StoredResult) -> Iterator[dict[str, Any]]:
    outcome = _outcome(result)
    if result.payload is None:
        yield outcome
        return
    for entry in orjson.loads(result.payload)["pages"]:
        page = entry["page"]
        yield {
            **outcome,
            "role": entry["role"],
            "url": page["url"],
            "status": entry["status"],
            "fetched_at": moment(entry["fetched_at"]),
            "body_hash": entry["body_hash"],
            "title": page["title"],
            "description": page["description"],
            "language": page["language"],
            "company_name": page["company_name"],
            "emails": page["emails"],
            "phones": [phone["e164"] or phone["raw"] for phone in page["phones"]],
            "social": page["social"],
            "addresses": as_text(page["addresses"]),
            "jsonld": as_text(page["jsonld"]),
            "text": page["text"],
        }


def _outcome(result: StoredResult) -> dict[str, Any]:
    return {
        "domain": result.domain,
        "state": result.state.value,
        "kind": result.kind,
        "reason": result.reason,
        "settled_at": moment(result.settled_at),
    }


_TIMES = frozenset({"at", "fetched_at", "settled_at"})


def data_version(rows: Sequence[Mapping[str, Any]]) -> str:
    """A hash of the rows' content; times do not count, so that the same content is the same."""
    content = orjson.dumps(_without_times(rows), option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_times(item) for key, item in value.items() if key not in _TIMES}
    if isinstance(value, list | tuple):
        return [_without_times(item) for item in value]
    return value
