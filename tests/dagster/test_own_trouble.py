"""Our own network or store is away: the whole phase waits, and one run finds out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterRunStatus

from resources.core.models import Phase
from resources.core.recovery import COOL_DOWN_S, Action
from tests.support.healing import ENRICHMENT, SCRAPING, HealingHome, healing_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HealingHome]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_PROVIDERS__PDL__API_KEY", "key")
    monkeypatch.setattr("resources.healing.MOST_BATCHES_PER_RUN", 2)
    with healing_home(tmp_path) as home:
        home.ask(home.keys)
        yield home


@pytest.mark.parametrize("kind", ["local_network", "store"])
def test_one_run_finds_out_and_the_others_wait_for_it(home: HealingHome, kind: str) -> None:
    plans = home.tick()
    assert len(plans) == 3
    for plan in plans:
        run = home.launched(plan, DagsterRunStatus.STARTED)
        home.instance.report_run_failed(run, "Steps failed.")
    home.wait_for(home.keys, kind)
    home.clock.advance(2 * COOL_DOWN_S)
    (probe,) = home.tick()
    run = home.launched(probe, DagsterRunStatus.STARTED)
    assert home.tick() == []
    assert home.actions()[home.keys[-1]] is Action.WAIT
    home.instance.report_run_failed(run, "Steps failed.")
    # It counts for all of them: nobody else tries in vain before its cool-down is over.
    assert set(home.actions().values()) == {Action.WAIT}
    home.clock.advance(2 * COOL_DOWN_S)
    assert len(home.tick()) == 1


@pytest.mark.parametrize("phase", [SCRAPING, ENRICHMENT])
def test_once_something_has_settled_all_go_on(home: HealingHome, phase: Phase) -> None:
    home.ask(home.keys, [ENRICHMENT])
    home.wait_for(home.keys[1:], "local_network", phase)
    assert len(home.tick(phase)) == 1
    home.clock.advance(COOL_DOWN_S + 1)
    home.settle(home.keys[:1], phase)
    assert len([key for key, action in home.actions(phase).items() if action is Action.RUN]) >= 3


def test_what_a_cancel_holds_stops_nobody(home: HealingHome) -> None:
    home.wait_for(home.keys[:1], "local_network")
    home.ledger.requests.hold(home.keys[:1], SCRAPING, "cancelled", home.clock.now())
    assert len(home.tick()) == 3
