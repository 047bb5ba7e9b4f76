"""heal_batches: the one reconciler. Whatever was requested and is unfinished is run again."""

from __future__ import annotations

from collections.abc import Iterator

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from pipeline_assets.jobs import ALL as JOBS
from resources.core.config import Settings, load_settings
from resources.platform import Platform
from resources.sensor_watch import HEAL_BATCHES
from sensors.faults import Faults
from sensors.reconciler import (
    DIRECTORY_JOB,
    Reconciliation,
    begin,
    directory_tags,
    job_of,
    reconcile,
    tags_of,
    tell,
)
from sensors.run_repair import process_began_at


def build_heal_batches(settings: Settings) -> SensorDefinition:
    """The sensor, with the interval that the settings say."""

    @sensor(
        name=HEAL_BATCHES,
        jobs=JOBS,
        minimum_interval_seconds=round(settings.heal_interval),
        default_status=DefaultSensorStatus.RUNNING,
        description="Finds every requested batch that is not settled, and asks for a run as soon "
        "as it is due and nobody has it in hand; then for profiles and the directory. Tells what "
        "it can't mend.",
    )
    def heal_batches(context: SensorEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        with Platform.opened(load_settings()) as platform:
            is_advice = not platform.settings.enable_auto_recovery
            found = reconcile(
                context.instance,
                platform,
                is_advice=is_advice,
                server_began_at=process_began_at(),
            )
            context.log.info(found.sentence)
            for fault in found.faults:
                context.log.error(fault.stack)
            if is_advice or not (found.healing.plans or found.healing.is_directory_due):
                _finish(context, platform, found, settings.heal_interval)
                yield SkipReason(found.sentence)
                return
            begin(platform, found, found.healing.plans)
            for plan in found.healing.plans:
                yield RunRequest(
                    run_key=plan.run_key, job_name=job_of(plan.phase), tags=dict(tags_of(plan))
                )
            if found.healing.is_directory_due:
                version = platform.directory.version()
                yield RunRequest(
                    run_key=f"heal:directory:{version}:{round(platform.clock.now())}",
                    job_name=DIRECTORY_JOB,
                    tags=dict(directory_tags(platform)),
                )
            # Dagster takes the runs up as soon as this returns; a slow channel has a limit of time.
            _finish(context, platform, found, settings.heal_interval)

    return heal_batches


def _finish(
    context: SensorEvaluationContext,
    platform: Platform,
    found: Reconciliation,
    interval_s: float,
) -> None:
    """Tell people, and note the tick. What fails here keeps no run from being asked for."""
    faults = Faults()
    with faults.apart("alerts"):
        for problem in tell(platform, found):
            context.log.warning(problem)
    for fault in faults.found:
        context.log.error(fault.stack)
    # Last: a tick that is given up half-way is none.
    platform.ledger.ticks.note(HEAL_BATCHES, interval_s, found.sentence, platform.clock.now())
