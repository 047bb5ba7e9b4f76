"""Where batches stand: counts of domains by state and kind, and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from resources.core.errors import RULES, FailureKind
from resources.core.models import UNSETTLED, Phase, State

NOT_TRIED = "not_tried"


def without_deaths(progress: str) -> str:
    """A batch's progress as if no worker had died with one of its domains in hand.

    >>> without_deaths("3.7.0.0+2") == without_deaths("3.7.0.0+3")
    True
    """
    return progress.partition("+")[0]


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
        refreshing_kinds: The same by the failure kind that their newest attempt waits for;
            `NOT_TRIED` where there was none yet or it is under way.
        refreshing_claimed: How many of them a worker holds, as `NOT_TRIED` ones.
        next_refresh_at: Epoch seconds of the first of them that nobody holds and that waits for a
            time that is known (another round, the end of a pause, room in a pace limit), or None.
        next_round_at: The same of the first unsettled domain, or None.
        fingerprint: Changes whenever a domain of it has settled anew.
        rounds: Rounds used up by all of its domains.
        deaths: Workers that died with one of them in hand.
    """

    states: Mapping[State, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    waiting_kinds: Mapping[str, int] = field(default_factory=dict)
    claimed: int = 0
    next_round_at: float | None = None
    fingerprint: str = ""
    claimed_kinds: Mapping[str, int] = field(default_factory=dict)
    refreshing: int = 0
    refreshing_kinds: Mapping[str, int] = field(default_factory=dict)
    refreshing_claimed: int = 0
    next_refresh_at: float | None = None
    rounds: int = 0
    deaths: int = 0

    @property
    def progress(self) -> str:
        """Changes whenever an attempt has brought anything nearer to its end: a domain settled,
        used up a round, or a worker died of it (see `without_deaths`)."""
        return f"{self.fingerprint}.{self.rounds}.{self.refreshing}+{self.deaths}"

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
    """One group of equal rows, as the ledger's query gives it.

    Args:
        kind: Why they are in their state, where there is a reason.
        claimed: How many of them a worker holds.
        not_before: The earliest of those that nobody holds, epoch seconds; None for none.
        refreshing: How many of them are to be worked on again though they are settled.
        refresh_kind: What the newest attempt of these waits for, where there was one.
    """

    state: State
    kind: str | None
    count: int
    claimed: int
    revisions: int
    not_before: float | None
    refreshing: int = 0
    refresh_kind: str | None = None
    rounds: int = 0
    deaths: int = 0


def tally(rows: Iterable[TallyRow]) -> Tally:
    """Add up groups of rows."""
    states: Counter[State] = Counter()
    kinds: Counter[str] = Counter()
    waiting_kinds: Counter[str] = Counter()
    claimed_kinds: Counter[str] = Counter()
    refreshing_kinds: Counter[str] = Counter()
    revisions = rounds = deaths = refreshing_claimed = 0
    rounds_at: list[float] = []
    refreshes_at: list[float] = []
    for row in rows:
        states[row.state] += row.count
        revisions += row.revisions
        rounds += row.rounds
        deaths += row.deaths
        if row.refreshing:
            refreshing_kinds[row.refresh_kind or NOT_TRIED] += row.refreshing
            if row.state not in UNSETTLED:
                # Of the settled ones only these can be in somebody's hands.
                refreshing_claimed += row.claimed
            if row.not_before is not None and _has_due_time(row.refresh_kind):
                refreshes_at.append(row.not_before)
        if row.kind is not None:
            kinds[row.kind] += row.count
        if row.state in UNSETTLED:
            waiting_kinds[row.kind or row.state.value] += row.count
            claimed_kinds[row.kind or row.state.value] += row.claimed
            if row.not_before is not None and _has_due_time(row.kind):
                rounds_at.append(row.not_before)
    settled = sum(n for state, n in states.items() if state not in UNSETTLED)
    return Tally(
        states=dict(states),
        kinds=dict(kinds),
        waiting_kinds=dict(waiting_kinds),
        claimed=claimed_kinds.total(),
        next_round_at=min(rounds_at, default=None),
        fingerprint=f"{settled}.{revisions}",
        claimed_kinds=dict(claimed_kinds),
        refreshing=refreshing_kinds.total(),
        refreshing_kinds=dict(refreshing_kinds),
        refreshing_claimed=refreshing_claimed,
        next_refresh_at=min(refreshes_at, default=None),
        rounds=rounds,
        deaths=deaths,
    )


def _has_due_time(kind: str | None) -> bool:
    """Whether the time at which a domain with this kind goes on is known."""
    return kind is not None and RULES[FailureKind(kind)].has_due_time


def comes_back(kind: str) -> bool:
    """Whether what a domain waits for may end by itself at any time, as our network may come back
    or a run end that holds it.

    Args:
        kind: Failure kind, state, or `NOT_TRIED`, as in `waiting_kinds` and `refreshing_kinds`.
    """
    if kind not in RULES:
        return True
    rule = RULES[FailureKind(kind)]
    return rule.is_retryable and not rule.has_due_time


def sum_up(tallies: Iterable[Tally]) -> Tally:
    """Add up the tallies of many batches."""
    states: Counter[State] = Counter()
    kinds: Counter[str] = Counter()
    waiting_kinds: Counter[str] = Counter()
    claimed_kinds: Counter[str] = Counter()
    refreshing_kinds: Counter[str] = Counter()
    claimed = refreshing_claimed = 0
    rounds_at = []
    refreshes_at = []
    for one in tallies:
        states.update(one.states)
        kinds.update(one.kinds)
        waiting_kinds.update(one.waiting_kinds)
        claimed_kinds.update(one.claimed_kinds)
        claimed += one.claimed
        refreshing_claimed += one.refreshing_claimed
        refreshing_kinds.update(one.refreshing_kinds)
        if one.next_round_at is not None:
            rounds_at.append(one.next_round_at)
        if one.next_refresh_at is not None:
            refreshes_at.append(one.next_refresh_at)
    return Tally(
        states=dict(states),
        kinds=dict(kinds),
        waiting_kinds=dict(waiting_kinds),
        claimed=claimed,
        next_round_at=min(rounds_at, default=None),
        claimed_kinds=dict(claimed_kinds),
        refreshing=refreshing_kinds.total(),
        refreshing_kinds=dict(refreshing_kinds),
        refreshing_claimed=refreshing_claimed,
        next_refresh_at=min(refreshes_at, default=None),
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
