"""`pipeline ui`: Dagster's webserver, daemon and code server, started and ended together.

All of them are descendants of one process, `dagster dev`, in a session of its own. Everything they
write lies in PIPELINE_HOME, whatever the current directory is.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import httpx
import psutil

from pipeline_assets.commands.opening import SANDBOX_FOLDER
from pipeline_assets.commands.sandbox_process import point_settings_at, sandbox_server
from resources.core.config import PROJECT_ROOT, Settings, load_settings
from resources.core.errors import UsageError
from resources.platform import Platform

HOST = "127.0.0.1"
# Together less than the 15 seconds that a service manager is promised.
GRACE_S = 8.0
TERMINATE_S = 3.0
KILL_S = 2.0
_POLL_S = 0.5
_START_S = 120.0
# `dg dev`, which Dagster recommends instead, is a package of its own that is not needed here.
_QUIET = ("-W", "ignore:Function `dev_command` is superseded")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ui(port: int, *, sandbox: bool) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns 0, or Dagster's own exit code if it ends by itself.

    Raises:
        UsageError: the port is taken, or the home can't be used; nothing was started.
    """
    _check_port(port)
    with ExitStack() as stack:
        stop = stack.enter_context(_stopped_by_signals())
        if sandbox:
            load_settings()
            point_settings_at(stack.enter_context(sandbox_server([])))
            os.environ["PIPELINE_HOME"] = str(load_settings().home / SANDBOX_FOLDER)
        settings = load_settings()
        Platform.open(settings).close()  # refuses a home that can't be used, before anything runs
        _set_homes(settings)
        print(f"Starting Dagster on {settings.home} ...", flush=True)
        family = stack.enter_context(_dagster(port, str(settings.home)))
        return _serve(family, port, stop)


def _set_homes(settings: Settings) -> None:
    from pipeline_assets.instance import set_homes  # imports Dagster, so only once all is well

    set_homes(settings)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"Port {port} on {HOST} cannot be used ({reason}); "
                "name another one with --port, such as --port 3001."
            ) from error


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that is set by the first signal to end; the old handlers are put back after."""
    stop = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, note) for number in _ENDING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Family:
    """A process and all of its descendants, also those whose parent has gone.

    They are known by process objects, which tell a process from a later one with the same id.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._root = psutil.Process(process.pid)
        self._known: set[psutil.Process] = {self._root}

    def look(self) -> None:
        """Note who belongs to it now."""
        for member in list(self._known):
            try:
                self._known.update(member.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
        # Orphans: their parent ended between two looks, but the session is ours alone.
        for each in psutil.process_iter():
            try:
                if os.getsid(each.pid) == self.process.pid:
                    self._known.add(each)
            except (ProcessLookupError, PermissionError):
                continue

    def living(self) -> list[psutil.Process]:
        """Members that have not ended."""
        self.process.poll()  # collects its exit code, so that it does not stay as a zombie
        return [each for each in self._known if _lives(each)]

    def end(self) -> None:
        """End all of them: first by request, then by force."""
        self.look()
        if _lives(self._root):
            self._root.send_signal(signal.SIGINT)
        self._wait(GRACE_S)
        for number, patience_s in ((signal.SIGTERM, TERMINATE_S), (signal.SIGKILL, KILL_S)):
            for each in self.living():
                try:
                    each.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
            self._wait(patience_s)

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


@contextmanager
def _dagster(port: int, home: str) -> Iterator[_Family]:
    arguments = ["-w", str(PROJECT_ROOT / "workspace.yaml"), "-h", HOST, "-p", str(port)]
    process = subprocess.Popen(
        [sys.executable, *_QUIET, "-m", "dagster", "dev", *arguments, "--log-level", "warning"],
        cwd=home,
        # Telemetry is off in dagster.yaml; this keeps its empty folders out of the project too.
        env={**os.environ, "DAGSTER_DISABLE_TELEMETRY": "1"},
        # Ctrl-C comes to us alone: we end the family in order.
        start_new_session=True,
    )
    family = _Family(process)
    try:
        yield family
    finally:
        family.end()


def _serve(family: _Family, port: int, stop: threading.Event) -> int:
    url = f"http://{HOST}:{port}"
    is_announced = False
    give_up_at = time.monotonic() + _START_S
    while not stop.wait(_POLL_S):
        family.look()
        code = family.process.poll()
        if code is not None:
            print(f"Dagster ended by itself with exit code {code}.", file=sys.stderr)
            return code or 1
        if not is_announced and _answers(url):
            is_announced = True
            print(f"Dagster is on {url} (Ctrl-C stops it, with all of its processes).", flush=True)
        if not is_announced and time.monotonic() > give_up_at:
            print(f"Dagster does not answer on {url}; it is ended.", file=sys.stderr)
            return 1
    print("Stopping ...", flush=True)
    return 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/server_info", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
