"""Runs that wrote the directory, or tried to, as Dagster knows them.

The directory is no batch, so that no request counts its attempts: its runs carry the version of the
profiles that they were to write. What follows from them is decided in `core/recovery`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from resources.core.recovery import MOST_FRUITLESS_RUNS, DirectoryRuns

# Of the profiles that a run is to write.
VERSION_TAG = "pipeline/profiles_version"


def directory_runs(
    instance: DagsterInstance, version: str, wanted_at: float = 0.0
) -> DirectoryRuns:
    """What became of the newest automatic runs over these very profiles.

    Args:
        wanted_at: When a person last wanted the directory, epoch seconds: what was before counts
            no more.
    """
    since = datetime.fromtimestamp(wanted_at, UTC)
    records = instance.get_run_records(
        RunsFilter(tags={VERSION_TAG: version}, created_after=since), limit=MOST_FRUITLESS_RUNS
    )
    if not records:
        return DirectoryRuns()
    newest = records[0]
    return DirectoryRuns(
        failed=sum(one.dagster_run.status is DagsterRunStatus.FAILURE for one in records),
        newest_at=newest.create_timestamp.timestamp(),
        is_cancelled=newest.dagster_run.status is DagsterRunStatus.CANCELED,
    )
