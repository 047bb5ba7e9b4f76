"""Where batches stand: counts of domains by state and kind, and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from resources.core.errors import RULES, FailureKind, Handling
from resources.core.models import UNSETTLED, Phase, State


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one batch (or of many together) in one phase.

    Args:
        states: Domains by state.
        kinds: Domains by failure kind, settled or not.
        waiting_kinds: Unsettled domains by failure kind.
        claimed: Unsettled domains that a worker holds.
        next_round_at: Epoch seconds of the first domain that waits for another round, or None.
        fingerprint: Changes whenever a domain of it has settled anew.
    """

    states: Mapping[State, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    waiting_kinds: Mapping[str, int] = field(default_factory=dict)
    claimed: int = 0
    next_round_at: float | None = None
    fingerprint: str = ""

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def unsettled(self) -> int:
        return sum(n for state, n in self.states.items() if state in UNSETTLED)

    @property
    def settled(self) -> int:
        return self.total - self.unsettled


@dataclass(frozen=True, slots=True)
class TallyRow:
    """One group of equal rows, as the ledger's query gives it."""

    state: State
    kind: str | None
    count: int
    claimed: int
    revisions: int
    not_before: float


def tally(rows: Iterable[TallyRow]) -> Tally:
    """Add up groups of rows."""
    states: Counter[State] = Counter()
    kinds: Counter[str] = Counter()
    waiting_kinds: Counter[str] = Counter()
    claimed = revisions = 0
    next_round_at: float | None = None
    for row in rows:
        states[row.state] += row.count
        claimed += row.claimed
        revisions += row.revisions
        if row.kind is not None:
            kinds[row.kind] += row.count
        if row.state in UNSETTLED:
            waiting_kinds[row.kind or row.state.value] += row.count
            if row.kind is not None and RULES[FailureKind(row.kind)].handling is Handling.ROUND:
                earlier = row.not_before if next_round_at is None else next_round_at
                next_round_at = min(row.not_before, earlier)
    settled = sum(n for state, n in states.items() if state not in UNSETTLED)
    return Tally(
        states=dict(states),
        kinds=dict(kinds),
        waiting_kinds=dict(waiting_kinds),
        claimed=claimed,
        next_round_at=next_round_at,
        fingerprint=f"{settled}.{revisions}",
    )


def sum_up(tallies: Iterable[Tally]) -> Tally:
    """Add up the tallies of many batches."""
    states: Counter[State] = Counter()
    kinds: Counter[str] = Counter()
    waiting_kinds: Counter[str] = Counter()
    claimed = 0
    rounds_at = []
    for one in tallies:
        states.update(one.states)
        kinds.update(one.kinds)
        waiting_kinds.update(one.waiting_kinds)
        claimed += one.claimed
        if one.next_round_at is not None:
            rounds_at.append(one.next_round_at)
    return Tally(
        dict(states), dict(kinds), dict(waiting_kinds), claimed, min(rounds_at, default=None)
    )


def sentence(phase: Phase, total: Tally) -> str:
    """Say in plain words what is unsettled and why, most frequent reason first."""
    parts = []
    for kind, count in sorted(total.waiting_kinds.items(), key=lambda item: (-item[1], item[0])):
        if kind in RULES:
            parts.append(f"{count} {kind} ({RULES[FailureKind(kind)].sentence.rstrip('.')})")
        else:
            parts.append(f"{count} {kind}")
    return (
        f"{phase}: {total.unsettled} of {total.total} domains are not settled yet: "
        + "; ".join(parts)
        + f". The other {total.settled} are kept."
    )
