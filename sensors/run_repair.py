"""Ends what is stuck and reports what is gone, so that Dagster never shows a dead run as started.

Fetches what is known of every run under way, lets `core/run_recovery` decide, and carries it out.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    EventLogRecord,
    RunsFilter,
)

from pipeline_assets.instance import identity_of
from resources.adapters.ledger.runs import RunSigns
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
from resources.troubles import note_closed_run
from sensors.dagster_state import RunTarget
from sensors.faults import Faults
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
    faults: Faults,
    *,
    is_advice: bool,
    server_began_at: float | None = None,
) -> list[Repaired]:
    """Look at all runs under way, and put right what is stuck or orphaned.

    Args:
        faults: Takes the runs on which that fails.
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
    look = _Look(
        instance,
        platform,
        workers_of(instance, platform, identities),
        platform.ledger.runs.signs(ids),
        platform.ledger.runs.waits(ids),
        platform.ledger.runs.without_lease(ids, now),
        _since(instance, ids),
        server_began_at,
    )
    found: list[Repaired] = []
    for target in begun:
        with faults.apart(f"run {target.run.run_id}"):
            verdict = look.verdict(target, now)
            if verdict.action is not RunAction.LEAVE:
                is_done = not is_advice and look.apply(target, verdict, now)
                found.append(Repaired(target.run.run_id, verdict, is_done))
    return found


@dataclass(frozen=True, slots=True)
class _Look:
    """What was asked of all runs at once.

    Args:
        signs, waits, without_lease, since: By run id, as the ledger and Dagster have them.
    """

    instance: DagsterInstance
    platform: Platform
    workers: RunWorkers
    signs: Mapping[str, RunSigns]
    waits: Mapping[str, float]
    without_lease: Collection[str]
    since: Mapping[str, float]
    server_began_at: float | None

    def verdict(self, target: RunTarget, now: float) -> RunVerdict:
        """Decide about one run."""
        run_id = target.run.run_id
        newest = _newest_event(self.instance, run_id)
        seen = self.workers.look(target.run)
        own = self.signs.get(run_id)
        since = self.since.get(run_id, now)
        is_from_before = self.server_began_at is not None and since < self.server_began_at
        standing = RunStanding(
            _STAGES[target.run.status],
            since=since,
            sign=seen.sign,
            process=seen.words,
            last_sign_at=max(
                own.progress_at if own else 0.0, newest.timestamp if newest else since
            ),
            waits_until=max(
                own.waits_until if own else 0.0, self.waits.get(run_id, 0.0), _waits_until(newest)
            ),
            is_from_before_start=is_from_before,
            is_abandoned=run_id in self.without_lease
            or (is_from_before and self.workers.ends_with_its_server(target.run)),
        )
        verdict = decide_run(standing, now, stuck_after_s=self.platform.settings.stuck_after)
        if verdict.is_cancel and is_over_its_limit(self.instance, target.run):
            # Dagster asked it to end, because it took too long; nobody wants it held.
            return replace(verdict, is_cancel=False)
        return verdict

    def apply(self, target: RunTarget, verdict: RunVerdict, now: float) -> bool:
        """Carry it out. Returns whether the run is closed now."""
        run_id, runs = target.run.run_id, self.platform.ledger.runs
        if verdict.action is RunAction.END and not self._end(target.run, verdict, now):
            return False
        ending = RunEnding.STUCK if verdict.action is RunAction.END else RunEnding.WORKER_DIED
        if verdict.is_cancel:
            ending = RunEnding.CANCELLED_BY_USER
        # What a person has asked for anew since the cancel is not held by it.
        ended_at = self.since.get(run_id, now) if verdict.is_cancel else now
        with self.platform.ledger.database.write():
            # Whatever was noted of it so far: it had not ended.
            runs.withdraw_ending(run_id)
            note(self.platform, target, ending, verdict.reason, now, ended_at=ended_at)
            note_closed_run(self.platform, run_id, verdict.reason, now)
        self.platform.ledger.workers.bury_dead(now)
        run = self.instance.get_run_by_id(run_id)
        # Its launcher may have noticed meanwhile.
        if run is not None and not run.is_finished:
            if verdict.is_cancel:
                self.instance.report_run_canceled(run, verdict.reason)
            else:
                self.instance.report_run_failed(run, verdict.reason)
        return True

    def _end(self, run: DagsterRun, verdict: RunVerdict, now: float) -> bool:
        """End its process. Returns whether it is certainly gone."""
        runs = self.platform.ledger.runs
        if not self.workers.can_end(run):
            return False
        if verdict.is_cancel:
            return self.workers.end(run)
        # First of all: a launcher's way of ending a worker looks like a person's cancel afterwards.
        runs.note_ending(run.run_id, RunEnding.STUCK, verdict.reason, now)
        is_gone = False
        try:
            is_gone = self.workers.end(run)
        finally:
            if not is_gone:
                runs.withdraw_ending(run.run_id)
        return is_gone


def process_began_at() -> float:
    """When this process began, epoch seconds: for sensors, which code servers evaluate."""
    return float(psutil.Process(os.getpid()).create_time())


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
