"""run_failures: notes how a run ended, at once, so that the reconciler need not find out."""

from __future__ import annotations

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    RunStatusSensorContext,
    SensorDefinition,
    run_status_sensor,
)

from resources.core.config import load_settings
from resources.platform import Platform
from sensors.dagster_state import DagsterState
from sensors.faults import Faults
from sensors.run_endings import note_runs


def _note(context: RunStatusSensorContext) -> None:
    with Platform.opened(load_settings()) as platform:
        record = context.instance.get_run_record_by_id(context.dagster_run.run_id)
        if record is not None:
            # One that fails must not keep the others from being noted; heal_batches tells of it.
            faults = Faults()
            now = platform.clock.now()
            note_runs(DagsterState(context.instance), platform, [record], now, faults)
            for fault in faults.found:
                context.log.error(fault.stack)


def _build(name: str, status: DagsterRunStatus, description: str) -> SensorDefinition:
    @run_status_sensor(
        name=name,
        run_status=status,
        default_status=DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=10,
        description=description,
    )
    def ended(context: RunStatusSensorContext) -> None:
        _note(context)

    return ended


ALL = [
    _build(
        "run_failures",
        DagsterRunStatus.FAILURE,
        "Notes how a failed run ended, and lets its batches be healed at once.",
    ),
    _build(
        "run_cancels",
        DagsterRunStatus.CANCELED,
        "Notes a cancelled run: what a person cancelled waits for a person.",
    ),
]
