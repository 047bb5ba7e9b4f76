"""The supervisor, with real processes that do very little."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline_assets.commands.supervisor import Server, Supervisor

PATIENCE_S = 30.0
# Its looks are five seconds apart; nobody wants to wait for that.
FASTER = 20.0
SLEEP = "import time; time.sleep(1000)"
CHILDREN = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-S", "-c", {middle!r}])
time.sleep(1000)
"""
# A child of a child that outlives it.
MIDDLE = (
    "import subprocess, sys; "
    "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(1000)'])"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(1000)"


class Stage:
    """A supervisor, what it said, and which of its servers answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.said: list[str] = []
        self.answers: dict[str, bool | None] = {}
        self.looks: Counter[str] = Counter()
        self.supervisor: Supervisor | None = None

    def begin(self, **programs: str) -> Supervisor:
        self.supervisor = Supervisor(
            [self._server(name, program) for name, program in programs.items()],
            self._folder,
            {**os.environ, "STAGE": str(self._folder)},
            self.said.append,
            lambda: time.monotonic() * FASTER,
        )
        return self.supervisor

    def _server(self, name: str, program: str) -> Server:
        return Server(
            name,
            [sys.executable, "-S", "-c", program],
            lambda _: self._look(name),
            most_missed=3,
            needs="first" if name != "first" else None,
        )

    def _look(self, name: str) -> bool | None:
        self.looks[name] += 1
        return self.answers.get(name, True)

    def processes(self) -> list[psutil.Process]:
        """All that live and belong to it, whoever their parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                is_zombie = process.status() == psutil.STATUS_ZOMBIE
                if not is_zombie and process.environ().get("STAGE") == str(self._folder):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def until(self, is_so: Callable[[], object]) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < give_up_at, self.said
            if self.supervisor is not None:
                self.supervisor.tend()
            time.sleep(0.02)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    one = Stage(tmp_path)
    yield one
    if one.supervisor is not None:
        one.supervisor.end()
    assert one.processes() == []


def test_what_is_killed_is_started_again_and_that_is_said(stage: Stage) -> None:
    supervisor = stage.begin(first=SLEEP)
    stage.until(lambda: supervisor.has_answered("first"))
    (process,) = stage.processes()
    process.kill()
    stage.until(lambda: "The first is back." in stage.said)
    (again,) = stage.processes()
    assert again.pid != process.pid
    assert stage.said[0].startswith("The first ended (by signal 9); it is started again")


def test_what_ends_at_once_is_started_again_with_longer_and_longer_pauses(stage: Stage) -> None:
    stage.answers["first"] = False
    stage.begin(first="raise SystemExit(3)")
    stage.until(lambda: len(stage.said) >= 5)
    assert [sentence.rpartition("again ")[2] for sentence in stage.said[:5]] == [
        "in 1 s.",
        "in 2 s.",
        "in 4 s.",
        "in 8 s.",
        "in 16 s.",
    ]
    assert "exit code 3" in stage.said[0]


def test_what_needs_another_waits_until_that_answers(stage: Stage) -> None:
    stage.answers["first"] = False
    supervisor = stage.begin(first=SLEEP, second=SLEEP)
    stage.until(lambda: len(stage.processes()) == 1)
    for _ in range(20):
        supervisor.tend()
    assert len(stage.processes()) == 1
    stage.answers["first"] = True
    stage.until(lambda: supervisor.has_answered("second"))
    assert len(stage.processes()) == 2


def test_what_does_not_answer_any_more_is_ended_and_started_again(stage: Stage) -> None:
    supervisor = stage.begin(first=SLEEP)
    stage.until(lambda: supervisor.has_answered("first"))
    (frozen,) = stage.processes()
    frozen.send_signal(signal.SIGSTOP)
    stage.answers["first"] = False
    stage.until(lambda: not frozen.is_running() or frozen.status() == psutil.STATUS_ZOMBIE)
    stage.answers["first"] = True
    stage.until(lambda: "The first is back." in stage.said)
    assert stage.said[0] == "The first does not answer any more; it is ended."


def test_what_cannot_be_told_about_is_left_alone(stage: Stage) -> None:
    supervisor = stage.begin(first=SLEEP)
    stage.until(lambda: supervisor.has_answered("first"))
    stage.answers["first"] = None
    before = stage.looks["first"]
    stage.until(lambda: stage.looks["first"] > before + 6)
    assert stage.said == []
    assert len(stage.processes()) == 1


@pytest.mark.parametrize(
    "program", [CHILDREN.format(middle=MIDDLE), STUBBORN], ids=["orphan", "stubborn"]
)
def test_nothing_is_left_of_them_at_the_end(stage: Stage, program: str) -> None:
    supervisor = stage.begin(first=program)
    count = 2 if program != STUBBORN else 1
    stage.until(lambda: len(stage.processes()) == count and supervisor.has_answered("first"))
    supervisor.end()
    assert stage.processes() == []


def test_what_a_killed_one_had_started_goes_on_and_ends_with_the_others(stage: Stage) -> None:
    supervisor = stage.begin(first=CHILDREN.format(middle=SLEEP))
    stage.until(lambda: len(stage.processes()) == 2)
    oldest = min(stage.processes(), key=psutil.Process.create_time)
    oldest.kill()
    stage.until(lambda: len(stage.processes()) == 3)
    supervisor.end()
    assert stage.processes() == []


def test_a_look_that_fails_ends_neither_the_looks_nor_anything_else(stage: Stage) -> None:
    supervisor = stage.begin(first=SLEEP)
    stage.until(lambda: supervisor.has_answered("first"))

    def look(name: str) -> bool | None:
        stage.looks[name] += 1
        raise ZeroDivisionError("a bug")

    stage._look = look  # type: ignore[method-assign]
    before = stage.looks["first"]
    stage.until(lambda: stage.looks["first"] >= before + 3)
    assert [one for one in stage.said if "ZeroDivisionError: a bug" in one] == stage.said
    assert len(stage.said) == 1


def test_what_cannot_be_started_is_tried_again(stage: Stage, tmp_path: Path) -> None:
    place = tmp_path / "not there yet"
    stage._folder = place
    supervisor = stage.begin(first=SLEEP)
    stage.until(lambda: len(stage.said) >= 2)
    assert "The first could not be started" in stage.said[0]
    place.mkdir()
    stage.until(lambda: supervisor.has_answered("first"))
    assert "The first is back." in stage.said
