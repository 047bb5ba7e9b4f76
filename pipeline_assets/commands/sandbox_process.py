"""Starts the sandbox as a process of its own, and points the public settings at one."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from resources.core.config import PROJECT_ROOT
from resources.core.errors import UsageError

if TYPE_CHECKING:
    from resources.ingest import ListContent

_READY = "sandbox listening on "
_KEY = "sandbox-key"
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
ANSWERS_WITHIN_S = 5.0


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


def list_for_sandbox(file: Path, content: ListContent, stack: ExitStack) -> Path:
    """A list in the form that the sandbox reads: itself if it is a text in UTF-8, else a copy."""
    form = content.form
    if form.encoding in ("utf-8", "utf-8-sig") and not form.is_packed:
        return file
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-sandbox-"))
    copy = Path(folder) / "companies.csv"
    with copy.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["domain", "company_name", "country"])
        writer.writerows(content.companies())
    return copy


def point_settings_at(url: str) -> None:
    """Let everything speak to a sandbox, by nothing but the public settings.

    Raises:
        UsageError: the URL is none, or no sandbox answers there; nothing was set.
    """
    host, port = _host_and_port(url)
    _check_that_it_answers(host, port)
    os.environ["PIPELINE_FETCH__CONNECT_TO"] = f"{host}:{port}"
    os.environ["PIPELINE_FETCH__ALLOW_NETWORKS"] = "127.0.0.0/8"
    os.environ.setdefault("PIPELINE_PROVIDERS__PDL__API_KEY", _KEY)


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # unbalanced brackets, or no such port
        host = port = None
    if not host or not port or parts.scheme != "http" or not _HOST.fullmatch(host):
        raise UsageError(f"--sandbox-url {url!r} is not of the form http://127.0.0.1:8900.")
    return (f"[{host}]" if ":" in host else host), port


def _check_that_it_answers(host: str, port: int) -> None:
    """Ask it something that changes nothing: a run against nobody would only wait."""
    # No proxy of the environment: the run does not use one either.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}/_sandbox/calls", timeout=ANSWERS_WITHIN_S):
            pass
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise UsageError(
            f"Nothing answers as a sandbox at http://{host}:{port} ({' '.join(words.split())}); "
            f"start one with `pipeline sandbox --port {port}`."
        ) from error
