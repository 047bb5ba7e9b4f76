"""Write profiles and facts down: as plain dictionaries for JSON, and as rows of one flat table.

Nothing is decided here; merging is in `profile`. `COLUMNS` is the table's schema, and the data
dictionary is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from resources.core.models import CompanyProfile, Fact, FieldValue
from resources.core.profile_rules import RULES

Scalar = str | int | float | None
LIST_SEPARATOR: Final = "; "


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the flat table.

    Args:
        name: Column name.
        type: `text`, `integer` or `number`; all columns may be empty except `domain`.
        description: What it means.
    """

    name: str
    type: str
    description: str


def _columns() -> tuple[Column, ...]:
    columns = [Column("domain", "text", "Registrable domain, lower-case punycode; the key.")]
    for name, rule in RULES.items():
        several = f" Several, joined by {LIST_SEPARATOR!r}." if rule.is_list else ""
        kind = "text" if rule.is_list else rule.type.value
        columns += [
            Column(name, kind, rule.description + several),
            Column(f"{name}_source", "text", f"Who says {name}: a provider, `site` or `list`."),
            Column(f"{name}_confidence", "number", f"How sure {name} is, 0 to 1."),
        ]
    return tuple(columns)


COLUMNS: Final[tuple[Column, ...]] = _columns()


def flat_row(profile: CompanyProfile) -> dict[str, Scalar]:
    """Return a profile as one row with every column of `COLUMNS`, None where there is no value.

    A list field's source and confidence are those of its first entry; what is missing is not told
    here, because it is about phases, not fields.
    """
    row: dict[str, Scalar] = {column.name: None for column in COLUMNS}
    row["domain"] = profile.domain
    for name, held in profile.fields.items():
        value = held.value
        is_several = isinstance(value, list | tuple)
        row[name] = LIST_SEPARATOR.join(str(entry) for entry in value) if is_several else value
        row[f"{name}_source"] = held.source
        row[f"{name}_confidence"] = held.confidence
    return row


def fact_to_json(fact: Fact) -> dict[str, Any]:
    """Return a fact as a plain dictionary."""
    return {name: getattr(fact, name) for name in Fact.__slots__}


def fact_from_json(data: Mapping[str, Any]) -> Fact:
    """Return the fact that `fact_to_json` wrote.

    Raises: KeyError or TypeError where the data is none.
    """
    return Fact(
        field=data["field"],
        value=data["value"],
        source=data["source"],
        url=data["url"],
        at=float(data["at"]),
        confidence=float(data["confidence"]),
    )


def to_json(profile: CompanyProfile) -> dict[str, Any]:
    """Return a profile as plain dictionaries and lists."""
    return {
        "domain": profile.domain,
        "fields": {name: _field_to_json(held) for name, held in profile.fields.items()},
        "missing": dict(profile.missing),
    }


def from_json(data: Mapping[str, Any]) -> CompanyProfile:
    """Return the profile that `to_json` wrote, also after a way through JSON.

    Raises: KeyError or TypeError where the data is none.
    """
    return CompanyProfile(
        domain=data["domain"],
        fields={name: _field_from_json(held) for name, held in data["fields"].items()},
        missing=dict(data["missing"]),
    )


def _field_to_json(held: FieldValue) -> dict[str, Any]:
    value = list(held.value) if isinstance(held.value, tuple) else held.value
    return {
        "value": value,
        "source": held.source,
        "url": held.url,
        "at": held.at,
        "confidence": held.confidence,
        "others": [fact_to_json(fact) for fact in held.others],
    }


def _field_from_json(data: Mapping[str, Any]) -> FieldValue:
    value = data["value"]
    return FieldValue(
        value=tuple(value) if isinstance(value, list) else value,
        source=data["source"],
        url=data["url"],
        at=float(data["at"]),
        confidence=float(data["confidence"]),
        others=tuple(fact_from_json(fact) for fact in data["others"]),
    )
