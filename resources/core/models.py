"""The words of the project as types: phases, states, tasks, outcomes, facts and profiles.

Plain frozen data, shared by all of `core` and its adapters. No behaviour beyond what follows from
the data itself; decisions live in the modules named after them. Times are seconds since the epoch
(UTC), taken from one injected clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """One asset's work on a batch."""

    COMPANY_ENRICHMENT = "COMPANY_ENRICHMENT"
    PAGE_SCRAPING = "PAGE_SCRAPING"
    PROFILE_BUILD = "PROFILE_BUILD"


FETCHING = (Phase.COMPANY_ENRICHMENT, Phase.PAGE_SCRAPING)
"""The phases that ask the outside; profiles are built from what they settle."""


class State(StrEnum):
    """Where a domain stands in a phase."""

    PENDING = "pending"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    QUARANTINED = "quarantined"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be done (until it is stale by its own rule)."""
        return self not in UNSETTLED


UNSETTLED = frozenset({State.PENDING, State.WAITING})
SETTLED = frozenset(State) - UNSETTLED


@dataclass(frozen=True, slots=True)
class CompanyQuery:
    """What is known of a company before anybody is asked: its domain, and hints from the list.

    Args:
        domain: Registrable domain, lower-case punycode.
        name: Company name from the list, if it has one.
        country: ISO 3166 alpha-2 in upper case, if the list has one.
        other_names: Further names the same domain was listed under.
    """

    domain: str
    name: str | None = None
    country: str | None = None
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One value that somebody says about a company, with its evidence.

    Args:
        field: Name of a profile field (see `profile.RULES`).
        value: Text, number, or for list fields one element.
        source: Provider name, or `site`, or `list`.
        url: The page or the call it came from, without secrets.
        at: When it was seen, epoch seconds.
        confidence: 0 to 1.
    """

    field: str
    value: Any
    source: str
    url: str
    at: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A company that a provider offers as the answer to a query, not yet believed.

    Args:
        record_id: The provider's own identifier.
        names: All names it gives, the main one first.
        domains: Registrable domains it says are the company's own.
        country: ISO 3166 alpha-2, upper case, or None.
        facts: What it says, for the case that it is believed.
        score: The provider's own confidence 0 to 1, or None.
    """

    record_id: str
    names: tuple[str, ...]
    domains: tuple[str, ...]
    country: str | None
    facts: tuple[Fact, ...]
    score: float | None = None


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a provider answered for one domain, as it came, so that it is never bought again.

    Args:
        body: The provider's record as JSON bytes; None means "no match", which is an answer.
        url: The call it came from, without secrets.
        at: Epoch seconds.
        credits: Credits billed for this domain.
    """

    body: bytes | None
    url: str
    at: float
    credits: float = 0.0


@dataclass(frozen=True, slots=True)
class DomainTask:
    """One domain handed to a phase for one attempt.

    Args:
        query: Domain and hints.
        batch_key: The batch in whose run it is worked on.
        rounds: Rounds used up so far.
        is_alone: True when the worker holds nothing else, because too many workers died with it.
        last_settled_at: When the phase last settled it, epoch seconds; 0 when never. What was
            fetched since belongs to an unfinished attempt and is not fetched again.
        is_extract_only: Whether only what is kept of its pages is to be extracted again.
    """

    query: CompanyQuery
    batch_key: str
    rounds: int = 0
    is_alone: bool = False
    last_settled_at: float = 0.0
    is_extract_only: bool = False

    @property
    def domain(self) -> str:
        return self.query.domain


@dataclass(frozen=True, slots=True)
class Settled:
    """A final result of a phase for a domain.

    Args:
        state: One of the settled states.
        payload: The result as JSON bytes, or None where there is none.
        kind: Failure kind that settled it (`robots`, `no_such_host`, ...), or None.
        reason: One sentence for a person where there is no data.
    """

    state: State
    payload: bytes | None = None
    kind: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A profile's value for one field, with the evidence and the values that lost."""

    value: Any
    source: str
    url: str
    at: float
    confidence: float
    others: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class CompanyProfile:
    """One company: every field with its evidence, and what is missing and why.

    Args:
        domain: Registrable domain.
        fields: By field name, only those that somebody gave a value for.
        missing: Phase name to a sentence, for each phase that has no settled result yet or none.
    """

    domain: str
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
