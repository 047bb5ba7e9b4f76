"""stuck_runs: ends runs that make no progress any more, and reports those whose worker is gone."""

from __future__ import annotations

from dagster import (
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from pipeline_assets.jobs import take_in
from resources.core.config import Settings, load_settings
from resources.platform import Platform
from resources.sensor_watch import STUCK_RUNS, stuck_runs_every_s
from resources.troubles import tell_of_closed_runs
from sensors.dagster_state import DagsterState
from sensors.faults import Faults
from sensors.run_repair import process_began_at, repair_runs


def build_stuck_runs(settings: Settings) -> SensorDefinition:
    """The sensor, with the interval that the settings say."""

    @sensor(
        name=STUCK_RUNS,
        job=take_in,
        minimum_interval_seconds=round(stuck_runs_every_s(settings)),
        default_status=DefaultSensorStatus.RUNNING,
        description="Finds runs without a committed state, a call or an event for "
        "PIPELINE_STUCK_AFTER seconds, ends their worker and reports them as failed.",
    )
    def stuck_runs(context: SensorEvaluationContext) -> SkipReason:
        with Platform.opened(load_settings()) as platform:
            is_advice = not platform.settings.enable_auto_recovery
            targets = DagsterState(context.instance).under_way()
            now, faults = platform.clock.now(), Faults()
            found = repair_runs(
                context.instance,
                platform,
                targets,
                now,
                faults,
                is_advice=is_advice,
                server_began_at=process_began_at(),
            )
            closed = len(found) if is_advice else sum(one.is_done for one in found)
            verb = "would be" if is_advice else "were"
            said = f"{len(targets)} runs are under way; {closed} {verb} closed"
            for one in found:
                context.log.warning(f"run {one.run_id}: {one.verdict.reason}")
            for fault in faults.found:
                context.log.error(fault.stack)
            platform.ledger.ticks.note(STUCK_RUNS, stuck_runs_every_s(settings), said, now)
            for problem in tell_of_closed_runs(platform):
                context.log.warning(problem)
            return SkipReason(said)

    return stuck_runs
