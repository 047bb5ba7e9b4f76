"""Processes are ended only when it is certain which ones they are; these are real ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from resources.adapters.ledger.workers import (
    ProcessIdentity,
    current_process,
    is_process_gone,
    process_started,
)
from resources.adapters.processes import end_process

PATIENCE_S = 20.0
WAITS = "print('ready', flush=True); input()"
# A child, and a child of that one, which tells both ids; neither ends by itself.
HAS_CHILDREN = """
import subprocess, sys
code = '''
import os, signal, subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(os.getpid(), other.pid, flush=True)
signal.pause()
'''
child = subprocess.Popen([sys.executable, "-c", code])
input()
"""
IGNORES_ALL_BUT_KILL = f"""
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
{WAITS}
"""


@contextmanager
def _started(code: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that runs, and the first line that it said; killed afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate(timeout=30)


def _identity(pid: int) -> ProcessIdentity:
    me = current_process()
    return ProcessIdentity(me.host, me.boot_id, pid, process_started(pid))


def _lives(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def test_a_process_is_ended_and_waited_for() -> None:
    with _started(IGNORES_ALL_BUT_KILL) as (process, _):
        identity = _identity(process.pid)
        assert end_process(identity, PATIENCE_S)
        assert is_process_gone(identity)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_stopped_process_is_ended_too() -> None:
    with _started(WAITS) as (process, _):
        process.send_signal(signal.SIGSTOP)
        assert end_process(_identity(process.pid), PATIENCE_S)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_process_that_nobody_has_asked_for_counts_as_gone_at_once() -> None:
    """Its parent may hang itself, and then it stays a zombie."""
    with _started(WAITS) as (process, _):
        identity = _identity(process.pid)
        began = time.monotonic()
        assert end_process(identity, PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S / 2
        assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
        assert end_process(identity, PATIENCE_S)  # and again, for whoever asks later


@pytest.mark.parametrize("is_stopped", [False, True])
def test_its_children_and_theirs_end_with_it(is_stopped: bool) -> None:
    with _started(HAS_CHILDREN) as (process, said):
        family = [psutil.Process(int(pid)) for pid in said.split()]
        try:
            assert len(family) == 2
            if is_stopped:
                process.send_signal(signal.SIGSTOP)
            assert end_process(_identity(process.pid), PATIENCE_S)
            assert not any(map(_lives, family))
        finally:
            for member in filter(_lives, family):
                member.kill()


@pytest.mark.parametrize("later_s", [-1.0, 0.05, 1.0])
def test_a_later_process_with_the_same_id_is_left_alone(later_s: float) -> None:
    with _started(WAITS) as (process, _):
        identity = _identity(process.pid)
        earlier = replace(identity, process_started=identity.process_started + later_s)
        assert end_process(earlier, PATIENCE_S)  # the one that was meant is gone
        assert process.poll() is None
        assert not is_process_gone(identity)


def test_a_process_of_another_start_of_the_machine_is_gone() -> None:
    with _started(WAITS) as (process, _):
        assert end_process(replace(_identity(process.pid), boot_id="earlier"), PATIENCE_S)
        assert process.poll() is None


def test_a_process_of_another_machine_is_left_alone_and_nothing_is_known_of_it() -> None:
    with _started(WAITS) as (process, _):
        assert not end_process(replace(_identity(process.pid), host="another-host"), PATIENCE_S)
        assert process.poll() is None


def test_a_process_that_does_not_exist_is_gone() -> None:
    with _started(WAITS) as (process, _):
        identity = _identity(process.pid)
    assert end_process(identity, PATIENCE_S)


def test_a_process_does_not_end_itself() -> None:
    assert not end_process(current_process(), PATIENCE_S)
