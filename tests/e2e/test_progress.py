"""Progress of a real run: on a terminal of its own as one line that moves, without one as lines."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import PIPELINE, Sandbox, environment, sandbox, write_list

COLUMNS = 100
DOMAINS = [f"company-{number:02}.example" for number in range(12)]
# Long enough for a look at it each second.
SLOW = '[[fault]]\napi = "site"\nkind = "latency"\nseconds = 1.5\n'
SETTINGS = {"PIPELINE_BATCH_SIZE": "6", "PIPELINE_FETCH__CONCURRENCY": "6"}
SENTENCE = re.compile(r"Processing batch ([12])/2 \(6 domains\): list-0000\1")
COUNTS = re.compile(r"(\d+)/12 domains, \d+(\.\d)?/s")


@pytest.fixture(scope="module")
def internet() -> Iterator[Sandbox]:
    with sandbox() as running:
        running.set_faults(SLOW)
        yield running


def _arguments(folder: Path, internet: Sandbox) -> list[str]:
    source = write_list(folder / "list.csv", DOMAINS)
    only = ["--only", "PAGE_SCRAPING"]
    return [str(PIPELINE), "run", str(source), "--sandbox-url", internet.url, *only]


def _read_all(master: int) -> str:
    """What a process wrote to its terminal until it ended."""
    parts = []
    while True:
        try:
            part = os.read(master, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:  # Linux: the other end is closed
                raise
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()


def test_on_a_terminal_one_line_moves_and_never_wraps(tmp_path: Path, internet: Sandbox) -> None:
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    try:
        process = subprocess.Popen(
            _arguments(tmp_path, internet),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            env=environment(tmp_path / "home", **SETTINGS),
        )
        os.close(terminal)
        shown = _read_all(master)
        assert process.wait(timeout=60) == 0, shown
    finally:
        os.close(master)
    frames = shown.split("\r\x1b[K")
    moving = [frame for frame in frames if "█" in frame or "░" in frame]
    assert any(SENTENCE.search(frame) for frame in moving), shown
    assert all(COUNTS.search(frame) for frame in moving), shown
    assert all(len(frame) < COLUMNS for frame in moving)
    assert not any("\n" in frame for frame in moving)
    done = [int(found[1]) for frame in moving if (found := COUNTS.search(frame))]
    assert done == sorted(done)
    assert any(" left, Processing" in frame for frame in moving), shown
    # At the end nothing of it stays behind.
    assert not {"█", "░"} & set(frames[-1])


def test_without_a_terminal_lines_tell_what_is_worked_on(tmp_path: Path, internet: Sandbox) -> None:
    done = subprocess.run(
        _arguments(tmp_path, internet),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(tmp_path / "home", **SETTINGS),
        check=False,
    )
    assert done.returncode == 0, done.err
    lines = [line for line in done.stderr.splitlines() if "Processing batch" in line]
    assert lines, done.stderr
    assert all(line.startswith("PAGE_SCRAPING: ") and COUNTS.search(line) for line in lines)
    assert SENTENCE.search(lines[0])
    assert not {"\x1b", "\r", "█", "░"} & set(done.stderr)
