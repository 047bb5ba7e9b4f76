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
        claimed_kinds: The same by failure kind, named as in `waiting_kinds`.
        refreshing: Settled domains that are to be worked on again; what they settled with counts
            until then.
        next_round_at: Epoch seconds of the first domain that waits for another round, or None.
        fingerprint: Changes whenever a domain of it has settled anew.
    """

    states: Mapping[State, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    waiting_kinds: Mapping[str, int] = field(default_factory=dict)
    claimed: int = 0
    next_round_at: float | None = None
    fingerprint: str = ""
    claimed_kinds: Mapping[str, int] = field(default_factory=dict)
    refreshing: int = 0

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def unsettled(self) -> int:
        return sum(n for state, n in self.states.items() if state in UNSETTLED)

    @property
    def settled(self) -> int:
        return self.total - self.unsettled

    @property
    def open(self) -> int:
        """Domains to work on: unsettled ones, and settled ones to be refreshed."""
        return self.unsettled + self.refreshing


@dataclass(frozen=True, slots=True)
class TallyRow:
    """One group of equal rows, as the ledger's query gives it."""

    state: State
    kind: str | None
    count: int
    claimed: int
    revisions: int
    not_before: float
    refreshing: int = 0


def tally(rows: Iterable[TallyRow]) -> Tally:
    """Add up groups of rows."""
    states: Counter[State] = Counter()
    kinds: Counter[str] = Counter()
    waiting_kinds: Counter[str] = Counter()
    claimed_kinds: Counter[str] = Counter()
    revisions = refreshing = 0
    next_round_at: float | None = None
    for row in rows:
        states[row.state] += row.count
        refreshing += row.refreshing
        revisions += row.revisions
        if row.kind is not None:
            kinds[row.kind] += row.count
        if row.state in UNSETTLED:
            waiting_kinds[row.kind or row.state.value] += row.count
            claimed_kinds[row.kind or row.state.value] += row.claimed
            if row.kind is not None and RULES[FailureKind(row.kind)].handling is Handling.ROUND:
                earlier = row.not_before if next_round_at is None else next_round_at
                next_round_at = min(row.not_before, earlier)
    settled = sum(n for state, n in states.items() if state not in UNSETTLED)
    return Tally(
        states=dict(states),
        kinds=dict(kinds),
        waiting_kinds=dict(waiting_kinds),
        claimed=claimed_kinds.total(),
        next_round_at=next_round_at,
        fingerprint=f"{settled}.{revisions}",
        claimed_kinds=dict(claimed_kinds),
        refreshing=refreshing,
    )


def sum_up(tallies: Iterable[Tally]) -> Tally:
    """Add up the tallies of many batches."""
    states: Counter[State] = Counter()
    kinds: Counter[str] = Counter()
    waiting_kinds: Counter[str] = Counter()
    claimed_kinds: Counter[str] = Counter()
    claimed = refreshing = 0
    rounds_at = []
    for one in tallies:
        states.update(one.states)
        kinds.update(one.kinds)
        waiting_kinds.update(one.waiting_kinds)
        claimed_kinds.update(one.claimed_kinds)
        claimed += one.claimed
        refreshing += one.refreshing
        if one.next_round_at is not None:
            rounds_at.append(one.next_round_at)
    return Tally(
        states=dict(states),
        kinds=dict(kinds),
        waiting_kinds=dict(waiting_kinds),
        claimed=claimed,
        next_round_at=min(rounds_at, default=None),
        claimed_kinds=dict(claimed_kinds),
        refreshing=refreshing,
    )


def sentence(phase: Phase, total: Tally) -> str:
    """Say in plain words what is unsettled and why, most frequent reason first.

    What is in somebody's hands has no reason of its own: told apart, or a person would start a run
    for it that finds nothing to do.
    """
    parts = []
    free = Counter(total.waiting_kinds)
    free.subtract(total.claimed_kinds)
    for kind, count in sorted((+free).items(), key=lambda item: (-item[1], item[0])):
        if kind in RULES:
            parts.append(f"{count} {kind} ({RULES[FailureKind(kind)].sentence.rstrip('.')})")
        else:
            parts.append(f"{count} {kind}")
    if total.claimed:
        verb = "is" if total.claimed == 1 else "are"
        parts.append(f"{total.claimed} {verb} being worked on by another run")
    return (
        f"{phase}: {total.unsettled} of {total.total} domains are not settled yet: "
        + "; ".join(parts)
        + f". The other {total.settled} are kept."
    )
