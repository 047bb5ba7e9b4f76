"""Starts the sandbox as a process of its own, and points the public settings at one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from resources.core.config import PROJECT_ROOT
from resources.core.errors import UsageError

_READY = "sandbox listening on "
_KEY = "sandbox-key"


@contextmanager
def sandbox_server(arguments: Sequence[str]) -> Iterator[str]:
    """A running sandbox on a free port; its URL. It ends with this process, whatever happens.

    Raises:
        UsageError: it did not start; says what it said.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", "--exit-with-parent", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
        # Ctrl-C is for the run, which ends the sandbox when nothing needs it any more.
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        if not line.startswith(_READY):
            raise UsageError(f"The sandbox did not start: {process.stderr.read().strip()}")
        yield line.removeprefix(_READY).strip()
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def point_settings_at(url: str) -> None:
    """Let everything speak to a sandbox, by nothing but the public settings.

    Raises:
        UsageError: the URL is none.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise UsageError(f"--sandbox-url {url!r} is not of the form http://127.0.0.1:8900.")
    os.environ["PIPELINE_FETCH__CONNECT_TO"] = f"{parts.hostname}:{parts.port}"
    os.environ["PIPELINE_FETCH__ALLOW_NETWORKS"] = "127.0.0.0/8"
    os.environ.setdefault("PIPELINE_PROVIDERS__PDL__API_KEY", _KEY)
