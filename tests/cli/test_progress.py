"""The line that tells how far a worker is, and what `pipeline status` says of workers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.commands.progress import Reach
from resources.core.models import Phase
from tests.support.ledgers import open_at, sqlite_url

from .conftest import Pipeline

DOING = "Processing batch 3/12 (50 domains): companies-00003"


def test_the_line_tells_counts_rate_time_left_and_the_batch() -> None:
    line = Reach("PAGE_SCRAPING", 120, 600, DOING, 10.0).bar_line(140)
    assert line.endswith(f" 120/600 domains, 12/s, 40 s left, {DOING}")
    assert line.count("█") == 4
    assert line.count("░") == 20


def test_a_slow_rate_is_not_shown_as_none() -> None:
    words = Reach("PAGE_SCRAPING", 3, 600, DOING, 60.0).words
    assert "0.1/s" in words
    assert "199 min left" not in words  # in hours from two on
    assert "3 h left" in words


@pytest.mark.parametrize("done", [0, 600])
def test_there_is_no_time_left_to_tell_before_the_first_and_after_the_last(done: int) -> None:
    assert "left" not in Reach("PAGE_SCRAPING", done, 600, DOING, 10.0).words


def test_until_a_batch_is_known_the_line_names_the_phase() -> None:
    assert Reach("PAGE_SCRAPING", 0, 600, None, 0.0).bar_line(100).endswith(", PAGE_SCRAPING")


def test_a_narrow_terminal_shortens_the_bar_first_and_then_the_key_of_the_batch() -> None:
    line = Reach("PAGE_SCRAPING", 120, 600, DOING, 10.0).bar_line(90)
    assert line.startswith("  █░░░░░ 120/600")
    assert "Processing batch 3/12 (50 domains)" in line
    assert line.endswith("…")


def test_what_could_move_the_cursor_is_not_shown() -> None:
    reach = Reach("PAGE_SCRAPING", 1, 2, "a\x1b[2Jb\nc", 1.0)
    assert not {"\x1b", "\n"} & set(reach.bar_line(200) + reach.words)


@given(
    done=st.integers(0, 10**7),
    total=st.integers(1, 10**7),
    spent_s=st.floats(0, 1e6),
    key=st.text(max_size=80),
    width=st.integers(2, 300),
)
def test_the_line_never_fills_a_terminal_whatever_its_width(
    done: int, total: int, spent_s: float, key: str, width: int
) -> None:
    line = Reach("COMPANY_ENRICHMENT", done, total, f"Processing {key}", spent_s).bar_line(width)
    assert len(line) < width


def test_status_tells_what_a_living_worker_does(pipeline: Pipeline, home: Path) -> None:
    listed = home.parent / "companies.txt"
    listed.write_text("acme.example\n")
    state = home / "sandbox"
    pipeline("run", listed, "--sandbox", "--only", "PROFILE_BUILD")
    ledger = open_at(sqlite_url(state))
    try:
        now = time.time()
        worker = ledger.workers.begin(Phase.PAGE_SCRAPING, "run", now - 10)
        ledger.workers.beat(worker, now, 120, 600, DOING)
        shown = pipeline("status", "--sandbox")
        told = pipeline("status", "--sandbox", "--json").json
        ledger.workers.end(worker, now, "finished")
        after = pipeline("status", "--sandbox", "--json").json
    finally:
        ledger.close()
    assert f"PAGE_SCRAPING: 120/600 domains, 12/s, 40 s left, {DOING}; last beat" in shown.out
    (row,) = told["workers"]
    assert (row["done"], row["total"], row["doing"]) == (120, 600, DOING)
    assert after["workers"] == []
