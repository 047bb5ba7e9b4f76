"""The family of servers that `pipeline ui` starts: started, looked at, and killed part by part.

Who belongs to it is known by the PIPELINE_HOME in a process's own environment, which every member
inherits and which is ours alone: also orphans are found. Everything is signalled by pid.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from urllib.request import urlopen

import psutil

from tests.campaigns.healing_dagster import Dagster
from tests.campaigns.healing_waits import until
from tests.support.processes import PIPELINE, environment
from tests.support.requirements import ROOT

START_S = 120.0
_END_S = 20.0
_MOST_SAID = 3_000


class Part(StrEnum):
    """What a process of the family does."""

    SUPERVISOR = "supervisor"
    WEBSERVER = "webserver"
    DAEMON = "daemon"
    CODE_SERVER = "code server"
    WORKER = "worker"
    OTHER = "other"


class Servers:
    """Webserver, daemon and code server of one home.

    Args:
        log: File that takes what they say.
        settings: PIPELINE_ variables that they get.
        workspace: Definitions to load instead of the product's; `dagster dev` then starts them,
            since `pipeline ui` has no such option and needs none.
    """

    def __init__(
        self, home: Path, log: Path, settings: Mapping[str, str], workspace: Path | None = None
    ) -> None:
        self.home = home
        self.log = log
        self.settings = dict(settings)
        self._workspace = workspace
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.dagster = Dagster(f"http://127.0.0.1:{self.port}")
        self._root: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all of them, and wait until they answer and the definitions are loaded."""
        assert not self.members(), "the last ones still run"
        with self.log.open("ab") as said:
            self._root = subprocess.Popen(
                self._command(),
                stdout=said,
                stderr=said,
                env=environment(self.home, **self._variables()),
                cwd=self.home.parent,
                start_new_session=True,
            )
        try:
            until(self._answers, START_S, "the webserver answers")
            until(self.dagster.is_loaded, START_S, "the definitions are loaded")
            until(lambda: self.part(Part.DAEMON), START_S, "the daemon is there")
        except AssertionError as error:
            said_last = self.log.read_text(errors="replace")[-_MOST_SAID:]
            raise AssertionError(f"the servers do not start: {error}\n{said_last}") from error

    def _command(self) -> list[str]:
        if self._workspace is None:
            return [str(PIPELINE), "ui", "--port", str(self.port)]
        where = ["-w", str(self._workspace), "-h", "127.0.0.1", "-p", str(self.port)]
        return [sys.executable, "-m", "dagster", "dev", *where, "--log-level", "warning"]

    def _variables(self) -> dict[str, str]:
        if self._workspace is None:
            return self.settings
        return {**self.settings, "DAGSTER_HOME": str(ROOT), "DAGSTER_DISABLE_TELEMETRY": "1"}

    def _answers(self) -> bool:
        assert self._root is not None
        if self._root.poll() is not None:
            raise AssertionError(f"they have ended with {self._root.returncode}")
        with urlopen(f"{self.dagster.url}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)

    def members(self) -> dict[Part, list[psutil.Process]]:
        """All living processes of the family by what they do."""
        found: dict[Part, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get("PIPELINE_HOME") == str(self.home):
                    found.setdefault(_part_of(process.cmdline()), []).append(process)
        return found

    def part(self, part: Part) -> list[psutil.Process]:
        """The living processes that do one thing."""
        return self.members().get(part, [])

    def process(self, pid: int) -> psutil.Process:
        """A living member by its pid, as the ledger names it; never somebody else.

        Raises:
            psutil.NoSuchProcess: it is none, or has ended.
        """
        process = psutil.Process(pid)
        if process.environ().get("PIPELINE_HOME") != str(self.home):
            raise psutil.NoSuchProcess(pid)
        return process

    def kill(self, *parts: Part) -> list[int]:
        """SIGKILL to all processes of these parts at once. Returns their pids."""
        members = self.members()
        victims = [process for part in parts for process in members.get(part, [])]
        _kill(victims)
        return [victim.pid for victim in victims]

    def kill_all(self) -> None:
        """SIGKILL to everything, the supervisor first, as a container's end does it."""
        for _ in range(20):
            members = self.members()
            if not members:
                break
            first = members.pop(Part.SUPERVISOR, [])
            _kill([*first, *(each for processes in members.values() for each in processes)])
        self._collect()
        assert not self.members(), "something of the servers is still there"

    def end(self) -> None:
        """End them in order where they can, and by force what is left."""
        if self._root is not None and self._root.poll() is None:
            # Who was stopped cannot end in order.
            for process in (each for many in self.members().values() for each in many):
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
            self._root.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._root.wait(_END_S)
        self.kill_all()

    def _collect(self) -> None:
        if self._root is not None:
            # Does nothing where it has ended: its pid may be somebody else's by now.
            self._root.kill()
            self._root.wait(30)

    def replaced(self, part: Part, gone: list[int], within_s: float) -> psutil.Process:
        """Wait until somebody else does what the killed ones did. Returns the newest."""

        def find() -> psutil.Process | None:
            new = [process for process in self.part(part) if process.pid not in gone]
            return max(new, key=psutil.Process.create_time, default=None)

        return until(find, within_s, f"a new {part}")


def _part_of(command: list[str]) -> Part:
    words = set(command)
    if words & {"dagster_webserver", "dagster-webserver"}:
        return Part.WEBSERVER
    if words & {"dagster._daemon", "dagster-daemon"}:
        return Part.DAEMON
    if "code-server" in words or {"api", "grpc"} <= words:
        return Part.CODE_SERVER
    if any("multiprocessing" in word for word in command):
        return Part.WORKER
    if "ui" in words or "dev" in words:
        return Part.SUPERVISOR
    return Part.OTHER


def _kill(victims: list[psutil.Process]) -> None:
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=10)
