"""Starts real sandboxes as processes of their own and talks to them over loopback."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^sandbox listening on http://127\.0\.0\.1:(\d+)\n$")


@dataclass
class Reply:
    """What came back for one request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Sandbox:
    """One running sandbox and a keep-alive connection to it."""

    process: subprocess.Popen[str]
    port: int
    _connection: http.client.HTTPConnection | None = field(default=None)

    def ask(
        self,
        path: str,
        host: str | None = None,
        method: str = "GET",
        body: bytes | str | None = None,
        **headers: str,
    ) -> Reply:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Host"] = host or f"127.0.0.1:{self.port}"
        try:
            self._connection.request(method, path, body=body, headers=named)
            reply = self._connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        if reply.getheader("Connection") == "close":
            self._connection.close()
            self._connection = None
        return Reply(reply.status, reply.headers, content)

    def truth(self, domain: str) -> Any:
        return self.ask(f"/_sandbox/truth/{domain}").json()

    def calls(self, detail: str = "") -> Any:
        return self.ask(f"/_sandbox/calls{detail}").json()

    def faults(self, toml: str) -> Reply:
        return self.ask("/_sandbox/faults", method="POST", body=toml)

    def raw(self, request: bytes, timeout: float = 10) -> socket.socket:
        """Send bytes on a connection of their own and return it."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        connection.sendall(request)
        return connection

    def find(self, wanted: Callable[[Any], bool], most: int = 6000) -> Any:
        """Return the truth of the first made-up domain for which something holds."""
        for index in range(most):
            truth = self.truth(f"firm{index}.example")
            if wanted(truth):
                return truth
        raise AssertionError(f"no such company among {most}")


Start = Callable[..., Sandbox]


def start_process(*arguments: str) -> Sandbox:
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    match = _LINE.match(process.stdout.readline())
    if match is None:
        process.kill()
        raise AssertionError(process.communicate())
    return Sandbox(process, int(match.group(1)))


def end_process(sandbox: Sandbox) -> int:
    if sandbox.process.poll() is None:
        os.kill(sandbox.process.pid, signal.SIGTERM)
    try:
        return sandbox.process.wait(5)
    finally:
        sandbox.process.kill()
        sandbox.process.communicate()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start sandboxes that end with the test."""
    started: list[Sandbox] = []

    def one(*arguments: str) -> Sandbox:
        started.append(start_process(*arguments))
        return started[-1]

    yield one
    for sandbox in started:
        end_process(sandbox)


@pytest.fixture(scope="session")
def _shared() -> Iterator[Sandbox]:
    sandbox = start_process("--seed", "11")
    yield sandbox
    end_process(sandbox)


@pytest.fixture
def sandbox(_shared: Sandbox) -> Sandbox:
    """A sandbox shared by all tests, with no faults and its counters at zero."""
    _shared.ask("/_sandbox/reset", method="POST")
    _shared.faults("")
    return _shared


@pytest.fixture
def real_data() -> Path:
    """The folder of real data beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data (../shared/data beside the repository) is not on this machine")
    return folder


def wait_until(is_done: Callable[[], bool], limit_s: float = 5) -> bool:
    """Ask until something holds, True if it did within the limit."""
    end = time.monotonic() + limit_s
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    return wait_until
