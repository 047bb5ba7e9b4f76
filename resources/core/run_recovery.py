"""What becomes of a run that Dagster shows as under way: state in, decision and reason out.

Dagster by itself leaves a hung run, and one whose machine was restarted, STARTED for ever. Pure:
who looks at processes, and who ends and reports them, is in the adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Dagster notices most deaths within a second by itself, and says more about them.
DAGSTERS_OWN_S = 10.0
# A run's process registers itself as it begins; so long may its imports take on a busy machine.
START_S = 180.0
# Between a person's "terminate" and the end of a worker that obeys.
CANCEL_S = 120.0


class Stage(StrEnum):
    """How far Dagster says the run is."""

    STARTING = "starting"
    STARTED = "started"
    CANCELING = "canceling"


class Sign(StrEnum):
    """What is known of a run's process."""

    ALIVE = "alive"
    GONE = "gone"
    """It has certainly ended."""
    UNREGISTERED = "unregistered"
    """It has never said who it is."""
    OUT_OF_SIGHT = "out_of_sight"
    """It is on another machine, and whoever launched it can't tell."""


class RunAction(StrEnum):
    LEAVE = "leave"
    REPORT = "report"
    """Its process is gone: say so to Dagster."""
    END = "end"
    """End its process first."""


class RunEnding(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """By its own decision, such as domains that are not settled yet."""
    WORKER_DIED = "worker_died"
    STUCK = "stuck"
    LIMIT = "limit"
    CANCELLED_BY_USER = "cancelled_by_user"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunStanding:
    """Where a run stands that has not ended.

    Args:
        stage: How far it is.
        since: When it came there, epoch seconds.
        sign: What is known of its process.
        process: The process in words, such as "process 123 on db1".
        last_sign_at: Its newest committed state, call or Dagster event, epoch seconds.
        waits_until: Until when it waits on purpose, epoch seconds; 0.0 for no such wait.
        is_from_before_start: Whether it was launched by a code server that has ended since.
        is_abandoned: Whether nobody keeps it any more, as far as the ledger tells: the lease of its
            newest worker has run out, or no worker of it beats and its code server has ended since.
            Counts only for a process that is out of sight: should it come back, it can write
            nothing.
    """

    stage: Stage
    since: float
    sign: Sign
    process: str
    last_sign_at: float
    waits_until: float = 0.0
    is_from_before_start: bool = False
    is_abandoned: bool = False


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What is done, and why in words.

    Args:
        is_cancel: Whether the run is reported as cancelled, because a person asked for that.
    """

    action: RunAction
    reason: str = ""
    is_cancel: bool = False


def decide_run(  # noqa: PLR0911  # a table of rules
    run: RunStanding, now: float, *, stuck_after_s: float
) -> RunVerdict:
    """Decide about one run; the first rule that fits counts."""
    is_cancel = run.stage is Stage.CANCELING
    age_s = now - run.since
    if run.sign is Sign.GONE and now - max(run.since, run.last_sign_at) >= DAGSTERS_OWN_S:
        reason = f"The worker ({run.process}) is gone; what it finished is kept."
        return RunVerdict(RunAction.REPORT, reason, is_cancel)
    if run.sign is Sign.OUT_OF_SIGHT and run.is_abandoned:
        reason = (
            f"The worker ({run.process}) can't be seen from here and beats no more: its machine or "
            "container has ended. What it finished is kept."
        )
        return RunVerdict(RunAction.REPORT, reason, is_cancel)
    if run.sign is Sign.UNREGISTERED:
        return _unregistered(run, age_s, is_cancel)
    if run.sign is Sign.GONE:
        return RunVerdict(RunAction.LEAVE)
    if is_cancel and age_s >= CANCEL_S:
        reason = f"Cancelled; the worker ({run.process}) did not end by itself and was ended."
        return RunVerdict(RunAction.END, reason, is_cancel)
    quiet_s = now - max(run.last_sign_at, run.waits_until, run.since)
    if quiet_s >= stuck_after_s:
        reason = (
            f"Stuck: for {quiet_s:.0f} s there was no committed state, no call and no event "
            f"(PIPELINE_STUCK_AFTER is {stuck_after_s:.0f}). The worker ({run.process}) was ended; "
            "what it finished is kept."
        )
        return RunVerdict(RunAction.END, reason, is_cancel)
    return RunVerdict(RunAction.LEAVE)


def _unregistered(run: RunStanding, age_s: float, is_cancel: bool) -> RunVerdict:
    if run.is_from_before_start and age_s >= DAGSTERS_OWN_S:
        reason = "Dagster's code server was restarted before a worker of this run had begun."
        return RunVerdict(RunAction.REPORT, reason, is_cancel)
    if age_s >= START_S:
        reason = f"No worker of this run has begun within {START_S:.0f} s."
        return RunVerdict(RunAction.REPORT, reason, is_cancel)
    return RunVerdict(RunAction.LEAVE)
