"""All that is known about one domain, collected from ledger and store, for `pipeline why`.

Collecting alone; how it is told is in `why`. Every dictionary here is printed as JSON as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import orjson
import pyarrow.parquet as pq

from pipeline_assets.commands.wording import iso
from resources.adapters.ledger.reading import Reading
from resources.adapters.packing import unpack
from resources.core.errors import RULES, FailureKind, Handling
from resources.core.models import Phase, State
from resources.core.redaction import redact
from resources.core.robots_rules import RobotsRules
from resources.platform import Platform
from resources.profile_builder import ASSET as PROFILES

Entry = dict[str, Any]


class Next(StrEnum):
    """What happens to a domain in a phase after now."""

    WORKED_ON = "worked_on"
    FIRST_TRY = "first_try"
    ANOTHER_ROUND = "another_round"
    NEXT_RUN = "next_run"
    NEEDS_PERSON = "needs_person"
    INPUTS = "inputs"
    REFRESH = "refresh"
    TRIED_AGAIN = "tried_again"
    NOTHING = "nothing"


def what_next(
    row: Mapping[str, Any], *, waits_for: str | None, is_held: bool, refresh_s: float
) -> Entry:
    """Say what comes next, and the earliest time at which it can.

    Args:
        waits_for: The failure kind that it waits for, where there is one.
    """
    state, settled_at = State(row["state"]), row["settled_at"]
    rule = RULES[FailureKind(waits_for)] if waits_for else None
    what, at = Next.NEXT_RUN, row["not_before"] or None
    if is_held:
        what, at = Next.WORKED_ON, None
    elif row["refresh_asked"]:
        if rule is not None and rule.needs_person:
            what, at = Next.NEEDS_PERSON, None
        else:
            what = Next.TRIED_AGAIN
    elif state is State.QUARANTINED:
        what, at = Next.NOTHING, None
    elif state.is_settled:
        what, at = Next.REFRESH, settled_at + refresh_s if settled_at else None
    elif row["phase"] == Phase.PROFILE_BUILD:
        what, at = Next.INPUTS, None
    elif rule is None:
        what, at = Next.FIRST_TRY, None
    elif rule.needs_person:
        what, at = Next.NEEDS_PERSON, None
    elif rule.handling is Handling.ROUND:
        what = Next.ANOTHER_ROUND
    return {"what": what, "at": at}


class Story:
    """What is known about one domain.

    Args:
        domain: Registrable domain.
    """

    def __init__(self, platform: Platform, domain: str) -> None:
        self.domain = domain
        self.now = platform.clock.now()
        self._platform = platform
        self._reading = Reading(platform.ledger.database)
        self.lists: list[Entry] = [dict(row) for row in self._reading.appearances(domain)]
        self.events: list[Entry] = [dict(row) for row in platform.ledger.work.history(domain)]
        self.calls: list[Entry] = [dict(row) for row in platform.ledger.calls.story(domain)]
        self.answers = self._answers()
        self.pages = self._pages()
        self.failed_pages = list(self._payload(Phase.PAGE_SCRAPING).get("failed", ()))
        self.robots = list(self._robots())
        self.phases = {row["phase"]: self._standing(row) for row in self._reading.standing(domain)}
        self.profile, self.profile_at = self._profile()

    @property
    def is_known(self) -> bool:
        """Whether the domain is in any list."""
        return bool(self.lists)

    def as_json(self) -> Entry:
        """The story as one object; times in ISO 8601, UTC."""
        told: Entry = _printable(
            {
                "domain": self.domain,
                "is_known": self.is_known,
                "lists": self.lists,
                "events": self.events,
                "calls": self.calls,
                "answers": self.answers,
                "robots": self.robots,
                "pages": self.pages,
                "failed_pages": self.failed_pages,
                "phases": self.phases,
                "profile": self.profile,
                "profile_built_at": self.profile_at,
            }
        )
        return told

    def _payload(self, phase: Phase) -> Entry:
        result = self._platform.ledger.work.result(phase, self.domain)
        if result is None or result.payload is None:
            return {}
        found: Entry = orjson.loads(result.payload)
        return found

    def _answers(self) -> list[Entry]:
        """What was made of each provider's answer, and what was done without."""
        payload = self._payload(Phase.COMPANY_ENRICHMENT)
        answers = [
            {key: value for key, value in entry.items() if key != "facts"}
            | {"facts": len(entry.get("facts", ()))}
            for entry in payload.get("providers", ())
        ]
        noted = {entry["provider"]: entry["message"] for entry in payload.get("noted", ())}
        for answer in answers:
            if answer["verdict"] == "failed":
                answer["message"] = noted.get(answer["provider"])
        return answers

    def _pages(self) -> list[Entry]:
        rows = self._platform.ledger.pages.of_domain(self.domain).values()
        return [
            {
                "role": row.role,
                "url": row.url,
                "final_url": row.final_url,
                "status": row.status,
                "content_type": row.content_type,
                "size_bytes": row.size_bytes,
                "at": row.fetched_at,
            }
            for row in sorted(rows, key=lambda row: row.fetched_at)
        ]

    def _robots(self) -> Iterator[Entry]:
        """What the robots.txt of each of the site's hosts says about its home page."""
        urls = [f"{scheme}://{self.domain}/" for scheme in ("https", "http")]
        urls += [f"https://www.{self.domain}/"]
        urls += [page[key] for page in self.pages for key in ("url", "final_url")]
        hosts = dict.fromkeys("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in urls)
        for row in self._reading.robots_of(list(hosts)):
            body = unpack(row["body"])
            text = body.decode("utf-8", errors="replace") if row["status"] < 400 else None
            yield {
                "host": row["host"],
                "status": row["status"],
                "size_bytes": len(body),
                "allows_home": RobotsRules(text).may_fetch(f"{row['host']}/"),
                "at": row["fetched_at"],
            }

    def _profile(self) -> tuple[Entry | None, float | None]:
        """The profile built last, with its evidence, and when."""
        artifacts = self._platform.ledger.artifacts
        found = [artifacts.find(PROFILES, str(row["batch"])) for row in self.lists]
        for artifact in sorted((a for a in found if a), key=lambda a: -a.at):
            path = self._platform.store.root / artifact.path
            if not path.exists():
                continue
            table = pq.read_table(
                path,
                columns=["state", "missing", "evidence"],
                filters=[("domain", "=", self.domain)],
            )
            for row in table.to_pylist():
                evidence: Entry = orjson.loads(row["evidence"])
                return {**evidence, "state": row["state"]}, artifact.at
        return None, None

    def _standing(self, row: Mapping[str, Any]) -> Entry:
        is_held = row["pid"] is not None and row["ended_at"] is None
        is_tried_again = bool(row["refresh_asked"])
        waits_for = None if State(row["state"]).is_settled else row["kind"]
        if is_tried_again:
            waits_for = self._refresh_waits_for(row["phase"])
        return {
            "state": row["state"],
            "kind": row["kind"],
            "is_tried_again": is_tried_again,
            "waits_for": waits_for,
            "reason": row["reason"],
            "rounds": row["rounds"],
            "not_before": row["not_before"] or None,
            "settled_at": row["settled_at"],
            "updated_at": row["updated_at"],
            "held_by": f"process {row['pid']} on {row['host']}" if is_held else None,
            "next": what_next(
                row,
                waits_for=waits_for,
                is_held=is_held,
                refresh_s=self._platform.settings.refresh_after,
            ),
        }

    def _refresh_waits_for(self, phase: str) -> str | None:
        """What the newest attempt on a settled domain waits for; None when there was none yet."""
        newest = next((one for one in reversed(self.events) if one["phase"] == phase), None)
        is_waiting = newest is not None and newest["what"] == State.WAITING
        return newest["kind"] if newest is not None and is_waiting else None


_IS_TIME = frozenset({"at", "fetched_at"})


def _printable(value: Any) -> Any:
    """The same with every time written out, and without secrets."""
    if isinstance(value, Mapping):
        return {
            str(key): iso(item)
            if isinstance(item, int | float)
            and (key in _IS_TIME or key.endswith(("_at", "before")))
            else _printable(item)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_printable(item) for item in value]
    return redact(value) if isinstance(value, str) else value
