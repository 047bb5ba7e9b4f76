"""What Dagster shows now: partitions, their records, runs and backfills that have not ended.

Reads only. Asked for everything at once: one partition's status costs Dagster as much as all of
them (docs/adr/0007). Some of the calls are not documented; Dagster is pinned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)

from pipeline_assets.jobs import ALL as JOBS
from pipeline_assets.partitions import BATCHES, RANGE_END, RANGE_START
from resources.artifact_writer import ASSET_OF, MANIFEST_ASSET
from resources.core.models import Phase
from resources.directory import ASSET as DIRECTORY
from resources.healing import Key, Seen

PARTITION = "dagster/partition"
BACKFILL = "dagster/backfill"
UNENDED = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
ACTIVE_BACKFILLS = (
    BulkActionStatus.REQUESTED,
    BulkActionStatus.CANCELING,
    BulkActionStatus.FAILING,
)
# What each of our jobs works on; a run from the browser names its assets itself.
ASSETS_OF_JOB = {
    "take_in": MANIFEST_ASSET,
    "enrich_companies": ASSET_OF[Phase.COMPANY_ENRICHMENT],
    "scrape_pages": ASSET_OF[Phase.PAGE_SCRAPING],
    "build_profiles": ASSET_OF[Phase.PROFILE_BUILD],
    "write_directory": DIRECTORY,
}
PHASE_OF = {asset: phase for phase, asset in ASSET_OF.items()}


@dataclass(frozen=True)
class RunTarget:
    """What a run works on.

    Args:
        assets: Names of assets.
        keys: Partitions in Dagster's order; none for an asset without them.
        created_at: When it was asked for, epoch seconds.
    """

    run: DagsterRun
    assets: frozenset[str]
    keys: Sequence[str]
    created_at: float = 0.0

    @property
    def phases(self) -> Sequence[Phase]:
        return [phase for asset, phase in PHASE_OF.items() if asset in self.assets]


class DagsterState:
    """One look at an instance; partitions are read once."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance = instance
        self.order = list(instance.get_dynamic_partitions(str(BATCHES.name)))
        self._places = {key: place for place, key in enumerate(self.order)}

    def add(self, keys: Sequence[str]) -> None:
        """Let Dagster know these partitions."""
        self.instance.add_dynamic_partitions(str(BATCHES.name), list(keys))
        # Read again: others may add some as well, and Dagster's order is what ranges are made of.
        self.order = list(self.instance.get_dynamic_partitions(str(BATCHES.name)))
        self._places = {key: place for place, key in enumerate(self.order)}

    def seen(self, without: Collection[str] = ()) -> Seen:
        """All that the reconciler asks of Dagster.

        Args:
            without: Runs that are as good as ended.
        """
        in_hand: dict[Key, str] = {}
        is_directory_in_hand = False
        for asset, key, backfill in self._backfill_targets():
            if asset in PHASE_OF:
                in_hand[PHASE_OF[asset], key] = f"backfill {backfill} is to run it"
        for target in self.under_way():
            if target.run.run_id in without:
                continue
            is_directory_in_hand |= DIRECTORY in target.assets
            words = f"run {target.run.run_id} ({target.run.status.value.lower()}) works on it"
            for phase in target.phases:
                in_hand.update({(phase, key): words for key in target.keys})
        recorded = {asset: self.recorded(asset) for asset in PHASE_OF}
        return Seen(self.order, recorded, in_hand, is_directory_in_hand)

    def recorded(self, asset: str) -> frozenset[str]:
        """Partitions that Dagster shows as materialised."""
        found = self.instance.get_status_by_partition(AssetKey(asset), self.order, BATCHES) or {}
        return frozenset(
            key for key, status in found.items() if status and status.value == "MATERIALIZED"
        )

    def under_way(self) -> list[RunTarget]:
        """Runs that have not ended, queued ones included."""
        records = self.instance.get_run_records(RunsFilter(statuses=list(UNENDED)))
        return [self.target_of(one) for one in records]

    def target_of(self, record: RunRecord) -> RunTarget:
        """What a run works on, by its own words."""
        run = record.dagster_run
        named = {key.path[-1] for key in run.asset_selection or ()}
        assets = named or {ASSETS_OF_JOB[run.job_name]} if run.job_name in ASSETS_OF_JOB else named
        created_at = record.create_timestamp.timestamp()
        return RunTarget(run, frozenset(assets), self._keys_of(run.tags), created_at)

    def _keys_of(self, tags: Mapping[str, str]) -> Sequence[str]:
        if PARTITION in tags:
            return [tags[PARTITION]]
        first, last = tags.get(RANGE_START), tags.get(RANGE_END)
        if first not in self._places or last not in self._places:
            return []
        return self.order[self._places[first] : self._places[last] + 1]

    def _backfill_targets(self) -> Iterator[tuple[str, str, str]]:
        """(asset, partition, backfill id) of what active backfills are to run."""
        active = BulkActionsFilter(statuses=list(ACTIVE_BACKFILLS))
        for backfill in self.instance.get_backfills(filters=active):
            for asset, key in self.targets_of(backfill):
                yield asset, key, backfill.backfill_id

    def targets_of(self, backfill: PartitionBackfill) -> Iterator[tuple[str, str]]:
        """(asset, partition) of what a backfill is to run."""
        data = backfill.asset_backfill_data
        if data is None:
            # One of a job, begun on the job's own page.
            of_job = ASSETS_OF_JOB.get(backfill.job_name or "", "")
            for key in backfill.partition_names or ():
                yield of_job, key
            return
        for asset, subset in data.target_subset.partitions_subsets_by_asset_key.items():
            for key in subset.get_partition_keys():
                yield asset.path[-1], key


assert {job.name for job in JOBS} == set(ASSETS_OF_JOB), "every job's asset is known"
