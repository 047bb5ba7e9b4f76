"""Runs: their processes, the signs that their workers give, and how they ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from threading import Barrier, Thread

from sqlalchemy import select, update

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.runs import EndedRun, RunSigns
from resources.adapters.ledger.schema import run_processes, work, workers
from resources.adapters.ledger.workers import BROKEN_OFF, INTERRUPTED, current_process
from resources.core.models import Phase
from resources.core.run_recovery import RunEnding
from tests.support.ledgers import LEASE_S, add_list
from tests.support.requirements import ROOT
from tests.support.time import NOW

PHASE = Phase.PAGE_SCRAPING
MANY = [f"run-{number}" for number in range(12_000)]
BEGIN = """
import sys
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.ledger import Ledger
Ledger(Database(sys.argv[1]), 60.0).runs.begin("run-1", 1.0)
"""


def _worker(ledger: Ledger, run_id: str | None = "run-1", now: float = NOW, **values: float) -> str:
    """A worker of a run, with what it has told."""
    worker = ledger.workers.begin(PHASE, run_id, now)
    if values:
        with ledger.database.write() as connection:
            connection.execute(update(workers).where(workers.c.id == worker).values(**values))
    return worker


# -- processes --------------------------------------------------------------------------------


def test_a_run_is_known_by_the_process_that_began_it_last(ledger: Ledger) -> None:
    url = ledger.database.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", BEGIN, url], cwd=ROOT, check=True, timeout=60)
    (other,) = ledger.runs.processes(["run-1"]).values()
    assert other.pid != current_process().pid
    ledger.runs.begin("run-1", NOW)
    ledger.runs.begin("run-2", NOW)
    assert ledger.runs.processes(["run-1", "run-3"]) == {"run-1": current_process()}
    assert set(ledger.runs.processes(MANY)) == {"run-1", "run-2"}


def test_only_the_process_that_works_on_a_run_ends_it(ledger: Ledger) -> None:
    url = ledger.database.url.render_as_string(hide_password=False)

    def ended_at() -> float | None:
        with ledger.database.read() as connection:
            return connection.execute(select(run_processes.c.ended_at)).scalar_one()

    ledger.runs.begin("run-1", NOW)
    ledger.runs.end("run-1", NOW + 1)
    assert ended_at() == NOW + 1
    subprocess.run([sys.executable, "-c", BEGIN, url], cwd=ROOT, check=True, timeout=60)
    assert ended_at() is None
    ledger.runs.end("run-1", NOW + 2)
    assert ended_at() is None


# -- signs ------------------------------------------------------------------------------------


def test_a_run_without_a_worker_gives_no_sign(ledger: Ledger) -> None:
    _worker(ledger, None)
    assert ledger.runs.signs(["run-1"]) == {}
    assert ledger.runs.signs([]) == {}


def test_a_worker_that_has_only_begun_has_made_no_progress(ledger: Ledger) -> None:
    _worker(ledger)
    assert ledger.runs.signs(["run-1"]) == {"run-1": RunSigns(0.0, 0.0, interrupted=False)}


def test_the_newest_sign_of_all_workers_of_a_run_counts(ledger: Ledger) -> None:
    _worker(ledger, progress_at=NOW + 5, waits_until=NOW + 90)
    _worker(ledger, progress_at=NOW + 7, waits_until=NOW + 30)
    _worker(ledger, "run-2", progress_at=NOW + 99)
    found = ledger.runs.signs(MANY)
    assert found == {
        "run-1": RunSigns(NOW + 7, NOW + 90, interrupted=False),
        "run-2": RunSigns(NOW + 99, 0.0, interrupted=False),
    }


def test_a_worker_that_has_ended_waits_for_nothing_more(ledger: Ledger) -> None:
    ended = _worker(ledger, progress_at=NOW + 5, waits_until=NOW + 90)
    _worker(ledger, waits_until=NOW + 30)
    ledger.workers.end(ended, NOW + 6, "finished")
    assert ledger.runs.signs(["run-1"])["run-1"] == RunSigns(NOW + 5, NOW + 30, interrupted=False)


def test_a_run_that_a_person_stopped_is_told_from_one_that_broke_off(ledger: Ledger) -> None:
    for run_id, reasons in {
        "finished": ["finished"],
        "broken": [BROKEN_OFF, "lease_lost"],
        "stopped": ["finished", INTERRUPTED],
    }.items():
        for reason in reasons:
            ledger.workers.end(_worker(ledger, run_id), NOW, reason)
    signs = ledger.runs.signs(["finished", "broken", "stopped"])
    assert {run_id for run_id, one in signs.items() if one.interrupted} == {"stopped"}


def _interrupted(ledger: Ledger, runs: Sequence[str]) -> set[str]:
    return {run_id for run_id, one in ledger.runs.signs(runs).items() if one.interrupted}


def test_a_stop_that_closed_the_workers_stream_is_told_afterwards(ledger: Ledger) -> None:
    """The stream ends before the command can say why."""
    ledger.workers.end(_worker(ledger, "earlier", NOW), NOW + 1, BROKEN_OFF)
    ledger.workers.end(_worker(ledger, "stopped", NOW + 2), NOW + 3, BROKEN_OFF)
    ledger.workers.end_of_process(NOW + 4, INTERRUPTED)
    assert _interrupted(ledger, ["earlier", "stopped"]) == {"stopped"}


def test_a_stop_leaves_alone_what_had_finished_before_it(ledger: Ledger) -> None:
    ledger.workers.end(_worker(ledger, "broken", NOW), NOW + 1, BROKEN_OFF)
    ledger.workers.end(_worker(ledger, "finished", NOW + 2), NOW + 3, "finished")
    ledger.workers.end_of_process(NOW + 4, INTERRUPTED)
    assert _interrupted(ledger, ["broken", "finished"]) == set()


def test_a_stop_ends_what_is_still_at_work(ledger: Ledger) -> None:
    _worker(ledger, "stopped")
    ledger.workers.end_of_process(NOW + 4, INTERRUPTED)
    assert _interrupted(ledger, ["stopped"]) == {"stopped"}


def test_a_run_is_without_a_lease_when_its_newest_worker_beats_no_more(ledger: Ledger) -> None:
    late = NOW + LEASE_S + 1
    _worker(ledger, "silent")
    _worker(ledger, "beats", lease_until=late)
    ledger.workers.end(_worker(ledger, "between two"), NOW + 1, "finished")
    _worker(ledger, "went on")
    ledger.workers.end(_worker(ledger, "went on", NOW + 5), NOW + 6, "finished")
    assert ledger.runs.without_lease(MANY, NOW) == set()
    runs = ["silent", "beats", "between two", "went on", "none"]
    assert ledger.runs.without_lease(runs, late) == {"silent"}
    ledger.workers.bury_dead(late)
    assert ledger.runs.without_lease(runs, late) == {"silent"}


# -- endings ----------------------------------------------------------------------------------


def test_how_a_run_ended_is_noted_once(ledger: Ledger, second: Ledger) -> None:
    assert ledger.runs.note_ending("run-1", RunEnding.STUCK, "It stood still.", NOW)
    assert not second.runs.note_ending("run-1", RunEnding.FAILED, "It failed.", NOW + 9)
    assert ledger.runs.endings(0.0) == [EndedRun("run-1", RunEnding.STUCK, "It stood still.", NOW)]


def test_an_ending_that_was_withdrawn_can_be_noted_anew(ledger: Ledger) -> None:
    for run_id in ("run-1", "run-2"):
        ledger.runs.note_ending(run_id, RunEnding.STUCK, "It stood still.", NOW)
    ledger.runs.withdraw_ending("run-1")
    ledger.runs.withdraw_ending("run-3")
    assert ledger.runs.known_endings(["run-1", "run-2"]) == {"run-2"}
    assert ledger.runs.note_ending("run-1", RunEnding.FAILED, "It failed.", NOW)


def test_endings_are_told_from_a_time_on_oldest_first(ledger: Ledger) -> None:
    for number, ending in enumerate(RunEnding):
        ledger.runs.note_ending(f"run-{number}", ending, "", NOW + (3 * number) % 7)
    times = [one.at for one in ledger.runs.endings(NOW + 2)]
    assert times == [NOW + 2, NOW + 3, NOW + 4, NOW + 5, NOW + 6]
    assert {one.how for one in ledger.runs.endings(NOW)} == set(RunEnding)
    assert ledger.runs.known_endings(MANY) == {f"run-{n}" for n in range(len(RunEnding))}
    assert ledger.runs.known_endings(["other"]) == set()


def test_of_two_who_note_an_ending_at_once_one_is_the_first(ledger: Ledger, second: Ledger) -> None:
    for number in range(20):
        barrier = Barrier(2)
        first: list[bool] = []

        def note(
            own: Ledger,
            how: RunEnding,
            run_id: str = f"run-{number}",
            barrier: Barrier = barrier,
            first: list[bool] = first,
        ) -> None:
            barrier.wait()
            first.append(own.runs.note_ending(run_id, how, how.value, NOW))

        pairs = ((ledger, RunEnding.STUCK), (second, RunEnding.FAILED))
        threads = [Thread(target=note, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(first) == [False, True]
    assert all(one.how == one.reason for one in ledger.runs.endings(0.0))


# -- a run whose process was ended by us ------------------------------------------------------


def test_the_workers_of_a_run_that_was_ended_are_buried_whatever_their_lease(
    ledger: Ledger,
) -> None:
    add_list(ledger, "a", [f"d{number}.example" for number in range(4)])
    taken = {}
    for run_id in ("run-1", "run-2"):
        worker = _worker(ledger, run_id)
        tasks = ledger.work.claim(worker, PHASE, ["a-00001"], 2, NOW + 1, NOW)
        taken[run_id] = [task.domain for task in tasks]
    ledger.workers.beat(worker, NOW + LEASE_S, 0, 2)
    ledger.workers.bury("run-1", NOW + 1)
    ledger.workers.bury("run-1", NOW + 2)
    with ledger.database.read() as connection:
        deaths = dict(
            map(
                tuple,
                connection.execute(
                    select(work.c.domain, work.c.deaths).where(
                        work.c.phase == PHASE, work.c.claimed_by.is_(None)
                    )
                ),
            )
        )
        reasons = dict(
            map(tuple, connection.execute(select(workers.c.run_id, workers.c.end_reason)))
        )
    assert deaths == dict.fromkeys(taken["run-1"], 1)
    assert reasons == {"run-1": "died", "run-2": None}
    whats = [event["what"] for event in ledger.work.history(taken["run-1"][0])]
    assert whats == ["worker_died"]
