"""What a person's cancel holds, and what a person's run or command lets go on again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dagster import DagsterRun, DagsterRunStatus

from pipeline_assets.commands.heal import _is_finished
from pipeline_assets.instance import Runs
from pipeline_assets.invocation import Invocation
from pipeline_assets.recording import DUE_ONLY_TAG
from resources.adapters.ledger.bringing_back import BringingBack
from resources.adapters.ledger.lists import IngestReport
from resources.adapters.ledger.schema import drivers
from resources.core.bringing_back import Selection
from resources.core.models import Phase
from resources.core.recovery import DIRECTORY_EVERY_S, Action
from sensors.directory_runs import VERSION_TAG
from tests.support.healing import (
    ENRICHMENT,
    FETCHING,
    LIST,
    PROFILES,
    SCRAPING,
    HealingHome,
    healing_home,
)
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


# -- profiles and the directory do not wait for what is none of theirs ---------------------------


def _build(home: HealingHome) -> None:
    """All is settled and all profiles are built; the directory is not written."""
    for phase in FETCHING:
        home.finish(home.keys, phase)
    for key in home.keys:
        home.platform.profiles.build(key)
    home.record(home.keys, PROFILES)


def test_a_living_command_makes_the_directory_wait_no_longer_than_new_profiles_do(
    home: HealingHome,
) -> None:
    _build(home)
    home.ledger.drivers.begin("of another list", home.clock.now())
    assert home.look().healing.is_directory_due  # there is none yet
    home.platform.directory.write()
    home.settle(home.keys[:1])
    home.set_work(home.keys[:1], state="refused", reason="it forbids it")
    home.platform.profiles.build(home.keys[0])
    assert home.platform.directory.is_stale()
    assert not home.look().healing.is_directory_due
    home.clock.advance(DIRECTORY_EVERY_S)
    assert home.look().healing.is_directory_due


def test_profiles_of_a_settled_batch_do_not_wait_for_the_rest_of_a_run(home: HealingHome) -> None:
    for phase in FETCHING:
        home.finish(home.keys[:1], phase)
    home.finish(home.keys[1:], ENRICHMENT)
    home.run(home.keys)  # of both batches, whose second one it works on
    actions = home.actions(PROFILES)
    assert actions == {home.keys[0]: Action.RUN, home.keys[1]: Action.IN_HAND}


def _retry(home: HealingHome) -> None:
    BringingBack(home.ledger.database).bring_back(Selection(list_name=LIST), home.clock.now())


def _begin_command(home: HealingHome) -> None:
    stopped = threading.Event()
    stopped.set()
    command = _command(home, stopped)
    with pytest.raises(KeyboardInterrupt):
        command.run(_report_of(home), 0.0)


def _run_that_died(home: HealingHome) -> None:
    run = home.run(asset="company_directory", status=DagsterRunStatus.STARTING)
    home.instance.report_run_failed(run, "Run process exited unexpectedly.")


@pytest.mark.parametrize("what", [_retry, _begin_command, _run_that_died])
def test_a_cancelled_directory_is_written_once_a_person_wants_it(
    home: HealingHome, what: Callable[[HealingHome], None]
) -> None:
    _build(home)
    tags = {**AUTOMATIC, VERSION_TAG: home.platform.directory.version()}
    run = home.run(asset="company_directory", tags=tags)
    home.instance.report_run_canceled(run)
    held = home.look().healing
    assert (held.is_directory_due, _is_finished(held)) == (False, False)
    # Well after the run: Dagster's own times are the day's, and go on meanwhile.
    home.clock.advance(3_600)
    what(home)
    assert home.look().healing.is_directory_due


def test_healing_is_not_finished_while_the_directory_is_due(home: HealingHome) -> None:
    _build(home)
    due = home.look().healing
    assert (due.is_directory_due, _is_finished(due)) == (True, False)
    home.platform.directory.write()
    assert _is_finished(home.look().healing)
