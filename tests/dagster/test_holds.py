"""What a person's cancel holds, and what a person's run or command lets go on again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterRun, DagsterRunStatus

from pipeline_assets.instance import Runs
from pipeline_assets.invocation import Invocation
from pipeline_assets.recording import DUE_ONLY_TAG
from resources.adapters.ledger.lists import IngestReport
from resources.adapters.ledger.schema import drivers
from resources.core.models import Phase
from resources.core.recovery import Action
from tests.support.healing import FETCHING, LIST, PROFILES, SCRAPING, HealingHome, healing_home
from tests.support.ledgers import add_list

AUTOMATIC = {DUE_ONLY_TAG: "true"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HealingHome]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    with healing_home(tmp_path, batches=2) as home:
        home.ask(home.keys, FETCHING)
        yield home


def _cancel(home: HealingHome, run: DagsterRun) -> None:
    home.instance.report_run_canceling(run)
    home.instance.report_run_canceled(run)
    home.look()


def _held(home: HealingHome) -> set[tuple[Phase, str]]:
    return {pair for pair, one in home.ledger.requests.all().items() if one.held_reason}


def _runs(home: HealingHome) -> Runs:
    return Runs(home.instance, home.definitions)


def _command(
    home: HealingHome, stop: threading.Event | None = None, only: Phase = PROFILES
) -> Invocation:
    """`pipeline run --only PHASE`."""
    stop = stop or threading.Event()
    return Invocation(home.platform, home.instance, _runs(home), lambda _: None, stop, only)


def _report_of(home: HealingHome) -> IngestReport:
    """As after the home's list was taken in once more."""
    return add_list(home.ledger, LIST, [], now=home.clock.now())


# -- what is held, and for how long ------------------------------------------------------------


def test_a_cancel_holds_only_what_is_not_settled(home: HealingHome) -> None:
    home.finish(home.keys[:1])
    _cancel(home, home.run(home.keys))
    assert _held(home) == {(SCRAPING, home.keys[1])}


@pytest.mark.parametrize("is_by_person", [True, False], ids=["a person's", "automatic"])
def test_a_run_that_died_before_it_began_ends_the_hold_only_if_a_person_wanted_it(
    home: HealingHome, is_by_person: bool
) -> None:
    _cancel(home, home.run(home.keys[:1]))
    assert _held(home) == {(SCRAPING, home.keys[0])}
    tags = {} if is_by_person else AUTOMATIC
    run = home.run(home.keys[:1], tags=tags, status=DagsterRunStatus.STARTING)
    home.instance.report_run_failed(run, "Run process exited unexpectedly.")
    expected = Action.RUN if is_by_person else Action.HELD
    assert home.actions()[home.keys[0]] is expected


def test_a_run_of_a_person_that_another_person_cancels_holds(home: HealingHome) -> None:
    _cancel(home, home.run(home.keys[:1]))
    _cancel(home, home.run(home.keys[:1], status=DagsterRunStatus.QUEUED))
    assert home.actions()[home.keys[0]] is Action.HELD


# -- profiles ---------------------------------------------------------------------------------


@pytest.fixture
def with_held_profiles(home: HealingHome) -> HealingHome:
    """All is settled, and a person has cancelled the run that was to build the profiles."""
    for phase in FETCHING:
        home.finish(home.keys, phase)
    _cancel(home, home.run(home.keys, asset="company_profiles"))
    assert set(home.actions(PROFILES).values()) == {Action.HELD}
    return home


def test_a_persons_run_of_profiles_ends_the_hold(with_held_profiles: HealingHome) -> None:
    home, (first, second) = with_held_profiles, with_held_profiles.keys
    assert _runs(home).run_range("build_profiles", first, first, {}) is None
    assert _held(home) == {(PROFILES, second)}


def test_an_automatic_run_of_profiles_does_not(with_held_profiles: HealingHome) -> None:
    home = with_held_profiles
    assert _runs(home).run_range("build_profiles", *home.keys, AUTOMATIC) is None
    assert _held(home) == {(PROFILES, key) for key in home.keys}


def test_a_command_builds_the_held_profiles_of_its_own_list_alone(
    with_held_profiles: HealingHome,
) -> None:
    home = with_held_profiles
    report = add_list(home.ledger, "b", ["other.example"], now=home.clock.now())
    home.instance.add_dynamic_partitions("batches", ["b-00001"])
    for phase in FETCHING:
        home.settle(["b-00001"], phase)
    home.ledger.requests.hold(["b-00001"], PROFILES, "cancelled", home.clock.now())
    assert _command(home).run(report, 0.0).failures == []
    assert set(home.ledger.artifacts.of_asset("company_profiles")) == {"b-00001"}
    assert _held(home) == {(PROFILES, key) for key in home.keys}


def test_a_command_ends_the_hold_of_its_profiles_also_where_it_dies_before_it_builds_them(
    with_held_profiles: HealingHome,
) -> None:
    home = with_held_profiles
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(KeyboardInterrupt):
        _command(home, stopped).run(_report_of(home), 0.0)
    assert _held(home) == set()


# -- a command that waits ---------------------------------------------------------------------


class _Stop(threading.Event):
    """Ends the first wait at once, and keeps how long it was to be."""

    waited_s: float | None = None

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_s = timeout
        self.set()
        return True


def test_a_command_that_waits_says_until_when(home: HealingHome) -> None:
    now = home.clock.now()
    due_at = now + 50_000
    home.wait_for(home.keys, "http_5xx", not_before=due_at)
    home.set_work(home.keys, asked_to_wait_until=due_at)
    stop = _Stop()
    with pytest.raises(KeyboardInterrupt):
        _command(home, stop, SCRAPING).run(_report_of(home), 90_000.0)
    assert stop.waited_s == pytest.approx(50_000, abs=60)
    (driver,) = home.rows(drivers)
    assert driver.waits_until == pytest.approx(due_at, abs=60)
