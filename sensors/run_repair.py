"""Ends what is stuck and reports what is gone, so that Dagster never shows a dead run as started.

Fetches what is known of every run under way, lets `core/run_recovery` decide, and carries it out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, EventLogRecord, RunsFilter

from pipeline_assets.instance import identity_of
from resources.core.run_recovery import (
    RunAction,
    RunEnding,
    RunStanding,
    RunVerdict,
    Sign,
    Stage,
    decide_run,
)
from resources.platform import Platform
from sensors.dagster_state import RunTarget
from sensors.run_endings import is_over_its_limit, note
from sensors.run_workers import RunWorkers, workers_of

_STAGES = {
    DagsterRunStatus.NOT_STARTED: Stage.STARTING,
    DagsterRunStatus.STARTING: Stage.STARTING,
    DagsterRunStatus.STARTED: Stage.STARTED,
    DagsterRunStatus.CANCELING: Stage.CANCELING,
}


@dataclass(frozen=True, slots=True)
class Repaired:
    """A run that was ended or reported, or would be.

    Args:
        is_done: False where it is only advice, or could not be ended.
    """

    run_id: str
    verdict: RunVerdict
    is_done: bool


def repair_runs(
    instance: DagsterInstance,
    platform: Platform,
    targets: Sequence[RunTarget],
    now: float,
    *,
    is_advice: bool,
    server_began_at: float | None = None,
) -> list[Repaired]:
    """Look at all runs under way, and put right what is stuck or orphaned.

    Args:
        is_advice: Decide, and change nothing.
        server_began_at: When the code server began that starts all workers, epoch seconds; None
            where that is not known, as in a command: a worker that has not said who it is may
            then be on its way.
    """
    begun = [target for target in targets if target.run.status in _STAGES]
    ids = [target.run.run_id for target in begun]
    identities = platform.ledger.runs.processes(ids)
    for target in begun:
        tagged = identity_of(target.run.tags)
        if tagged is not None:
            identities.setdefault(target.run.run_id, tagged)
    workers = workers_of(instance, platform, identities)
    signs, waits = platform.ledger.runs.signs(ids), platform.ledger.runs.waits(ids)
    without_lease = platform.ledger.runs.without_lease(ids, now)
    began_at = _since(instance, ids)
    found: list[Repaired] = []
    for target in begun:
        newest = _newest_event(instance, target.run.run_id)
        look = workers.look(target.run)
        own = signs.get(target.run.run_id)
        since = began_at.get(target.run.run_id, now)
        is_from_before = server_began_at is not None and since < server_began_at
        standing = RunStanding(
            _STAGES[target.run.status],
            since=since,
            sign=look.sign,
            process=look.words,
            last_sign_at=max(
                own.progress_at if own else 0.0, newest.timestamp if newest else since
            ),
            waits_until=max(
                own.waits_until if own else 0.0,
                waits.get(target.run.run_id, 0.0),
                _waits_until(newest),
            ),
            is_from_before_start=is_from_before,
            is_abandoned=target.run.run_id in without_lease
            or (is_from_before and workers.ends_with_its_server(target.run)),
        )
        verdict = decide_run(standing, now, stuck_after_s=platform.settings.stuck_after)
        if verdict.action is RunAction.LEAVE:
            continue
        if verdict.is_cancel and is_over_its_limit(instance, target.run):
            # Dagster asked it to end, because it took too long; nobody wants it held.
            verdict = replace(verdict, is_cancel=False)
        is_done = not is_advice and _apply(
            instance, platform, workers, target, verdict, now, cancelled_at=since
        )
        found.append(Repaired(target.run.run_id, verdict, is_done))
    return found


def process_began_at() -> float:
    """When this process began, epoch seconds: for sensors, which code servers evaluate."""
    return float(psutil.Process(os.getpid()).create_time())


def _apply(
    instance: DagsterInstance,
    platform: Platform,
    workers: RunWorkers,
    target: RunTarget,
    verdict: RunVerdict,
    now: float,
    *,
    cancelled_at: float,
) -> bool:
    ending = RunEnding.STUCK if verdict.action is RunAction.END else RunEnding.WORKER_DIED
    if verdict.is_cancel:
        ending = RunEnding.CANCELLED_BY_USER
    if verdict.action is RunAction.END and not workers.can_end(target.run):
        return False
    # What a person has asked for anew since the cancel is not held by it.
    ended_at = cancelled_at if verdict.is_cancel else now
    # First of all: a launcher's way of ending a worker looks like a person's cancel afterwards.
    note(platform, target, ending, verdict.reason, now, ended_at=ended_at)
    if verdict.action is RunAction.END and not workers.end(target.run):
        return False
    platform.ledger.workers.bury_dead(now)
    run = instance.get_run_by_id(target.run.run_id)
    # Its launcher may have noticed meanwhile.
    if run is not None and not run.is_finished:
        if verdict.is_cancel:
            instance.report_run_canceled(run, verdict.reason)
        else:
            instance.report_run_failed(run, verdict.reason)
    return True


def _newest_event(instance: DagsterInstance, run_id: str) -> EventLogRecord | None:
    records = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    return records[0] if records else None


def _waits_until(newest: EventLogRecord | None) -> float:
    """Until when a run waits that is to try again: Dagster says nothing more until then."""
    event = newest.event_log_entry.dagster_event if newest else None
    if newest is None or event is None:
        return 0.0
    if event.event_type is not DagsterEventType.STEP_UP_FOR_RETRY:
        return 0.0
    wait_s = event.step_retry_data.seconds_to_wait
    return newest.timestamp + float(wait_s or 0.0)


def _since(instance: DagsterInstance, run_ids: Sequence[str]) -> dict[str, float]:
    """When runs came to their stage, epoch seconds."""
    if not run_ids:
        return {}
    records = instance.get_run_records(RunsFilter(run_ids=list(run_ids)))
    # Dagster writes the row anew whenever the status changes.
    return {each.dagster_run.run_id: each.update_timestamp.timestamp() for each in records}


__all__ = ["Repaired", "Sign", "repair_runs"]
