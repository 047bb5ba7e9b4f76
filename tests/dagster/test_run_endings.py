"""How runs ended, and what follows for their batches: a person's cancel holds, the rest heals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.events import JobFailureData, RunFailureReason

from pipeline_assets.recording import DUE_ONLY_TAG, REFRESH_TAG, is_by_person
from resources.adapters.ledger.bringing_back import BringingBack
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.workers import INTERRUPTED
from resources.core.bringing_back import Selection
from resources.core.recovery import Action
from resources.core.run_recovery import RunEnding
from sensors import run_endings
from sensors.dagster_state import DagsterState
from sensors.faults import Faults
from sensors.run_endings import note_endings
from tests.support.healing import FETCHING, PROFILES, SCRAPING, HealingHome, healing_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HealingHome]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    with healing_home(tmp_path) as home:
        home.ask(home.keys[:2], FETCHING)
        yield home


def _terminate(home: HealingHome, run: DagsterRun) -> None:
    home.instance.report_run_canceling(run)
    home.instance.report_run_canceled(run)


def _force(home: HealingHome, run: DagsterRun) -> None:
    home.instance.report_run_canceled(run)


def _stop_command(home: HealingHome, run: DagsterRun) -> None:
    """Ctrl-C of the command that runs it."""
    home.ledger.workers.begin(SCRAPING, run.run_id, home.clock.now())
    home.ledger.workers.end_of_process(home.clock.now(), INTERRUPTED)
    home.instance.report_run_failed(run, "Steps failed.")


def _give_up_cancelling(home: HealingHome, run: DagsterRun) -> None:
    home.instance.report_run_canceling(run)
    home.instance.report_run_canceled(run, "Run timed out due to taking longer than 600 seconds")


CANCELS = {
    "terminated": _terminate,
    "marked as cancelled by force": _force,
    "Ctrl-C of its command": _stop_command,
    "terminated, and it took too long": _give_up_cancelling,
}


@pytest.mark.parametrize("how", CANCELS)
def test_a_persons_cancel_holds_its_batches_in_its_phase(home: HealingHome, how: str) -> None:
    run = home.run(home.keys[:1])
    CANCELS[how](home, run)
    assert home.actions() == {home.keys[0]: Action.HELD, home.keys[1]: Action.RUN}
    assert home.endings() == {run.run_id: RunEnding.CANCELLED_BY_USER}
    assert home.request(home.keys[0]).last_run_id == run.run_id


def test_runs_of_a_cancelled_backfill_that_never_began_hold_theirs(home: HealingHome) -> None:
    for key in home.keys[:2]:
        tags = {"dagster/partition": key, "dagster/backfill": "filling"}
        run = home.run(tags=tags, status=DagsterRunStatus.QUEUED)
        home.instance.report_run_canceling(run)
        home.instance.report_run_canceled(run)
    assert set(home.actions().values()) == {Action.HELD}


def _exceed(home: HealingHome, run: DagsterRun) -> None:
    home.instance.report_run_canceling(
        run, message="Canceling due to exceeding maximum runtime of 5 seconds."
    )
    home.instance.report_run_failed(run, "Exceeded maximum runtime of 5 seconds.")


def _exceed_and_obey(home: HealingHome, run: DagsterRun) -> None:
    home.instance.report_run_canceling(
        run, message="Canceling due to exceeding maximum runtime of 5 seconds."
    )
    home.instance.report_run_canceled(run)


def _sigterm(home: HealingHome, run: DagsterRun) -> None:
    failure = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
    home.instance.report_run_failed(run, "Execution was interrupted unexpectedly.", failure)


def _killed(home: HealingHome, run: DagsterRun) -> None:
    home.instance.report_run_failed(run, "Run process with pid 1 exited unexpectedly.")


OTHERS = {
    "max_runtime": (_exceed, RunEnding.LIMIT),
    "max_runtime, and the worker said that it was cancelled": (_exceed_and_obey, RunEnding.LIMIT),
    "SIGTERM": (_sigterm, RunEnding.WORKER_DIED),
    "SIGKILL": (_killed, RunEnding.WORKER_DIED),
}


@pytest.mark.parametrize("how", OTHERS)
def test_whatever_else_ends_a_run_is_healed_at_once(home: HealingHome, how: str) -> None:
    (plan,) = home.tick(SCRAPING)
    run = home.launched(plan, DagsterRunStatus.STARTED)
    end, ending = OTHERS[how]
    end(home, run)
    assert set(home.actions().values()) == {Action.RUN}  # no cool-down
    assert home.endings() == {run.run_id: ending}


def test_a_run_that_failed_by_its_own_decision_is_followed_after_the_cool_down(
    home: HealingHome,
) -> None:
    (plan,) = home.tick(SCRAPING)
    run = home.launched(plan, DagsterRunStatus.STARTED)
    home.instance.report_run_failed(run, "Steps failed.")
    assert set(home.actions().values()) == {Action.WAIT}
    assert home.endings() == {run.run_id: RunEnding.FAILED}


# -- a person goes on -----------------------------------------------------------------------------


def test_a_cancel_that_is_noticed_after_the_retry_holds_nothing(home: HealingHome) -> None:
    _terminate(home, home.run(home.keys[:1]))
    home.clock.advance(5)
    home.ledger.requests.release([(SCRAPING, home.keys[0])], now=home.clock.now())
    assert home.actions()[home.keys[0]] is Action.RUN


def test_a_retry_while_the_cancelled_run_still_ends_counts(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    home.instance.report_run_canceling(run)
    home.ledger.requests.release([(SCRAPING, home.keys[0])], now=time.time())
    home.instance.report_run_canceled(run)
    assert home.actions()[home.keys[0]] is Action.RUN


def test_a_cancel_after_the_retry_holds(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    before = home.clock.now() - 60
    home.ledger.requests.release([(SCRAPING, home.keys[0])], now=before)
    _terminate(home, run)
    assert home.actions()[home.keys[0]] is Action.HELD


def test_a_held_batch_goes_on_with_a_new_run_by_a_person(home: HealingHome) -> None:
    _terminate(home, home.run(home.keys[:1]))
    assert home.actions()[home.keys[0]] is Action.HELD
    home.clock.advance(5)
    home.ledger.requests.ask_by_person(
        home.keys[:1], [SCRAPING], scope="person", now=home.clock.now()
    )
    assert home.actions()[home.keys[0]] is Action.RUN


def test_what_nobody_had_asked_for_is_wanted_once_a_run_over_it_died(home: HealingHome) -> None:
    key = home.keys[3]
    _killed(home, home.run([key]))
    assert home.actions()[key] is Action.RUN


def test_cancelled_profiles_are_held_too_until_they_are_released(home: HealingHome) -> None:
    for phase in FETCHING:
        home.finish(home.keys[:1], phase)
    _terminate(home, home.run(home.keys[:1], asset="company_profiles"))
    assert home.actions(PROFILES)[home.keys[0]] is Action.HELD
    BringingBack(home.ledger.database).bring_back(
        Selection(batch_key=home.keys[0]), home.clock.now()
    )
    assert home.actions(PROFILES)[home.keys[0]] is Action.RUN


# -- each once, whatever dies in between ----------------------------------------------------------


def test_an_end_is_noted_once(home: HealingHome) -> None:
    _terminate(home, home.run(home.keys[:1]))
    state = DagsterState(home.instance)
    assert note_endings(state, home.platform, home.clock.now(), Faults()) == 1
    assert note_endings(state, home.platform, home.clock.now(), Faults()) == 0


class _LedgerThatCannotHold:
    """Ends whoever wants to note what an ended run means for its batches."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.requests = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def note_person_asked(self, *arguments: Any) -> None:
        self._ledger.requests.note_person_asked(*arguments)

    def note_run_ended(self, *_: Any, **__: Any) -> None:
        raise OSError("it dies here")


def test_a_crash_while_an_end_is_noted_leaves_it_to_be_noted_again(home: HealingHome) -> None:
    _terminate(home, home.run(home.keys[:1]))
    broken = replace(home.platform, ledger=_LedgerThatCannotHold(home.ledger))  # type: ignore[arg-type]
    state, now, faults = DagsterState(home.instance), home.clock.now(), Faults()
    assert note_endings(state, broken, now, faults) == 0
    assert ["it dies here" in fault.sentence for fault in faults.found] == [True]
    assert home.endings() == {}
    assert home.actions()[home.keys[0]] is Action.HELD


def test_more_ends_at_one_time_than_are_looked_at_are_all_noted(
    home: HealingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_endings, "MOST_AT_ONCE", 2)
    for _ in range(7):
        _terminate(home, home.run(home.keys[:1]))
    state = DagsterState(home.instance)
    noted = [note_endings(state, home.platform, home.clock.now(), Faults()) for _ in range(5)]
    assert sum(noted) == 7
    assert noted[-1] == 0


def test_a_run_over_partitions_that_are_gone_is_noted_and_holds_nothing(home: HealingHome) -> None:
    run = home.run(tags={"dagster/partition": "not-there-00001"})
    _terminate(home, run)
    assert set(home.actions().values()) == {Action.RUN}
    assert run.run_id in home.endings()


def test_dagsters_word_for_a_limit_is_still_the_one_we_look_for() -> None:
    import inspect

    from dagster._daemon.monitoring import run_monitoring

    assert run_endings._OF_LIMIT in inspect.getsource(run_monitoring.check_run_timeout)


PARENT = {"dagster/parent_run_id": "x", DUE_ONLY_TAG: "true"}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param({}, True, id="from the browser"),
        pytest.param({DUE_ONLY_TAG: "true"}, False, id="healing"),
        pytest.param({REFRESH_TAG: "true"}, False, id="a schedule"),
        pytest.param(PARENT, True, id="re-executed, with the tags of healing"),
        pytest.param({**PARENT, "dagster/retry_number": "1"}, False, id="Dagster's own retry"),
    ],
)
def test_only_what_a_person_begins_releases_a_cancel(tags: dict[str, str], expected: bool) -> None:
    assert is_by_person(tags) is expected
