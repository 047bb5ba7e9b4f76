"""ui: Dagster's processes are started together, found where they were announced, and all gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from pipeline_assets.commands.opening import enter_sandbox_home
from resources.adapters.inbox import open_inbox
from resources.core.config import load_settings

from .conftest import COMMAND, Pipeline, environment

PROJECT = Path(__file__).parents[2]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _untracked() -> str:
    done = subprocess.run(
        ["git", "status", "--short", "--ignored", "--untracked-files=all"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    return "\n".join(
        line for line in done.stdout.splitlines() if ".tmp_dagster" in line or ".nux" in line
    )


def test_a_port_that_is_taken_is_refused_before_anything_starts(
    pipeline: Pipeline, home: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert port in pipeline("ui", "--port", port).sentence
    assert "--port" in pipeline("ui", "--port", "70000").sentence
    assert not home.exists()


def test_the_sandbox_takes_no_list_from_the_live_inbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))
    monkeypatch.setenv("PIPELINE_INBOX", str(tmp_path / "live"))
    enter_sandbox_home()
    assert open_inbox(load_settings()).shown == str(tmp_path / "sandbox" / "inbox")


def _lives(process: psutil.Process) -> bool:
    """Whether it has not ended; who has to collect an orphan's exit code is init, not we."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_ui_serves_until_it_is_ended_and_leaves_no_process_and_no_file_behind(
    tmp_path: Path, home: Path, number: signal.Signals
) -> None:
    port, elsewhere = _free_port(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = ["--sandbox"] if number is signal.SIGTERM else []
    before = _untracked()
    process = subprocess.Popen(
        [COMMAND, "ui", "--port", str(port), *options],
        cwd=elsewhere,
        env=environment(home, {"HOME": str(elsewhere)}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{port}"
        said = next(line for line in process.stdout if url in line)
        assert "Ctrl-C" in said
        with urllib.request.urlopen(f"{url}/server_info", timeout=20) as response:
            assert "dagster_version" in json.load(response)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3  # code server, webserver, daemon
        os.kill(process.pid, number)
        assert process.wait(timeout=20) == 0
        assert [each for each in family if _lives(each)] == []
    finally:
        process.kill()
        process.communicate()
    assert list(elsewhere.iterdir()) == []
    assert (home / "sandbox" / "ledger.db" if options else home / "ledger.db").exists()
    assert _untracked() == before
