"""`pipeline ui` keeps its servers up: each is killed in turn, and is back by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.healing_servers import Part, Servers
from tests.campaigns.healing_waits import until

BACK_S = 45.0
RUN_S = 60.0
_SELECTOR = {
    "repositoryLocationName": "pipeline",
    "repositoryName": "__repository__",
    "pipelineName": "write_directory",
}
_LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
  }
}
"""
_BEATS = """
query { instance { daemonHealth { allDaemonStatuses { daemonType lastHeartbeatTime } } } }
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("ui")
    one = Servers(folder / "home", folder / "said.log", {})
    try:
        one.start()
        yield one
    finally:
        one.end()


def _can_launch_a_run(servers: Servers) -> str | None:
    params = {"selector": _SELECTOR, "mode": "default"}
    found = servers.dagster.ask(_LAUNCH, {"params": params})["launchPipelineExecution"]
    return found["run"]["runId"] if found["__typename"] == "LaunchRunSuccess" else None


def _beat_at(servers: Servers) -> float:
    health = servers.dagster.ask(_BEATS, {})["instance"]["daemonHealth"]
    beats = {one["daemonType"]: one["lastHeartbeatTime"] for one in health["allDaemonStatuses"]}
    return float(beats["SENSOR"] or 0.0)


@pytest.mark.parametrize(
    "killed",
    [(Part.WEBSERVER,), (Part.DAEMON,), (Part.CODE_SERVER,), tuple(Part)[1:5]],
    ids=["webserver", "daemon", "code-server", "all-but-the-supervisor"],
)
def test_what_is_killed_is_back_by_itself(servers: Servers, killed: tuple[Part, ...]) -> None:
    started = time.monotonic()
    killed_at = time.time()
    gone = servers.kill(*killed)
    assert gone
    for part in killed:
        if part is not Part.WORKER:
            servers.replaced(part, gone, BACK_S)
    until(servers.dagster.is_loaded, BACK_S, "the definitions are loaded")
    run_id = until(lambda: _can_launch_a_run(servers), BACK_S, "a run can be launched")
    if Part.DAEMON in killed:
        until(lambda: _beat_at(servers) > killed_at, BACK_S, "the daemon's beat is newer")
    until(
        lambda: servers.dagster.run(run_id).status == "SUCCESS", RUN_S, "the run has been executed"
    )
    print(f"{'+'.join(killed)}: back and a run done after {time.monotonic() - started:.1f} s")
    said = servers.log.read_text()
    for part in killed:
        if part is not Part.WORKER:
            assert f"The {part} ended (by signal 9); it is started again" in said
            until(lambda part=part: f"The {part} is back." in servers.log.read_text(), BACK_S, "")


def test_when_the_supervisor_is_killed_nothing_of_it_stays(tmp_path: Path) -> None:
    servers = Servers(tmp_path / "home", tmp_path / "said.log", {})
    try:
        servers.start()
        assert {Part.WEBSERVER, Part.DAEMON, Part.CODE_SERVER} <= servers.members().keys()
        servers.kill(Part.SUPERVISOR)
        until(lambda: not servers.members(), 20.0, "all of them have ended")
    finally:
        servers.end()
