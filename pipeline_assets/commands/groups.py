"""Domains of a list grouped by phase, state and kind: what `status` and `failures` tell about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_assets.commands.wording import iso, until
from resources.adapters.ledger.reading import Reading
from resources.core.errors import RULES, FailureKind
from resources.core.models import FETCHING, Phase, State
from resources.core.tallies import Tally, comes_back
from resources.directory import ASSET as DIRECTORY
from resources.platform import Platform

ORDER = (
    State.SUCCEEDED,
    State.NOT_FOUND,
    State.REFUSED,
    State.QUARANTINED,
    State.WAITING,
    State.PENDING,
)


@dataclass(frozen=True, slots=True)
class Group:
    """Domains of one phase that are in the same state for the same reason.

    Args:
        not_before: The earliest time at which one of them may be tried, epoch seconds.
        claimed: Those that a worker holds.
        tried_again: Settled ones that are to be worked on again all the same.
    """

    phase: Phase
    state: State
    kind: FailureKind | None
    domains: int
    claimed: int
    not_before: float
    tried_again: int = 0

    @property
    def sentence(self) -> str:
        """What the kind means."""
        if self.kind is not None:
            return RULES[self.kind].sentence
        match self.state:
            case State.PENDING:
                return "Not tried yet."
            case State.NOT_FOUND:
                return "No provider knows this company."
            case _:
                return ""

    @property
    def needs_person(self) -> bool:
        """Whether nothing will change by itself, though something is still to be done."""
        is_waiting = self.state is State.WAITING and self.kind is not None
        return is_waiting and self.kind is not None and RULES[self.kind].needs_person

    def next_step(self, now: float) -> str:
        """When the first of them goes on, or who must act."""
        if self.needs_person:
            return "waits for you"
        if self.claimed:
            return "being worked on"
        if self.state is State.PENDING:
            return "begins with the next run"
        if self.kind is not None and not RULES[self.kind].has_due_time:
            return "goes on with the next run"
        return f"first one due {until(self.not_before, now)}"


def reading_of(platform: Platform) -> Reading:
    return Reading(platform.ledger.database)


def groups_of(platform: Platform, name: str | None) -> list[Group]:
    return [
        Group(
            Phase(row["phase"]),
            State(row["state"]),
            FailureKind(row["kind"]) if row["kind"] else None,
            int(row["domains"]),
            int(row["claimed"]),
            float(row["not_before"]),
            int(row["refreshing"]),
        )
        for row in reading_of(platform).groups(name)
    ]


def states_of(groups: Sequence[Group], phase: Phase) -> dict[State, int]:
    found = dict.fromkeys(ORDER, 0)
    for group in groups:
        if group.phase is phase:
            found[group.state] += group.domains
    return found


def waits(groups: Sequence[Group]) -> list[Group]:
    """What is unsettled in the fetching phases; profiles wait for nothing but these."""
    return [g for g in groups if g.phase in FETCHING and not g.state.is_settled]


def quarantined(groups: Sequence[Group]) -> list[Group]:
    return [g for g in groups if g.state is State.QUARANTINED]


def next_try(total: Tally, now: float) -> str:
    """When the first of the settled domains that are tried again goes on, or who must act."""
    if any(comes_back(kind) for kind in total.refreshing_kinds):
        return "goes on with the next run"
    if total.next_refresh_at is not None:
        return f"first one due {until(total.next_refresh_at, now)}"
    return "waits for you"


def is_missing(group: Group) -> bool:
    return group.phase in FETCHING and group.state is not State.SUCCEEDED


def places_of(platform: Platform) -> dict[str, str]:
    """Where results lie, by name; of the directory's files only what exists."""
    root = platform.store.root / DIRECTORY
    files = {"csv": root / "companies.csv", "parquet": root / "companies.parquet"}
    present = {name: str(path) for name, path in files.items() if path.exists()}
    return {**present, "store": str(platform.store.root), "home": str(platform.settings.home)}


def group_json(group: Group) -> dict[str, Any]:
    return {
        "phase": group.phase,
        "state": group.state,
        "kind": group.kind,
        "domains": group.domains,
        "claimed": group.claimed,
        "tried_again": group.tried_again,
        "meaning": group.sentence,
        "not_before": iso(group.not_before) if group.state is State.WAITING else None,
        "needs_person": group.needs_person,
    }
