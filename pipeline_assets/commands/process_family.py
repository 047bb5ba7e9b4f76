"""A family of processes: all descendants of those that it started, also whose parent has gone.

They are known by process objects, which tell a process from a later one with the same id, and by
their session: each one that is started gets one of its own, which its descendants inherit. What
the members are for, and when one is started again, is not in here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

# Together less than the 15 seconds that a service manager is promised.
GRACE_S = 8.0
TERMINATE_S = 3.0
KILL_S = 2.0
_LAUNCHER = Path(__file__).with_name("with_parent.py")


class Family:
    """Processes that are ended together."""

    def __init__(self) -> None:
        self._roots: dict[int, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()
        self._known: set[psutil.Process] = set()

    def start(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a member, which gets a session of its own and does not outlive this process.

        Call it from a thread that lives as long as the family: the member ends with the thread.
        """
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command],
            cwd=cwd,
            env=dict(environment),
            # Ctrl-C comes to us alone: we end the family in order.
            start_new_session=True,
        )
        self._roots[process.pid] = process
        self._sessions.add(process.pid)
        self._known.add(psutil.Process(process.pid))
        return process

    def look(self) -> None:
        """Note who belongs to it now."""
        living = set(self.living())
        for gone in self._known - living:
            self._collect(gone.pid)
        found = set(living)
        for member in living:
            try:
                found.update(member.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
        # Orphans: their parent ended between two looks, but these sessions are ours alone.
        sessions: set[int] = set()
        for each in psutil.process_iter():
            try:
                session = os.getsid(each.pid)
            except (ProcessLookupError, PermissionError):
                continue
            if session in self._sessions:
                found.add(each)
                sessions.add(session)
        self._known = found
        # The number of a session that nobody is in any more may become somebody else's.
        self._sessions = sessions | self._roots.keys()

    def living(self) -> list[psutil.Process]:
        """Members that have not ended."""
        for pid, process in list(self._roots.items()):
            # Collects its exit code, so that it does not stay as a zombie.
            if process.poll() is not None:
                del self._roots[pid]
        return [each for each in self._known if _lives(each)]

    def end(self) -> None:
        """End all of them: first by request, then by force."""
        self.look()
        # What works for a server is asked first: the server would wait until it has finished.
        self._signal(self._workers(), signal.SIGTERM)
        self._signal(self._of_roots(), signal.SIGINT)
        self._wait(GRACE_S)
        for number, patience_s in ((signal.SIGTERM, TERMINATE_S), (signal.SIGKILL, KILL_S)):
            self._signal(self.living(), number)
            self._wait(patience_s)

    def _collect(self, pid: int) -> None:
        """Where we are the first process of a container, orphans are ours to bury."""
        if pid not in self._roots:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _of_roots(self) -> list[psutil.Process]:
        return [each for each in self.living() if each.pid in self._roots]

    def _workers(self) -> list[psutil.Process]:
        """Those that a root has started, or one that is gone; not what they started themselves."""
        living = self.living()
        within = {each.pid for each in living} - self._roots.keys()
        found = []
        for each in living:
            try:
                if each.pid in within and each.ppid() not in within:
                    found.append(each)
            except psutil.NoSuchProcess:
                continue
        return found

    @staticmethod
    def _signal(members: Iterable[psutil.Process], number: int) -> None:
        for each in members:
            try:
                each.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _wait(self, patience_s: float) -> None:
        give_up_at = time.monotonic() + patience_s
        while time.monotonic() < give_up_at:
            self.look()
            if not self.living():
                return
            time.sleep(0.1)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
