"""Dagster's three servers as `pipeline ui` runs them, and how each shows that it works.

The code server is one process of its own that the two others share; a browser and the daemon find
it again after it was restarted. `dagster dev` would do none of that (docs/adr/0007).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import grpc
from dagster import DagsterError, DagsterInstance
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.commands.supervisor import Server, Supervisor
from pipeline_assets.instance import open_instance
from resources.core.config import PROJECT_ROOT, Settings

WEBSERVER, DAEMON, CODE_SERVER = "webserver", "daemon", "code server"
# Sensors, launches of runs and what the browser asks for take a thread each, some of them long.
_CODE_SERVER_THREADS = "24"
_LOCATION = "pipeline"
_ANSWER_S = 2.0
# The daemon notes that it lives every 30 seconds.
_HEARTBEAT_S = 120.0
_CLOCK_S = 5.0
# Looks, five seconds apart.
_MOST_MISSED = 12
_ENVIRONMENT = {
    # Telemetry is off in dagster.yaml; this keeps its empty folders out of the project too.
    "DAGSTER_DISABLE_TELEMETRY": "1",
    # A code server that is being restarted: pages of stack traces, where a sentence of ours is.
    "PYTHONWARNINGS": "ignore:Error loading repository location",
}
# A tick that takes a long list in, or heals thousands of batches, needs more than a minute.
_UNLESS_SET = {"DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "300"}
_WORKSPACE = """\
load_from:
  - grpc_server:
      socket: "{socket}"
      location_name: {location}
"""


@contextmanager
def supervised(
    settings: Settings, host: str, port: int, say: Callable[[str], None]
) -> Iterator[Supervisor]:
    """The three of them, to be tended; ended with all of their processes afterwards.

    Args:
        say: Takes a sentence for a person: which one ended, and when it is started again.
    """
    # A short path: a socket's may have about a hundred characters. Nobody else may open it.
    with open_instance(settings) as instance, tempfile.TemporaryDirectory(prefix="pipe-") as folder:
        supervisor = Supervisor(
            _servers(Path(folder), host, port, instance),
            cwd=settings.home,
            environment={**_UNLESS_SET, **os.environ, **_ENVIRONMENT},
            say=say,
            clock=time.monotonic,
        )
        try:
            yield supervisor
        finally:
            supervisor.end()


def _servers(folder: Path, host: str, port: int, instance: DagsterInstance) -> list[Server]:
    socket, workspace = folder / "code.sock", folder / "workspace.yaml"
    workspace.write_text(_WORKSPACE.format(socket=socket, location=_LOCATION), encoding="utf-8")
    definitions = ["-m", "pipeline_assets.definitions", "--working-directory", str(PROJECT_ROOT)]
    shared = ["-w", str(workspace)]
    code_server = [
        *_dagster("dagster", "api", "grpc", "--socket", str(socket), *definitions),
        *("--location-name", _LOCATION, "--max-workers", _CODE_SERVER_THREADS),
        *("--log-level", "warning"),
    ]
    webserver = [
        *_dagster("dagster_webserver", "-h", host, "-p", str(port), *shared),
        *("--dagster-log-level", "warning"),
    ]
    daemon = _dagster("dagster._daemon", "run", *shared, "--log-level", "warning")
    url = f"http://{host}:{port}/server_info"
    return [
        Server(CODE_SERVER, code_server, lambda _: _serves(socket), _MOST_MISSED),
        Server(WEBSERVER, webserver, lambda _: _is_success(url), _MOST_MISSED, CODE_SERVER),
        Server(DAEMON, daemon, lambda age: _beats(instance, age), _MOST_MISSED, CODE_SERVER),
    ]


def _dagster(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _serves(socket: Path) -> bool:
    """Whether the code server answers the health check of its protocol."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        request = health_pb2.HealthCheckRequest(service="DagsterApi")
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_ANSWER_S)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _is_success(url: str) -> bool:
    try:
        # No proxy of the environment lies between this machine and itself.
        with build_opener(ProxyHandler({})).open(url, timeout=_ANSWER_S):
            return True
    except (OSError, HTTPException):
        return False


def _beats(instance: DagsterInstance, age_s: float) -> bool | None:
    """Whether the daemon has noted that it lives, since it was started and lately."""
    try:
        beats = instance.get_daemon_heartbeats().values()
    except (SQLAlchemyError, DagsterError, OSError):
        return None  # who cannot read cannot tell
    # A beat in the future is one of a clock that was put back since: it says nothing of now.
    now = time.time()
    return any(-_CLOCK_S <= now - beat.timestamp < min(age_s, _HEARTBEAT_S) for beat in beats)
