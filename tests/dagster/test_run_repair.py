"""Runs whose worker is gone or stuck: closed with real processes, and nobody else's is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRun, DagsterRunStatus
from dagster._core.definitions.dependency import NodeHandle
from dagster._core.events import StepRetryData
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.launcher import CheckRunHealthResult, RunLauncher, WorkerStatus
from dagster._utils.error import SerializableErrorInfo
from sqlalchemy import insert, update

from resources.adapters.ledger.process_identity import (
    ProcessIdentity,
    current_process,
    process_started,
)
from resources.adapters.ledger.schema import run_processes, workers
from resources.core.config import load_settings
from resources.core.recovery import Action
from resources.core.run_recovery import CANCEL_S, DAGSTERS_OWN_S, START_S, RunEnding
from sensors import run_repair
from sensors.dagster_state import DagsterState
from sensors.faults import Faults
from sensors.run_repair import Repaired, process_began_at, repair_runs
from sensors.stuck_runs import build_stuck_runs
from tests.support.healing import SCRAPING, HealingHome, healing_home
from tests.support.webhook import webhook

STUCK_S = 1_800.0
SLEEPER = "import sys, time; print('up', flush=True); time.sleep(600)"
STATES_ENDED = {DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HealingHome]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    with healing_home(tmp_path) as home:
        home.ask(home.keys[:1])
        yield home


@contextmanager
def sleeper() -> Iterator[tuple[subprocess.Popen[str], ProcessIdentity]]:
    """A real process that does nothing, and who it is."""
    command = [sys.executable, "-c", SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            started = process_started(process.pid)
            yield process, replace(current_process(), pid=process.pid, process_started=started)
        finally:
            process.kill()
            process.wait(timeout=10)


def _register(home: HealingHome, run: DagsterRun, who: ProcessIdentity) -> None:
    row = {"run_id": run.run_id, **asdict(who), "started_at": home.clock.now()}
    with home.ledger.database.write() as connection:
        connection.execute(insert(run_processes), [row])


def _worker(home: HealingHome, run: DagsterRun, who: ProcessIdentity, **values: Any) -> str:
    """A worker of that process, which has the batch in hand."""
    now = home.clock.now()
    worker = home.ledger.workers.begin(SCRAPING, run.run_id, now)
    home.ledger.work.claim(worker, SCRAPING, home.keys[:1], 100, now + 1, now)
    with home.ledger.database.write() as connection:
        mine = update(workers).where(workers.c.id == worker)
        connection.execute(mine.values(**{**asdict(who), "progress_at": now, **values}))
    return worker


def _repair(home: HealingHome, faults: Faults | None = None, **values: Any) -> list[Repaired]:
    faults = faults or Faults()
    return repair_runs(
        home.instance,
        home.platform,
        DagsterState(home.instance).under_way(),
        home.clock.now(),
        faults,
        **{"is_advice": False, **values},
    )


def _wait(home: HealingHome, seconds: float = DAGSTERS_OWN_S + 5) -> None:
    home.clock.advance(seconds)


GONE = replace(current_process(), boot_id="a boot before this one")


# -- orphans --------------------------------------------------------------------------------------


def test_a_run_whose_process_is_gone_is_failed_and_its_batches_are_due(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    with sleeper() as (_, who):
        _register(home, run, who)
    _wait(home)
    (done,) = _repair(home)
    assert (done.run_id, done.is_done) == (run.run_id, True)
    assert home.status_of(run) is DagsterRunStatus.FAILURE
    assert home.endings() == {run.run_id: RunEnding.WORKER_DIED}
    assert home.actions() == {home.keys[0]: Action.RUN}


def test_dagster_is_given_time_to_notice_a_death_by_itself(home: HealingHome) -> None:
    _register(home, home.run(home.keys[:1]), GONE)
    assert _repair(home) == []


def test_a_process_that_only_has_the_id_of_a_worker_is_never_signalled(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    with sleeper() as (process, who):
        _register(home, run, replace(who, process_started=who.process_started - 100))
        home.clock.advance(STUCK_S + 1)
        assert [one.run_id for one in _repair(home)] == [run.run_id]
        assert home.status_of(run) is DagsterRunStatus.FAILURE
        assert process.poll() is None


def test_a_run_that_this_very_process_works_on_is_never_ended(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    _register(home, run, current_process())
    home.clock.advance(STUCK_S + 1)
    assert [one.is_done for one in _repair(home)] == [False]
    assert home.status_of(run) is DagsterRunStatus.STARTED


@pytest.mark.parametrize("status", ["STARTING", "STARTED"])
def test_a_run_from_before_the_server_that_never_said_who_it_is_is_closed(
    home: HealingHome, status: str
) -> None:
    run = home.run(home.keys[:1], status=DagsterRunStatus[status])
    _wait(home)
    assert _repair(home, server_began_at=process_began_at()) == []
    _repair(home, server_began_at=home.clock.now())
    assert home.status_of(run) is DagsterRunStatus.FAILURE


def test_a_command_leaves_a_run_that_is_starting_to_its_server(home: HealingHome) -> None:
    run = home.run(home.keys[:1], status=DagsterRunStatus.STARTING)
    _wait(home)
    home.look()
    assert home.status_of(run) is DagsterRunStatus.STARTING


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING"])
def test_a_run_that_no_worker_ever_begins_is_closed(home: HealingHome, status: str) -> None:
    run = home.run(home.keys[:1], status=DagsterRunStatus[status])
    home.clock.advance(START_S - 5)
    assert _repair(home) == []
    home.clock.advance(10)
    assert _repair(home)[0].is_done
    assert home.status_of(run) is DagsterRunStatus.FAILURE


@pytest.mark.parametrize("is_alive", [True, False], ids=["alive", "gone"])
def test_a_run_within_a_command_is_known_by_its_tag(home: HealingHome, is_alive: bool) -> None:
    with sleeper() as (process, who):
        tag = f"{who.host}/{who.boot_id}/{who.pid}/{who.process_started}"
        run = home.run(
            home.keys[:1],
            status=DagsterRunStatus.NOT_STARTED,
            tags={"pipeline/process": tag},
        )
        if not is_alive:
            process.kill()
            process.wait(timeout=10)
        home.clock.advance(START_S + 5)
        _repair(home)
        assert (home.status_of(run) in STATES_ENDED) is not is_alive


def test_a_queued_run_is_left_however_long_it_waits(home: HealingHome) -> None:
    run = home.run(home.keys[:1], status=DagsterRunStatus.QUEUED)
    home.clock.advance(100 * STUCK_S)
    assert _repair(home) == []
    assert home.status_of(run) is DagsterRunStatus.QUEUED


# -- stuck ----------------------------------------------------------------------------------------


def test_a_stuck_worker_is_killed_and_its_batches_are_due(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    with sleeper() as (process, who):
        _register(home, run, who)
        _worker(home, run, who)
        home.clock.advance(STUCK_S - 60)
        assert _repair(home) == []
        home.clock.advance(120)
        (done,) = _repair(home)
        assert process.wait(timeout=10) == -signal.SIGKILL
    assert done.is_done
    assert "Stuck: for " in done.verdict.reason
    assert home.status_of(run) is DagsterRunStatus.FAILURE
    assert home.endings() == {run.run_id: RunEnding.STUCK}
    assert home.actions() == {home.keys[0]: Action.RUN}


def test_a_frozen_worker_is_killed_as_well(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    with sleeper() as (process, who):
        _register(home, run, who)
        os.kill(process.pid, signal.SIGSTOP)
        home.clock.advance(STUCK_S + 60)
        assert _repair(home)[0].is_done
        assert process.wait(timeout=10) == -signal.SIGKILL


def test_a_worker_that_waits_on_purpose_is_left_until_then(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    with sleeper() as (process, who):
        _register(home, run, who)
        later = home.clock.now() + 3 * STUCK_S
        _worker(home, run, who, waits_until=later, lease_until=later + 10 * STUCK_S)
        home.clock.advance(3 * STUCK_S + 60)
        assert _repair(home) == []
        assert process.poll() is None
        home.clock.advance(STUCK_S)
        assert _repair(home)[0].is_done


def test_a_run_that_waits_for_its_next_attempt_is_left_until_then(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    waiting = DagsterEvent(
        event_type_value=DagsterEventType.STEP_UP_FOR_RETRY.value,
        job_name=run.job_name,
        step_key="scraped_pages",
        step_handle=StepHandle(NodeHandle("scraped_pages", None)),
        event_specific_data=StepRetryData(
            error=SerializableErrorInfo("503", [], None), seconds_to_wait=2 * STUCK_S
        ),
    )
    home.instance.report_dagster_event(waiting, run_id=run.run_id)
    with sleeper() as (process, who):
        _register(home, run, who)
        home.clock.advance(3 * STUCK_S - 60)
        assert _repair(home) == []
        assert process.poll() is None
        home.clock.advance(120)
        assert _repair(home)[0].is_done


def test_any_event_in_dagster_is_a_sign_of_life(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    with sleeper() as (_, who):
        _register(home, run, who)
        home.clock.advance(STUCK_S - 60)
        home.instance.report_engine_event("Still here.", run)
        assert _repair(home) == []


def test_advice_names_a_stuck_run_and_touches_nothing(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    with sleeper() as (process, who):
        _register(home, run, who)
        home.clock.advance(STUCK_S + 60)
        (advised,) = _repair(home, is_advice=True)
        assert (advised.run_id, advised.is_done) == (run.run_id, False)
        assert process.poll() is None
    assert home.status_of(run) is DagsterRunStatus.STARTED
    assert home.endings() == {}


# -- cancelled ------------------------------------------------------------------------------------


def _cancelling(home: HealingHome, message: str | None = None) -> DagsterRun:
    run = home.run(home.keys[:1])
    home.instance.report_run_canceling(run, message)
    return run


def test_a_frozen_worker_that_cannot_hear_its_cancel_is_killed_and_held(home: HealingHome) -> None:
    run = _cancelling(home)
    with sleeper() as (process, who):
        _register(home, run, who)
        os.kill(process.pid, signal.SIGSTOP)
        home.clock.advance(CANCEL_S - 10)
        assert _repair(home) == []
        home.clock.advance(20)
        assert _repair(home)[0].is_done
        assert process.wait(timeout=10) == -signal.SIGKILL
    assert home.status_of(run) is DagsterRunStatus.CANCELED
    assert home.endings() == {run.run_id: RunEnding.CANCELLED_BY_USER}
    assert home.actions() == {home.keys[0]: Action.HELD}


def test_a_cancelled_run_whose_worker_is_gone_is_cancelled_and_held(home: HealingHome) -> None:
    run = _cancelling(home)
    _register(home, run, GONE)
    _wait(home)
    _repair(home)
    assert home.status_of(run) is DagsterRunStatus.CANCELED
    assert home.actions() == {home.keys[0]: Action.HELD}


def test_a_retry_while_the_cancelled_worker_is_still_ending_counts(home: HealingHome) -> None:
    run = _cancelling(home)
    _register(home, run, GONE)
    _wait(home)
    home.ledger.requests.release([(SCRAPING, home.keys[0])], now=home.clock.now())
    _wait(home)
    _repair(home)
    assert home.status_of(run) is DagsterRunStatus.CANCELED
    assert home.actions() == {home.keys[0]: Action.RUN}


def test_a_run_over_its_limit_that_did_not_end_is_failed_and_healed(home: HealingHome) -> None:
    run = _cancelling(home, "Canceling due to exceeding maximum runtime of 5 seconds.")
    _register(home, run, GONE)
    _wait(home)
    _repair(home)
    assert home.status_of(run) is DagsterRunStatus.FAILURE
    assert home.actions() == {home.keys[0]: Action.RUN}


# -- other machines -------------------------------------------------------------------------------

ELSEWHERE = replace(current_process(), host="another-machine", pid=1)


def test_a_run_on_another_machine_that_beats_is_left(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    _register(home, run, ELSEWHERE)
    home.clock.advance(STUCK_S + 60)
    _worker(home, run, ELSEWHERE, progress_at=0.0)
    assert [one.is_done for one in _repair(home)] == [False]
    assert home.status_of(run) is DagsterRunStatus.STARTED
    assert home.endings() == {}


def test_a_run_of_a_machine_that_beats_no_more_is_closed_once_its_lease_is_over(
    home: HealingHome,
) -> None:
    run = home.run(home.keys[:1])
    _register(home, run, ELSEWHERE)
    _worker(home, run, ELSEWHERE)
    home.clock.advance(home.ledger.workers.lease_s - 1)
    assert _repair(home) == []
    home.clock.advance(2)
    assert _repair(home)[0].is_done
    assert home.status_of(run) is DagsterRunStatus.FAILURE
    assert home.endings() == {run.run_id: RunEnding.WORKER_DIED}
    assert home.actions() == {home.keys[0]: Action.RUN}


def test_a_run_whose_worker_there_was_buried_already_is_closed_as_well(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    _register(home, run, ELSEWHERE)
    _worker(home, run, ELSEWHERE)
    home.clock.advance(home.ledger.workers.lease_s + 1)
    home.ledger.workers.bury_dead(home.clock.now())
    assert _repair(home)[0].is_done


@pytest.mark.parametrize("is_command", [False, True], ids=["by the server", "by a command"])
def test_a_run_between_two_attempts_ends_with_the_container_of_its_server(
    home: HealingHome, is_command: bool
) -> None:
    """A new container has another name, and no worker beats while a run waits for its retry."""
    tag = {"pipeline/process": "another-machine/boot/1/0.0"} if is_command else {}
    run = home.run(home.keys[:1], tags=tag)
    _register(home, run, ELSEWHERE)
    home.ledger.workers.end(_worker(home, run, ELSEWHERE), home.clock.now(), "finished")
    home.ledger.runs.wait(run.run_id, home.clock.now() + 240)
    _wait(home)
    assert _repair(home, server_began_at=process_began_at()) == []
    closed = [one.run_id for one in _repair(home, server_began_at=home.clock.now())]
    assert closed == ([] if is_command else [run.run_id])


def test_a_run_that_beats_elsewhere_outlives_the_server(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    _register(home, run, ELSEWHERE)
    _worker(home, run, ELSEWHERE)
    _wait(home)
    assert _repair(home, server_began_at=home.clock.now()) == []


# -- launchers that look after their workers ------------------------------------------------------


class CaringLauncher(RunLauncher):
    """Says what it is told to of any worker, and ends it as such launchers do."""

    def __init__(self, status: WorkerStatus) -> None:
        self.status = status
        self.ended: list[str] = []
        self.obeys = True
        self.breaks_on = ""
        super().__init__()

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        if run.run_id == self.breaks_on:
            raise RuntimeError("no answer from the cluster")
        return CheckRunHealthResult(self.status)

    def launch_run(self, context: Any) -> None:
        raise NotImplementedError

    def terminate(self, run_id: str) -> bool:
        if not self.obeys:
            return False
        run = self._instance.get_run_by_id(run_id)
        assert run is not None
        self._instance.report_run_canceling(run)
        self._instance.report_run_canceled(run)
        self.ended.append(run_id)
        return True


@contextmanager
def _launcher(home: HealingHome, status: WorkerStatus) -> Iterator[CaringLauncher]:
    launcher = CaringLauncher(status)
    launcher.register_instance(home.instance)
    before = home.instance._run_launcher
    home.instance._run_launcher = launcher
    try:
        yield launcher
    finally:
        home.instance._run_launcher = before


GONE_STATES = [WorkerStatus.FAILED, WorkerStatus.NOT_FOUND, WorkerStatus.SUCCESS]


@pytest.mark.parametrize("status", GONE_STATES, ids=lambda status: status.value)
def test_a_launchers_word_that_a_worker_is_gone_closes_its_run(
    home: HealingHome, status: WorkerStatus
) -> None:
    run = home.run(home.keys[:1])
    _wait(home)
    with _launcher(home, status) as launcher:
        assert _repair(home)[0].is_done
    assert home.status_of(run) is DagsterRunStatus.FAILURE
    assert launcher.ended == []


def test_a_stuck_worker_is_ended_by_its_launcher_and_does_not_pass_for_cancelled(
    home: HealingHome,
) -> None:
    run = home.run(home.keys[:1])
    home.clock.advance(STUCK_S + 60)
    with _launcher(home, WorkerStatus.RUNNING) as launcher:
        assert _repair(home)[0].is_done
        assert launcher.ended == [run.run_id]
        assert home.actions() == {home.keys[0]: Action.RUN}
    assert home.endings() == {run.run_id: RunEnding.STUCK}


def test_a_command_of_which_the_launcher_knows_nothing_is_left_alone(home: HealingHome) -> None:
    with sleeper() as (process, who), _launcher(home, WorkerStatus.NOT_FOUND) as launcher:
        tag = f"{who.host}/{who.boot_id}/{who.pid}/{who.process_started}"
        run = home.run(home.keys[:1], tags={"pipeline/process": tag})
        _wait(home)
        assert _repair(home) == []
        assert process.poll() is None
        assert launcher.ended == []
    assert home.status_of(run) is DagsterRunStatus.STARTED


def test_a_cancel_after_a_worker_could_not_be_ended_holds(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    home.clock.advance(STUCK_S + 60)
    with _launcher(home, WorkerStatus.RUNNING) as launcher:
        launcher.obeys = False
        assert [one.is_done for one in _repair(home)] == [False]
    assert home.endings() == {}
    home.instance.report_run_canceling(run)
    home.instance.report_run_canceled(run)
    assert home.actions() == {home.keys[0]: Action.HELD}
    assert home.endings() == {run.run_id: RunEnding.CANCELLED_BY_USER}


def test_a_cancel_that_we_carry_out_holds_whatever_was_noted_before(home: HealingHome) -> None:
    """As when the machine died between the note that a run is stuck and the end of its worker."""
    run = _cancelling(home)
    home.ledger.runs.note_ending(run.run_id, RunEnding.STUCK, "stuck", home.clock.now())
    _register(home, run, GONE)
    _wait(home)
    assert _repair(home)[0].is_done
    assert home.actions() == {home.keys[0]: Action.HELD}


# -- what is told ---------------------------------------------------------------------------------


def test_each_run_that_was_closed_is_told_of_once_whoever_closed_it(home: HealingHome) -> None:
    runs = [home.run([key]) for key in home.keys[:3]]
    for run in runs:
        _register(home, run, GONE)
    _wait(home)
    home.sensor_tick(build_stuck_runs(load_settings()))
    assert home.alerts() == []  # by the day's real time they have only just begun
    assert len(_repair(home)) == len(runs)
    for _ in range(2):
        home.look()
        home.sensor_tick(build_stuck_runs(load_settings()))
    told = {row.subject: row.sentence for row in home.alerts()}
    assert set(told) == {run.run_id for run in runs}
    assert len(home.alerts()) == len(runs)
    assert all("is gone; what it finished is kept" in sentence for sentence in told.values())


def test_a_stuck_run_is_told_of_to_the_channels(
    home: HealingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = home.run(home.keys[:1])
    with webhook() as taker, sleeper() as (_, who):
        monkeypatch.setenv("PIPELINE_ALERT_URLS", taker.url())
        _register(home, run, who)
        home.clock.advance(STUCK_S + 60)
        assert _repair(home)[0].is_done
        for _ in range(2):
            home.sensor_tick(build_stuck_runs(load_settings()))
    assert [title.rpartition(": ")[2] for title in taker.titles] == [
        "a dead or stuck run was closed"
    ]


# -- what fails -----------------------------------------------------------------------------------


def test_a_run_that_cannot_be_looked_after_does_not_keep_the_others_from_it(
    home: HealingHome,
) -> None:
    runs = [home.run([key]) for key in home.keys[:3]]
    home.clock.advance(STUCK_S + 60)
    faults = Faults()
    with _launcher(home, WorkerStatus.NOT_FOUND) as launcher:
        launcher.breaks_on = runs[1].run_id
        done = _repair(home, faults)
    assert {one.run_id for one in done} == {runs[0].run_id, runs[2].run_id}
    (fault,) = faults.found
    assert runs[1].run_id in fault.sentence
    assert "no answer from the cluster" in fault.sentence
    assert "check_run_worker_health" in fault.stack


# -- what dies in between -------------------------------------------------------------------------


def test_a_repair_that_died_before_it_told_dagster_is_done_by_the_next(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    _register(home, run, GONE)
    target = DagsterState(home.instance).target_of(home.record_of(run))
    now = home.clock.now()
    run_repair.note(home.platform, target, RunEnding.WORKER_DIED, "gone", now, ended_at=now)
    _wait(home)
    assert _repair(home)[0].is_done
    assert home.status_of(run) is DagsterRunStatus.FAILURE


def test_a_run_is_closed_once(home: HealingHome) -> None:
    run = home.run(home.keys[:1])
    _register(home, run, GONE)
    _wait(home)
    assert len(_repair(home)) == 1
    assert _repair(home) == []
    failures = home.instance.get_records_for_run(
        run.run_id, of_type=DagsterEventType.RUN_FAILURE
    ).records
    assert len(failures) == 1
