"""The real webserver, daemon and code server, and the GraphQL that the browser speaks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

from tests.support.processes import environment
from tests.support.requirements import ROOT

LAUNCH = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
STATUS = """
query($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } }
  }
}
"""


class Web:
    """The webserver's GraphQL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, variables: Mapping[str, Any]) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(f"{self.url}/graphql", body, headers), timeout=60) as answer:
            reply = json.load(answer)
        assert "errors" not in reply, reply["errors"]
        return reply["data"]

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch a backfill as the browser does. Returns its id."""
        params = {
            "assetSelection": [{"path": [asset]} for asset in assets],
            "partitionNames": list(partitions),
        }
        found = self.ask(LAUNCH, {"params": params})["launchPartitionBackfill"]
        assert found["__typename"] == "LaunchBackfillSuccess", found
        return str(found["backfillId"])

    def wait_for(self, backfill: str, timeout_s: float = 400) -> str:
        """Wait until a backfill has ended. Returns its status."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = self.ask(STATUS, {"id": backfill})["partitionBackfillOrError"]
            if found["status"] not in {"REQUESTED", "CANCELING", "FAILING"}:
                return str(found["status"])
            time.sleep(1)
        raise AssertionError(f"backfill {backfill} has not ended")


@contextmanager
def dagster_servers(home: Path, **settings: str) -> Iterator[Web]:
    """Webserver, daemon and code server on a free port; all of them are gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (home / "servers.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster", "dev"]
        + ["-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment(home, DAGSTER_HOME=str(ROOT), **settings),
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        web = Web(f"http://127.0.0.1:{port}")
        _wait_until_ready(web, process, Path(log.name))
        yield web
    finally:
        _end(process)
        log.close()


def _wait_until_ready(web: Web, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"{web.url}/server_info", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(log.read_text())


def _end(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
