"""Backfills that a person cancels, and those that fail: what is held then, and what heals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterRun
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from resources.artifact_writer import ASSET_OF
from resources.core.models import Phase
from resources.core.recovery import Action
from resources.core.run_recovery import RunEnding
from sensors.dagster_state import BACKFILL
from tests.support.healing import (
    ENRICHMENT,
    FETCHING,
    PROFILES,
    SCRAPING,
    HealingHome,
    healing_home,
)

ID = "filling"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HealingHome]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    with healing_home(tmp_path) as home:
        home.ask(home.keys, FETCHING)
        yield home


class Filling:
    """A backfill from the browser."""

    def __init__(
        self, home: HealingHome, keys: Sequence[str], phases: Sequence[Phase] = (SCRAPING,)
    ) -> None:
        self._home = home
        self._backfill = PartitionBackfill.from_asset_partitions(
            backfill_id=ID,
            asset_graph=home.definitions.resolve_asset_graph(),
            partition_names=list(keys),
            asset_selection=[AssetKey(ASSET_OF[phase]) for phase in phases],
            dynamic_partitions_store=home.instance,
            all_partitions=False,
            backfill_timestamp=home.clock.now(),
            tags={},
            title=None,
            description=None,
            run_config=None,
        )
        home.instance.add_backfill(self._backfill)

    def launch(self, *keys: str) -> DagsterRun:
        return self._home.run(keys, tags={BACKFILL: ID})

    def becomes(self, status: str) -> None:
        self._backfill = self._backfill.with_status(BulkActionStatus[status])
        if status in {"CANCELED", "FAILED"}:
            self._backfill = self._backfill.with_end_timestamp(self._home.clock.now())
        self._home.instance.update_backfill(self._backfill)

    def cancel_runs(self, *runs: DagsterRun) -> None:
        """As Dagster does, whoever ends the backfill."""
        for run in runs:
            self._home.instance.report_run_canceling(run)
            self._home.instance.report_run_canceled(run)


def test_runs_that_a_failing_backfill_cancels_are_healed_at_once(home: HealingHome) -> None:
    filling = Filling(home, home.keys[:4])
    run = filling.launch(*home.keys[:2])
    filling.becomes("FAILING")
    filling.cancel_runs(run)
    assert home.actions()[home.keys[0]] is Action.IN_HAND
    filling.becomes("FAILED")
    assert set(home.actions().values()) == {Action.RUN}
    assert home.endings() == {run.run_id: RunEnding.CANCELLED}


def test_runs_that_a_cancelled_backfill_cancels_are_a_persons_cancel(home: HealingHome) -> None:
    filling = Filling(home, home.keys[:2])
    run = filling.launch(*home.keys[:2])
    filling.becomes("CANCELING")
    filling.cancel_runs(run)
    filling.becomes("CANCELED")
    actions = home.actions()
    assert [actions[key] for key in home.keys[:3]] == [Action.HELD, Action.HELD, Action.RUN]
    assert home.endings()[run.run_id] == RunEnding.CANCELLED_BY_USER


def test_a_single_run_of_a_living_backfill_that_a_person_cancels_is_held(home: HealingHome) -> None:
    filling = Filling(home, home.keys[:2])
    run = filling.launch(home.keys[0])
    filling.cancel_runs(run)
    home.look()
    filling.becomes("COMPLETED_FAILED")
    actions = home.actions()
    assert [actions[key] for key in home.keys[:2]] == [Action.HELD, Action.RUN]


@pytest.mark.parametrize("is_seen_while_it_ends", [True, False])
def test_what_a_cancelled_backfill_never_launched_is_held(
    home: HealingHome, is_seen_while_it_ends: bool
) -> None:
    home.finish(home.keys[:1])
    filling = Filling(home, home.keys[:3])
    home.clock.advance(1)
    filling.becomes("CANCELING")
    if is_seen_while_it_ends:
        home.look()
    filling.becomes("CANCELED")
    actions = home.actions()
    assert home.keys[0] not in actions  # it is settled
    assert {actions[key] for key in home.keys[1:3]} == {Action.HELD}
    assert {actions[key] for key in home.keys[3:]} == {Action.RUN}
    assert {home.actions(ENRICHMENT)[key] for key in home.keys} == {Action.RUN}
    # By a person's cancel: until one wants it again, and then it stays so.
    home.clock.advance(1)
    home.ledger.requests.release([(SCRAPING, home.keys[1])], now=home.clock.now())
    assert home.actions()[home.keys[1]] is Action.RUN
    assert home.actions()[home.keys[2]] is Action.HELD


def test_what_was_wanted_after_the_backfill_was_cancelled_is_not_held(home: HealingHome) -> None:
    filling = Filling(home, home.keys[:2])
    home.clock.advance(1)
    filling.becomes("CANCELED")
    home.clock.advance(1)
    home.ledger.requests.ask_by_person(
        home.keys[:1], [SCRAPING], scope="person", now=home.clock.now()
    )
    actions = home.actions()
    assert [actions[key] for key in home.keys[:2]] == [Action.RUN, Action.HELD]


def test_profiles_that_a_cancelled_backfill_was_to_build_are_held(home: HealingHome) -> None:
    for phase in FETCHING:
        home.finish(home.keys[:2], phase)
    filling = Filling(home, home.keys[:2], [PROFILES])
    home.platform.profiles.build(home.keys[0])
    home.record(home.keys[:1], PROFILES)
    home.clock.advance(1)
    filling.becomes("CANCELED")
    assert home.actions(PROFILES) == {home.keys[1]: Action.HELD}


def test_a_backfill_that_failed_holds_nothing(home: HealingHome) -> None:
    filling = Filling(home, home.keys[:2])
    home.clock.advance(1)
    filling.becomes("FAILED")
    assert set(home.actions().values()) == {Action.RUN}
