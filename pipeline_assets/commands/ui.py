"""`pipeline ui`: Dagster's webserver, daemon and code server, started, kept up and ended together.

Each that ends, or stands still, is started again by itself (`supervisor`); which they are is in
`dagster_servers`. The same process watches the sensors (`watchman`): somebody has to tell when the
daemon does not. Everything they write lies in PIPELINE_HOME, whatever the current directory is.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from pipeline_assets.commands.opening import enter_sandbox_home
from pipeline_assets.commands.sandbox_process import point_settings_at, sandbox_server
from resources.core.config import Settings, load_settings
from resources.core.errors import UsageError
from resources.platform import Platform

HOST = "127.0.0.1"
_TEND_S = 0.5
_START_S = 120.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ui(port: int, *, sandbox: bool) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns 0, or 1 if Dagster does not come up.

    Raises:
        UsageError: the port is taken, or the home can't be used; nothing was started.
    """
    _check_port(port)
    with ExitStack() as stack:
        stop = stack.enter_context(_stopped_by_signals())
        if sandbox:
            load_settings()
            point_settings_at(stack.enter_context(sandbox_server([])))
            enter_sandbox_home()
        settings = load_settings()
        Platform.open(settings).close()  # refuses a home that can't be used, before anything runs
        print(f"Starting Dagster on {settings.home} ...", flush=True)
        return _serve(settings, port, stop)


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


def _serve(settings: Settings, port: int, stop: threading.Event) -> int:
    # Both import Dagster, so only once all is well.
    from pipeline_assets.commands.dagster_servers import WEBSERVER, supervised
    from pipeline_assets.commands.watchman import watching

    url = f"http://{HOST}:{port}"
    give_up_at = time.monotonic() + _START_S
    is_announced = False
    with supervised(settings, HOST, port, _warn) as servers, watching(settings, _warn):
        while not stop.wait(_TEND_S):
            servers.tend()
            if is_announced:
                continue
            if servers.has_answered(WEBSERVER):
                is_announced = True
                words = "Ctrl-C stops it, with all of its processes"
                print(f"Dagster is on {url} ({words}).", flush=True)
            elif time.monotonic() > give_up_at:
                _warn(f"Dagster does not answer on {url}; it is ended.")
                return 1
        print("Stopping ...", flush=True)
    return 0


def _warn(sentence: str) -> None:
    print(f"pipeline: {sentence}", file=sys.stderr, flush=True)
