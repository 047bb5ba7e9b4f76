"""A company record of People Data Labs, read by its contract: from JSON to names and facts.

Lenient field by field, because the record is paid for: a value of an odd type counts as absent.
How it is asked for, and what statuses mean, is in `people_data_labs`.

Source: https://docs.peopledatalabs.com/docs/company-schema
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from resources.adapters.providers.replies import Lenient, registrable
from resources.core.countries import alpha2
from resources.core.domains import SuffixRules
from resources.core.models import Candidate, CompanyQuery, Fact, RawAnswer

CONFIDENCE: Final = 0.75
"""Bought from aggregated sources: right more often than not, and sometimes years old."""


class CompanyLocation(BaseModel):
    """The part of `CompanyLocation` that profiles use."""

    street_address: Lenient[str] = None
    address_line_2: Lenient[str] = None
    locality: Lenient[str] = None
    region: Lenient[str] = None
    postal_code: Lenient[str] = None
    country: Lenient[str] = None


class CompanyRecord(BaseModel):
    """The part of `Company` that profiles use, and the provider's own likelihood."""

    id: Lenient[str] = None
    name: Lenient[str] = None
    display_name: Lenient[str] = None
    legal_name: Lenient[str] = None
    alternative_names: Lenient[tuple[str, ...]] = None
    website: Lenient[str] = None
    likelihood: Lenient[float] = None
    summary: Lenient[str] = None
    headline: Lenient[str] = None
    industry: Lenient[str] = None
    size: Lenient[str] = None
    employee_count: Lenient[int] = None
    founded: Lenient[int] = None
    type: Lenient[str] = None
    ticker: Lenient[str] = None
    linkedin_url: Lenient[str] = None
    facebook_url: Lenient[str] = None
    twitter_url: Lenient[str] = None
    profiles: Lenient[tuple[str, ...]] = None
    location: Lenient[CompanyLocation] = None


def company_record(data: Any) -> CompanyRecord | None:
    """Return the record, or None when the data is none: it names no company at all."""
    if not isinstance(data, dict):
        return None
    record = CompanyRecord.model_validate(flat(data))
    return record if record.id or record.name or record.website else None


def flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record alone; PDL's other endpoints wrap it in `data`, so both are taken."""
    inner = item.get("data")
    record = {**item, **inner} if isinstance(inner, dict) else dict(item)
    return {key: value for key, value in record.items() if key not in ("data", "metadata")}


def candidate_of(
    record: CompanyRecord, query: CompanyQuery, answer: RawAnswer, suffixes: SuffixRules
) -> Candidate:
    """Return the record as a candidate; its website, reduced to the domain, is its evidence."""
    domain = registrable(record.website, suffixes)
    names = (record.display_name, record.name, record.legal_name, *(record.alternative_names or ()))
    return Candidate(
        record_id=record.id or domain or query.domain,
        names=tuple(dict.fromkeys(name for name in names if name and name.strip())),
        domains=(domain,) if domain else (),
        country=alpha2(record.location.country) if record.location else None,
        facts=_facts(record, answer),
        score=_score(record.likelihood),
    )


def _score(likelihood: float | None) -> float | None:
    return None if likelihood is None else min(max(likelihood / 10, 0.0), 1.0)


def _cased(text: str | None) -> str | None:
    """Give names of places and companies their capitals back; PDL sends them in lower case."""
    return string.capwords(text) if text and text.islower() else text


def _facts(record: CompanyRecord, answer: RawAnswer) -> tuple[Fact, ...]:
    location = record.location or CompanyLocation()
    street = ", ".join(filter(None, (location.street_address, location.address_line_2)))
    social = (
        record.linkedin_url,
        record.facebook_url,
        record.twitter_url,
        *(record.profiles or ()),
    )
    values: tuple[tuple[str, object], ...] = (
        ("name", record.display_name or _cased(record.name)),
        ("legal_name", _cased(record.legal_name)),
        ("description", record.summary or record.headline),
        ("industry", record.industry),
        ("size_range", record.size),
        ("employees", record.employee_count),
        ("founded", record.founded),
        ("company_type", record.type),
        ("ticker", record.ticker),
        ("website", record.website),
        ("street", _cased(street)),
        ("city", _cased(location.locality)),
        ("region", _cased(location.region)),
        ("postcode", location.postal_code and location.postal_code.upper()),
        ("country", alpha2(location.country)),
        *(("social", url) for url in dict.fromkeys(social)),
    )
    return tuple(
        Fact(field, value, "pdl", answer.url, answer.at, CONFIDENCE)
        for field, value in values
        if value not in (None, "")
    )
