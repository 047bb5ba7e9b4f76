"""Starts the real command line and the real sandbox, and cleans them up by pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.support.requirements import ROOT

PIPELINE = Path(sys.executable).parent / "pipeline"
READY = "sandbox listening on "


def environment(home: Path, **settings: str) -> dict[str, str]:
    """A clean environment: no settings but these."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("PIPELINE_", "DAGSTER_"))}
    return {**base, "PIPELINE_HOME": str(home), **settings}


@dataclass(frozen=True)
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON object on the last line of stdout."""
        return json.loads(self.out.strip().splitlines()[-1])


def pipeline(*arguments: str, home: Path, timeout: float = 240, **settings: str) -> Result:
    """Run the command to its end."""
    done = subprocess.run(
        [str(PIPELINE), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(home, **settings),
        cwd=home.parent,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@contextmanager
def started_pipeline(
    *arguments: str, home: Path, **settings: str
) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a session of its own; whatever is left of it is killed at the end."""
    process = subprocess.Popen(
        [str(PIPELINE), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home, **settings),
        cwd=home.parent,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_session(process)


def kill_session(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and its group, and wait for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


class Sandbox:
    """A running sandbox and its counters."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def settings(self) -> dict[str, str]:
        """The public settings that let the product take it for the internet."""
        return {
            "PIPELINE_FETCH__CONNECT_TO": self.url.removeprefix("http://"),
            "PIPELINE_FETCH__ALLOW_NETWORKS": "127.0.0.0/8",
            "PIPELINE_PROVIDERS__PDL__API_KEY": "test-key-of-the-sandbox",
        }

    def calls(self) -> dict[str, Any]:
        """What was called so far."""
        return self._json("/_sandbox/calls")  # type: ignore[no-any-return]

    def truth(self, domain: str) -> dict[str, Any]:
        """All that is true about a company."""
        return self._json(f"/_sandbox/truth/{domain}")  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Zero the counters."""
        self._post("/_sandbox/reset", b"")

    def set_faults(self, text: str) -> None:
        """Replace the faults: TOML, or `preset=NAME`."""
        self._post("/_sandbox/faults", text.encode())

    def _json(self, path: str) -> Any:
        with urlopen(self.url + path, timeout=20) as answer:
            return json.load(answer)

    def _post(self, path: str, body: bytes) -> None:
        with urlopen(Request(self.url + path, data=body, method="POST"), timeout=20) as answer:
            answer.read()


@contextmanager
def sandbox(*arguments: str) -> Iterator[Sandbox]:
    """A sandbox on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", "--exit-with-parent", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("PIPELINE_")},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(READY), line + process.stdout.read()
        yield Sandbox(line.removeprefix(READY).strip())
    finally:
        process.terminate()
        process.wait(timeout=10)


def write_list(path: Path, domains: Mapping[str, tuple[str, str]] | list[str]) -> Path:
    """Write a list of domains, with names and countries where given."""
    if isinstance(domains, list):
        path.write_text("domain\n" + "\n".join(domains) + "\n", encoding="utf-8")
    else:
        rows = [f'{d},"{name}",{country}' for d, (name, country) in domains.items()]
        path.write_text("\n".join(["domain,company_name,country", *rows, ""]), encoding="utf-8")
    return path
