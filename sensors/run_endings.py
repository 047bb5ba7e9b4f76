"""How a run ended, in one word and one sentence, and what that means for its batches.

A person's cancel holds them until a person wants them again; every other end heals. Asked by the
run-status sensors at once, and by the reconciler for what they have missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)

from pipeline_assets.recording import SCOPE_TAG, is_automatic, is_by_person
from resources.adapters.ledger.watermarks import DIRECTORY_WANTED
from resources.core.models import FETCHING
from resources.core.run_recovery import RunEnding
from resources.directory import ASSET as DIRECTORY
from resources.platform import Platform
from sensors.backfills import is_of_failed_backfill
from sensors.dagster_state import DagsterState, RunTarget
from sensors.directory_runs import VERSION_TAG
from sensors.faults import Faults

ENDED = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
WATERMARK = "run_endings_seen_until"
# Runs whose end is written a little later than its time says, and clocks of several machines.
OVERLAP_S = 120.0
MOST_AT_ONCE = 500
HELD = "cancelled by a person; `pipeline retry --batch KEY`, or a run that a person starts, goes on"
# What ended through no decision of the run's own: its batches are due again at once.
UNEXPECTED = (RunEnding.WORKER_DIED, RunEnding.STUCK, RunEnding.LIMIT, RunEnding.CANCELLED)
_ENDINGS = {DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
_FAILURE_REASON = "dagster/failure_reason"
_OF_LIMIT = "Canceling due to exceeding"
_OF_DEATH = ("exited unexpectedly", "was interrupted", "crashed", "died", "is gone")


def note_endings(state: DagsterState, platform: Platform, now: float, faults: Faults) -> int:
    """Note how all runs ended that ended since the last look. Returns how many were new.

    Args:
        faults: Takes the runs on which that fails; they are looked at again the next time.
    """
    since = platform.ledger.watermarks.get(WATERMARK)
    ended, new = _ended_since(state.instance, platform, max(0.0, since - OVERLAP_S))
    left = note_runs(state, platform, new, now, faults)
    if ended:
        seen_until = max(record.update_timestamp.timestamp() for record in ended)
        left_from = [record.update_timestamp.timestamp() for record in left]
        platform.ledger.watermarks.set(WATERMARK, min([seen_until, *left_from]))
    return len(new) - len(left)


def _ended_since(
    instance: DagsterInstance, platform: Platform, since: float
) -> tuple[Sequence[RunRecord], list[RunRecord]]:
    """Runs that ended since then, oldest first; all of them, and those not noted yet."""
    most = MOST_AT_ONCE
    while True:
        ended = instance.get_run_records(
            RunsFilter(statuses=list(ENDED), updated_after=datetime.fromtimestamp(since, UTC)),
            limit=most,
            ascending=True,
            order_by="update_timestamp",
        )
        known = platform.ledger.runs.known_endings([one.dagster_run.run_id for one in ended])
        new = [one for one in ended if one.dagster_run.run_id not in known]
        # More may have ended at one time than are looked at: a cancelled backfill has thousands.
        if new or len(ended) < most:
            return ended, new
        most *= 4


def note_runs(
    state: DagsterState,
    platform: Platform,
    records: Iterable[RunRecord],
    now: float,
    faults: Faults,
) -> list[RunRecord]:
    """Note how these runs ended, each once, and let or hold their batches. Returns those on which
    that fails."""
    left: list[RunRecord] = []
    for record in records:
        run, failed = record.dagster_run, len(faults.found)
        with faults.apart(f"run {run.run_id}"):
            ending, reason = how_it_ended(state.instance, platform, run)
            ended_at = record.end_time or record.update_timestamp.timestamp()
            if ending is RunEnding.CANCELLED_BY_USER:
                # A person decided then; what is wanted anew while it still ends is not held.
                ended_at = _cancelling_since(state.instance, run.run_id) or ended_at
            note(platform, state.target_of(record), ending, reason, now, ended_at=ended_at)
        left += [record] * (len(faults.found) - failed)
    return left


def note(
    platform: Platform,
    target: RunTarget,
    ending: RunEnding,
    reason: str,
    now: float,
    *,
    ended_at: float,
) -> None:
    """Note how one run ended, and let or hold its batches; nothing where that is noted already.

    Args:
        ended_at: Epoch seconds; what a person has wanted anew since then is not held.
    """
    run_id, ledger = target.run.run_id, platform.ledger
    # Both or nothing: a run whose end is noted is not looked at again.
    with ledger.database.write():
        if not ledger.runs.note_ending(run_id, ending, reason, now):
            return
        is_persons = is_by_person(target.run.tags) and VERSION_TAG not in target.run.tags
        if DIRECTORY in target.assets and is_persons and ending is not RunEnding.CANCELLED_BY_USER:
            wanted_at = max(target.created_at, ledger.watermarks.get(DIRECTORY_WANTED))
            ledger.watermarks.set(DIRECTORY_WANTED, wanted_at)
        for phase in target.phases:
            keys = target.keys if phase in FETCHING else platform.profiles.stale(target.keys)
            if is_by_person(target.run.tags):
                # It may have ended before it could say so itself.
                scope = target.run.tags.get(SCOPE_TAG, run_id)
                ledger.requests.note_person_asked(keys, phase, scope, target.created_at, now)
            ledger.requests.note_run_ended(
                keys,
                phase,
                run_id,
                now=now,
                held_reason=HELD if ending is RunEnding.CANCELLED_BY_USER else None,
                is_due=ending in UNEXPECTED,
                is_automatic=is_automatic(target.run.tags),
                ended_at=ended_at,
            )


def how_it_ended(
    instance: DagsterInstance, platform: Platform, run: DagsterRun
) -> tuple[RunEnding, str]:
    """What ended a run that failed or was cancelled, and the words that Dagster has for it."""
    signs = platform.ledger.runs.signs([run.run_id]).get(run.run_id)
    if signs is not None and signs.interrupted:
        return RunEnding.CANCELLED_BY_USER, "A person ended the command that ran it."
    if signs is not None and signs.terminated:
        return RunEnding.WORKER_DIED, "The command that ran it was terminated (SIGTERM)."
    messages = _messages(instance, run.run_id, _ENDINGS)
    reason = messages[-1] if messages else ""
    if is_over_its_limit(instance, run):
        return RunEnding.LIMIT, reason
    if run.status is DagsterRunStatus.CANCELED:
        is_persons = not is_of_failed_backfill(instance, run)
        return RunEnding.CANCELLED_BY_USER if is_persons else RunEnding.CANCELLED, reason
    is_dead = run.tags.get(_FAILURE_REASON) in {"UNEXPECTED_TERMINATION", "RUN_EXCEPTION"}
    if is_dead or any(word in reason for word in _OF_DEATH):
        return RunEnding.WORKER_DIED, reason
    return RunEnding.FAILED, reason


def is_over_its_limit(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether Dagster, and no person, asked a run to end: it took longer than it may."""
    return any(
        _OF_LIMIT in message
        for message in _messages(instance, run.run_id, {DagsterEventType.RUN_CANCELING})
    )


def _cancelling_since(instance: DagsterInstance, run_id: str) -> float | None:
    """When a run was told to end, epoch seconds; None where it never was."""
    told = instance.get_records_for_run(run_id, of_type={DagsterEventType.RUN_CANCELING}).records
    return told[0].timestamp if told else None


def _messages(
    instance: DagsterInstance, run_id: str, kinds: set[DagsterEventType]
) -> Sequence[str]:
    logs = instance.get_records_for_run(run_id, of_type=kinds)
    return [
        event.message or ""
        for record in logs.records
        if (event := record.event_log_entry.dagster_event) is not None
    ]
