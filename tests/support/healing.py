"""A home to heal in: the real ledger and a real Dagster instance, without any server.

Time is moved by hand, from the day's real time on, because Dagster writes its own times.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunRequest,
    SensorDefinition,
    build_sensor_context,
)
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy import Row, insert, select, update

from pipeline_assets.definitions import build_definitions
from pipeline_assets.partitions import BATCHES, RANGE_END, RANGE_START
from resources.adapters.ledger.schema import (
    alerts,
    events,
    members,
    requests,
    run_endings,
    work,
)
from resources.artifact_writer import ASSET_OF
from resources.core.config import load_settings
from resources.core.models import FETCHING, Phase, State
from resources.core.recovery import Action, Request, RunPlan
from resources.platform import Platform
from sensors.dagster_state import ASSETS_OF_JOB
from sensors.heal_batches import build_heal_batches
from sensors.reconciler import Reconciliation, begin, job_of, reconcile, tags_of
from tests.support.ledgers import add_list
from tests.support.time import ManualClock

ENRICHMENT, SCRAPING, PROFILES = Phase.COMPANY_ENRICHMENT, Phase.PAGE_SCRAPING, Phase.PROFILE_BUILD
LIST, BATCH_SIZE = "a", 2
# Where Dagster believes that the code lies; nothing is loaded from there.
REPOSITORY = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file="x.py"), location_name="x"),
    "__repository__",
)
JOB_OF_ASSET = {asset: job for job, asset in ASSETS_OF_JOB.items()}


class HealingHome:
    """Batches `a-00001` and so on, of two domains each, none of them begun or asked for."""

    def __init__(self, instance: DagsterInstance, batches: int) -> None:
        self.instance = instance
        self.clock = ManualClock(time.time())
        self.platform = replace(Platform.open(load_settings()), clock=self.clock)
        self.ledger = self.platform.ledger
        self.definitions = build_definitions()
        domains = [f"company-{number:03}.example" for number in range(batches * BATCH_SIZE)]
        add_list(self.ledger, LIST, domains, batch_size=BATCH_SIZE, now=self.clock.now())
        self.keys = [batch.key for batch in self.ledger.lists.batches_of()]
        instance.add_dynamic_partitions(str(BATCHES.name), self.keys)

    # -- what there is -------------------------------------------------------------------------

    def ask(
        self, keys: Sequence[str], phases: Sequence[Phase] = (SCRAPING,), scope: str = "scope"
    ) -> None:
        self.ledger.requests.ask(keys, phases, scope=scope, now=self.clock.now())

    def set_work(self, keys: Sequence[str], phase: Phase = SCRAPING, **values: Any) -> None:
        """Write the rows of all domains of these batches."""
        mine = select(members.c.domain).where(members.c.batch_key.in_(keys))
        with self.ledger.database.write() as connection:
            connection.execute(
                update(work)
                .where(work.c.phase == phase, work.c.domain.in_(mine))
                .values(**{"updated_at": self.clock.now(), **values})
            )

    def wait_for(
        self, keys: Sequence[str], kind: str, phase: Phase = SCRAPING, not_before: float = 0.0
    ) -> None:
        self.set_work(keys, phase, state=State.WAITING, kind=kind, not_before=not_before)

    def settle(self, keys: Sequence[str], phase: Phase = SCRAPING) -> None:
        self.set_work(
            keys,
            phase,
            state=State.NOT_FOUND,
            kind=None,
            revision=work.c.revision + 1,
            settled_at=self.clock.now(),
        )

    def note_attempt(self, keys: Sequence[str], kind: str, phase: Phase) -> None:
        """The newest attempt on all domains of these batches waits for something."""
        mine = select(members.c.domain).where(members.c.batch_key.in_(keys))
        with self.ledger.database.write() as connection:
            rows = [
                {
                    "domain": domain,
                    "phase": phase,
                    "at": self.clock.now(),
                    "what": State.WAITING,
                    "kind": kind,
                    "message": kind,
                }
                for domain in connection.execute(mine).scalars()
            ]
            connection.execute(insert(events), rows)

    def record(self, keys: Sequence[str], phase: Phase = SCRAPING) -> None:
        for key in keys:
            self.instance.report_runless_asset_event(
                AssetMaterialization(AssetKey(ASSET_OF[phase]), partition=key)
            )

    def finish(self, keys: Sequence[str], phase: Phase = SCRAPING) -> None:
        """Settled, and Dagster shows it."""
        self.settle(keys, phase)
        self.record(keys, phase)

    def run(
        self,
        keys: Sequence[str] = (),
        asset: str = ASSET_OF[SCRAPING],
        status: DagsterRunStatus = DagsterRunStatus.STARTED,
        tags: Mapping[str, str] | None = None,
    ) -> DagsterRun:
        """A run over a range that Dagster shows so; no process works on it."""
        span = {RANGE_START: keys[0], RANGE_END: keys[-1]} if keys else {}
        return self._created(JOB_OF_ASSET[asset], {**span, **(tags or {})}, status)

    def _created(self, job: str, tags: Mapping[str, str], status: DagsterRunStatus) -> DagsterRun:
        return self.instance.create_run_for_job(
            self.definitions.resolve_job_def(job),
            tags=tags,
            status=status,
            remote_job_origin=RemoteJobOrigin(REPOSITORY, job),
        )

    # -- what comes of it ----------------------------------------------------------------------

    def look(self, *, is_advice: bool = False, **values: Any) -> Reconciliation:
        """One reconciliation, and nothing begun."""
        return reconcile(self.instance, self.platform, is_advice=is_advice, **values)

    def tick(self, phase: Phase | None = None) -> list[RunPlan]:
        """One reconciliation; what it asks for is noted, as the sensor does, and does not run.

        Args:
            phase: Return the runs of this one alone.
        """
        found = self.look()
        begin(self.platform, found, found.healing.plans)
        return [plan for plan in found.healing.plans if phase in {None, plan.phase}]

    def actions(self, phase: Phase = SCRAPING) -> dict[str, Action]:
        verdicts = self.look().healing.verdicts
        return {key: verdict.action for (of, key), verdict in verdicts.items() if of is phase}

    def sensor_tick(self, sensor: SensorDefinition | None = None) -> SensorExecutionData:
        """Evaluate a sensor as the daemon does, at the day's real time."""
        sensor = sensor or build_heal_batches(load_settings())
        with build_sensor_context(instance=self.instance) as context:
            return sensor.evaluate_tick(context)

    def launched(self, plan: RunPlan, status: DagsterRunStatus) -> DagsterRun:
        """The run that a plan asks for."""
        return self._created(job_of(plan.phase), dict(tags_of(plan)), status)

    def request(self, key: str, phase: Phase = SCRAPING) -> Request:
        return self.ledger.requests.all()[phase, key]

    def record_of(self, run: DagsterRun) -> RunRecord:
        record = self.instance.get_run_record_by_id(run.run_id)
        assert record is not None
        return record

    def status_of(self, run: DagsterRun) -> DagsterRunStatus:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    def rows(self, table: Any) -> Sequence[Row[Any]]:
        with self.ledger.database.read() as connection:
            return connection.execute(select(table)).all()

    def alerts(self) -> Sequence[Row[Any]]:
        return self.rows(alerts)

    def endings(self) -> dict[str, str]:
        return {row.run_id: row.how for row in self.rows(run_endings)}

    def change_request(self, key: str, phase: Phase = SCRAPING, **values: Any) -> None:
        mine = (requests.c.batch_key == key, requests.c.phase == phase)
        with self.ledger.database.write() as connection:
            connection.execute(update(requests).where(*mine).values(**values))


def ranges(plans: Sequence[RunPlan | RunRequest]) -> list[tuple[str, str]]:
    """First and last partition of each run that is asked for."""
    return [
        (plan.first, plan.last)
        if isinstance(plan, RunPlan)
        else (plan.tags[RANGE_START], plan.tags[RANGE_END])
        for plan in plans
    ]


@contextmanager
def healing_home(folder: Path, batches: int = 6) -> Iterator[HealingHome]:
    """Needs `PIPELINE_HOME` in the environment."""
    with DagsterInstance.local_temp(str(folder)) as instance:
        home = HealingHome(instance, batches)
        try:
            yield home
        finally:
            home.platform.close()


__all__ = [
    "ENRICHMENT",
    "FETCHING",
    "PROFILES",
    "REPOSITORY",
    "SCRAPING",
    "HealingHome",
    "healing_home",
    "ranges",
]
