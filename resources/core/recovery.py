"""What is done about a requested batch that is not finished: state in, decision and reason out.

The one place that decides what heals by itself, when, and when a person is needed. Pure: who
fetches the state is the reconciler's adapter (`sensors/`), and who carries a decision out as well.
What becomes of a *run* that is stuck or orphaned is in `run_recovery`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby

from resources.core.batches import contiguous_ranges
from resources.core.errors import RULES, FailureKind
from resources.core.models import Phase
from resources.core.tallies import NOT_TRIED, Tally, comes_back, without_deaths

# Automatic runs of a batch in a row that bring nothing, before only a person or new code helps.
MOST_FRUITLESS_RUNS = 3
# Runs in a row that died while nothing settled, before they are told of and cool down. To find the
# domain of a batch that kills its worker takes about as many: ever smaller groups, then alone.
MOST_DEATHS = 10
COOL_DOWN_S = 60.0
LONGEST_COOL_DOWN_S = 900.0
# From here on the wait is the longest one. An outage of weeks is a thousand attempts, and two to
# the power of that is no number any more.
_LONGEST_AFTER = 5
# A directory is written again at most so often while more profiles are on their way.
DIRECTORY_EVERY_S = 300.0


# What no run is to blame for, however long it lasts: another kind that comes back three times in a
# row, such as runs that are stopped each time, is worth a person's look.
OUTSIDE = frozenset({FailureKind.LOCAL_NETWORK, FailureKind.STORE, FailureKind.BREAKER_OPEN})
_TIMED = frozenset(
    kind
    for kind, rule in RULES.items()
    if rule.is_retryable and not rule.uses_a_round and rule.has_due_time
)


class Action(StrEnum):
    """What is done about a batch in a phase."""

    NOTHING = "nothing"
    """It is settled, and Dagster shows it."""
    MEND = "mend"
    """It is settled, and Dagster's record is put right, without a run."""
    RUN = "run"
    IN_HAND = "in_hand"
    """A run, a backfill or a command has it."""
    WAIT = "wait"
    """It goes on by itself, at a time that is known."""
    PERSON = "person"
    """Nothing changes until somebody acts, or a new period begins."""
    HELD = "held"
    """A person cancelled it."""
    GIVEN_UP = "given_up"
    """Automatic runs bring nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """That somebody wants a batch done in a phase, and what was tried for it by itself.

    Args:
        scope: Names the invocation whose limit of credits holds.
        requested_at: Epoch seconds.
        attempts: Automatic runs in a row that have begun or ended since the last progress.
        deaths: Runs in a row that were ended from outside (their worker died or stood still)
            while nothing settled.
        progress: The batch's `Tally.progress` before the newest automatic run.
        launches: Automatic runs ever.
        launched_at: When the newest of them was asked for, epoch seconds; None for never.
        ended_at: When the newest run over it ended that did not settle it, epoch seconds; None
            where none has.
        last_run_id: The run that ended last without settling it, where known.
        held_reason: Why a person's cancel holds it; None where none does.
        code_version: Of the code that the attempts were made with.
    """

    batch_key: str
    phase: Phase
    scope: str
    requested_at: float
    attempts: int = 0
    progress: str = ""
    launches: int = 0
    launched_at: float | None = None
    last_run_id: str | None = None
    held_reason: str | None = None
    code_version: str = ""
    deaths: int = 0
    ended_at: float | None = None

    @property
    def idle_since(self) -> float | None:
        """When the newest automatic run ended, or was asked for where it has not; None where a
        cool-down has nothing to count from."""
        if self.launched_at is None:
            return None
        return max(self.launched_at, self.ended_at or 0.0)


@dataclass(frozen=True, slots=True)
class OpenWork:
    """What there is to do in a batch, as far as nobody has it in hand.

    Args:
        kinds: Free domains by what they wait for; `pending` and `NOT_TRIED` were not tried yet.
        claimed: Domains that a worker has in hand.
        due_at: Epoch seconds from which the first of the free ones can be worked on, 0.0 for now;
            None where none of them goes on by itself.
    """

    kinds: Mapping[str, int] = field(default_factory=dict)
    claimed: int = 0
    due_at: float | None = None

    @property
    def count(self) -> int:
        return sum(self.kinds.values()) + self.claimed

    @property
    def person_kinds(self) -> tuple[str, ...]:
        """Reasons that need a person, by name."""
        return tuple(sorted(kind for kind in self.kinds if _needs_person(kind)))

    @property
    def is_explained(self) -> bool:
        """Whether all that a run tries waits for something outside that may last long.

        Runs that bring nothing are then not the program's fault, and go on being tried. What waits
        for a person is not tried at all.
        """
        return self._all_tried_in(OUTSIDE)

    @property
    def is_timed(self) -> bool:
        """Whether all that a run tries uses up no round and waits until a time of its own.

        A breaker's next probe is back-off enough: another wait on top would only come late when
        the other side is back.
        """
        return self._all_tried_in(_TIMED)

    def _all_tried_in(self, kinds: Collection[FailureKind]) -> bool:
        tried = [kind for kind in self.kinds if not _needs_person(kind)]
        return bool(tried) and all(kind in kinds for kind in tried)


def _needs_person(kind: str) -> bool:
    return kind in RULES and RULES[FailureKind(kind)].needs_person


def open_work(tally: Tally) -> OpenWork:
    """What a tally leaves to do."""
    unsettled = Counter(tally.waiting_kinds)
    unsettled.subtract(tally.claimed_kinds)
    unsettled = +unsettled
    refreshing = Counter(tally.refreshing_kinds)
    refreshing.subtract({NOT_TRIED: tally.refreshing_claimed})
    refreshing = +refreshing
    due: list[float] = []
    # A time counts only where somebody free waits for one: what is claimed has a time as well.
    for kinds, next_at in (
        (unsettled, tally.next_round_at),
        (refreshing, tally.next_refresh_at),
    ):
        if any(comes_back(kind) for kind in kinds):
            due.append(0.0)
        if next_at is not None and any(_has_due_time(kind) for kind in kinds):
            due.append(next_at)
    claimed = tally.claimed + tally.refreshing_claimed
    return OpenWork(dict(unsettled + refreshing), claimed, min(due, default=None))


def _has_due_time(kind: str) -> bool:
    return kind in RULES and RULES[FailureKind(kind)].has_due_time


@dataclass(frozen=True, slots=True)
class Gate:
    """What holds back a whole phase, or everything under one limit of credits.

    Args:
        reason: In words, where something does.
        until: Epoch seconds before which no run is worth starting.
        needs_person: Whether nobody but a person opens it.
        kind: Failure kind behind it, where a person is needed.
        is_probe: One run is to find out whether the other side is back.
    """

    reason: str = ""
    until: float = 0.0
    needs_person: bool = False
    kind: str | None = None
    is_probe: bool = False


OPEN = Gate()
# Our own side, that every batch of a phase needs.
OF_OURS = (FailureKind.LOCAL_NETWORK, FailureKind.STORE)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one requested batch stands in one phase.

    Args:
        work: What is left to do; nothing where it is settled.
        progress: Changes whenever an attempt has brought anything (`Tally.progress`).
        is_recorded: Whether Dagster shows it as materialised.
        is_settled: Whether all of its domains are; some of them may be refreshed all the same.
        in_hand_by: Who is at it or is about to be, in words; None for nobody.
        gate: What holds its phase back.
        code_version: Of the code that would run.
    """

    request: Request
    work: OpenWork
    progress: str
    is_recorded: bool
    in_hand_by: str | None = None
    gate: Gate = OPEN
    code_version: str = ""
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done, and why in words.

    Args:
        until: For `WAIT`: epoch seconds.
        attempts: Automatic runs in a row that have brought nothing so far.
        kind: For `PERSON`: the failure kind that needs one.
        deaths: Runs in a row that died while nothing settled.
    """

    action: Action
    reason: str
    until: float | None = None
    attempts: int = 0
    kind: str | None = None
    deaths: int = 0


def decide(standing: Standing, now: float) -> Verdict:
    """Decide what is done about one batch in one phase; the first rule that fits counts."""
    attempts, deaths = fruitless_runs(standing), deadly_runs(standing)
    verdict = _first_that_fits(standing, attempts, deaths, now)
    return replace(verdict, attempts=attempts, deaths=deaths)


def _first_that_fits(  # noqa: PLR0911  # a table of rules
    standing: Standing, attempts: int, deaths: int, now: float
) -> Verdict:
    work, request = standing.work, standing.request
    if standing.in_hand_by is not None:
        return Verdict(Action.IN_HAND, standing.in_hand_by)
    if (standing.is_settled or work.count == 0) and not standing.is_recorded:
        return Verdict(Action.MEND, "settled, but Dagster does not show it")
    if work.count == 0:
        return Verdict(Action.NOTHING, "settled")
    if request.held_reason is not None:
        return Verdict(Action.HELD, request.held_reason)
    if not work.kinds:
        return Verdict(Action.IN_HAND, f"a worker has {_domains(work.claimed)} in hand")
    gate = standing.gate
    if gate.needs_person:
        return Verdict(Action.PERSON, gate.reason, kind=gate.kind)
    if work.due_at is None:
        reason = f"waits for a person: {_kinds(work)}"
        kind = next(iter(work.person_kinds), None)
        return Verdict(Action.PERSON, reason, kind=kind)
    if gate.until > now:
        return Verdict(Action.WAIT, gate.reason, until=gate.until)
    if work.due_at > now:
        return Verdict(Action.WAIT, _kinds(work), until=work.due_at)
    if attempts >= MOST_FRUITLESS_RUNS and not work.is_explained:
        reason = f"{attempts} automatic runs in a row brought nothing: {_kinds(work)}"
        return Verdict(Action.GIVEN_UP, reason)
    if (until := _pause_after_deaths(request, deaths)) > now:
        reason = f"{deaths} runs in a row died: {_kinds(work)}"
        return Verdict(Action.WAIT, reason, until=until)
    if (until := _cool_until(standing, attempts)) > now:
        reason = f"the last automatic run brought nothing: {_kinds(work)}"
        return Verdict(Action.WAIT, reason, until=until)
    return Verdict(Action.RUN, f"due: {_kinds(work)}")


def fruitless_runs(standing: Standing) -> int:
    """Automatic runs in a row that have brought nothing, by the same code."""
    return standing.request.attempts if _is_as_before(standing) else 0


def deadly_runs(standing: Standing) -> int:
    """Runs in a row that died while nothing settled, by the same code."""
    request = standing.request
    is_same = without_deaths(standing.progress) == without_deaths(request.progress)
    return request.deaths if is_same and request.code_version == standing.code_version else 0


def _is_as_before(standing: Standing) -> bool:
    """Whether nothing has changed since the newest automatic run was asked for."""
    request = standing.request
    is_same = standing.progress == request.progress
    return is_same and request.code_version == standing.code_version


def _has_own_back_off(standing: Standing, attempts: int) -> bool:
    """Whether another wait on top would only come late. Where run after run brings nothing, only a
    time counts that the last of them has set anew, and a provider's probe: one run finds out."""
    work, launched_at = standing.work, standing.request.launched_at or 0.0
    is_new = work.due_at is not None and work.due_at > launched_at
    return work.is_timed and (attempts < MOST_FRUITLESS_RUNS or is_new or standing.gate.is_probe)


def _cool_until(standing: Standing, attempts: int) -> float:
    idle_since = standing.request.idle_since
    if idle_since is None or not _is_as_before(standing):
        return 0.0
    # One that has not begun counts as well: Dagster may be about to start it.
    if attempts and _has_own_back_off(standing, attempts):
        return 0.0
    return idle_since + _cool_down_s(max(1, attempts))


def gate_of_ours(troubled: Sequence[Standing], *, is_being_tried: bool, now: float) -> Gate:
    """What our own trouble means for a whole phase: one run finds out, once the cool-down is over.

    Each batch by itself would cool down and be tried on its own, all of them in vain.

    Args:
        troubled: Batches in which a domain waits for our own side, while nothing in the phase has
            settled since.
        is_being_tried: Whether a run of the phase is under way, or about to be.
    """
    if not troubled:
        return OPEN
    reason = f"{_batches(len(troubled))} with domains that wait for our own side; one run finds out"
    until = max(_cool_until(one, fruitless_runs(one)) for one in troubled)
    if is_being_tried:
        until = max(until, now + 1.0)
    return Gate(reason, until=until, is_probe=True)


def _pause_after_deaths(request: Request, deaths: int) -> float:
    if deaths < MOST_DEATHS or request.idle_since is None:
        return 0.0
    return request.idle_since + _cool_down_s(deaths - MOST_DEATHS + 1)


def _cool_down_s(attempts: int) -> float:
    return min(COOL_DOWN_S * 2.0 ** min(attempts - 1, _LONGEST_AFTER), LONGEST_COOL_DOWN_S)


def _domains(count: int) -> str:
    return "1 domain" if count == 1 else f"{count} domains"


def _batches(count: int) -> str:
    return "1 batch" if count == 1 else f"{count} batches"


def _kinds(work: OpenWork) -> str:
    parts = sorted(work.kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {kind}" for kind, count in parts)


# -- from decisions to runs -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run to be asked for.

    Args:
        first, last: The range of partitions, in Dagster's order.
        keys: Those in it that the run is for; the others are settled and cost nothing.
        scope: Names the invocation whose limit of credits holds.
        attempt: Counts the automatic runs over this range, from 1.
        reason: Why, in words.
        repairs: The run whose work it goes on with, where known.
    """

    phase: Phase
    first: str
    last: str
    keys: Sequence[str]
    scope: str
    attempt: int
    reason: str
    repairs: str | None

    @property
    def run_key(self) -> str:
        """Names the run for ever: the same decision never starts two."""
        return f"heal:{self.phase}:{self.first}:{self.last}:{self.attempt}"


def plan_runs(
    phase: Phase,
    order: Sequence[str],
    decided: Mapping[str, tuple[Standing, Verdict]],
    *,
    most_batches: int,
    most_runs: int,
    settled: Collection[str] = (),
) -> list[RunPlan]:
    """Put the batches that are to run into as few ranges as possible.

    Args:
        order: All partitions in Dagster's order.
        decided: Requested batches by key.
        most_batches: Most batches in one run.
        most_runs: Most runs; what is left comes the next time.
        settled: Further batches that are settled and in nobody's hands: a range may span them.
    """
    wanted = {key: pair for key, pair in decided.items() if pair[1].action is Action.RUN}
    bridges = {key for key, (_, verdict) in decided.items() if verdict.action is Action.NOTHING}
    bridges |= set(settled) - decided.keys()
    if any(standing.gate.is_probe for standing, _ in wanted.values()):
        # Its breaker lets one call through; if that succeeds, the same run goes on with the rest.
        most_runs = min(most_runs, 1)
    places = {key: place for place, key in enumerate(order)}
    scopes = {key: standing.request.scope for key, (standing, _) in wanted.items()}
    plans: list[RunPlan] = []
    for start, end in contiguous_ranges(order, wanted, bridge=bridges):
        mine = [key for key in order[places[start] : places[end] + 1] if key in wanted]
        for scope, group in groupby(mine, key=scopes.__getitem__):
            for keys in _parts(list(group), places, most_batches):
                if len(plans) == most_runs:
                    return plans
                plans.append(_plan(phase, keys, wanted, scope))
    return plans


def _parts(
    keys: Sequence[str], places: Mapping[str, int], most_batches: int
) -> Iterator[Sequence[str]]:
    """Neighbours in parts that each reach over no more than so many batches, settled ones too."""
    part: list[str] = []
    for key in keys:
        if part and places[key] - places[part[0]] >= most_batches:
            yield part
            part = []
        part.append(key)
    if part:
        yield part


def _plan(
    phase: Phase,
    keys: Sequence[str],
    wanted: Mapping[str, tuple[Standing, Verdict]],
    scope: str,
) -> RunPlan:
    requests = [wanted[key][0].request for key in keys]
    kinds: Counter[str] = Counter()
    for key in keys:
        kinds.update(wanted[key][0].work.kinds)
    runs = [request.last_run_id for request in requests if request.last_run_id]
    return RunPlan(
        phase,
        keys[0],
        keys[-1],
        tuple(keys),
        scope,
        requests[0].launches + 1,
        f"due in {_batches(len(keys))}: {_kinds(OpenWork(kinds))}",
        runs[-1] if runs else None,
    )


def is_directory_due(
    *, is_stale: bool, is_in_hand: bool, more_is_coming: bool, written_at: float | None, now: float
) -> bool:
    """Whether the directory is to be written now.

    Args:
        is_stale: It would look different.
        is_in_hand: A run is at it, or about to be.
        more_is_coming: Profiles are being built: it would soon be stale again.
        written_at: Epoch seconds; None for never.
    """
    if not is_stale or is_in_hand:
        return False
    if not more_is_coming or written_at is None:
        return True
    return now - written_at >= DIRECTORY_EVERY_S


@dataclass(frozen=True, slots=True)
class DirectoryRuns:
    """Automatic runs that were to write the directory from the same profiles.

    Args:
        failed: How many of them failed.
        newest_at: When the newest of them was asked for, epoch seconds.
        is_cancelled: Whether a person cancelled the newest of them.
    """

    failed: int = 0
    newest_at: float = 0.0
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryVerdict:
    """Whether the directory is written now; the reason says why not."""

    is_due: bool
    reason: str = ""
    is_given_up: bool = False


def decide_directory(runs: DirectoryRuns, now: float) -> DirectoryVerdict:
    """Decide whether one more run is asked for; new profiles begin anew."""
    if runs.is_cancelled:
        return DirectoryVerdict(False, "a person cancelled the run that was to write it")
    if runs.failed >= MOST_FRUITLESS_RUNS:
        reason = f"{runs.failed} automatic runs in a row failed"
        return DirectoryVerdict(False, reason, is_given_up=True)
    if runs.failed and now < runs.newest_at + _cool_down_s(runs.failed):
        return DirectoryVerdict(False, "the last automatic run failed")
    return DirectoryVerdict(True)
