"""`--only PAGE_EXTRACTION`: what is kept is extracted again, and nobody is asked for anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.support.processes import pipeline, sandbox, write_list

DOMAINS = [f"company-{number:03}.example" for number in range(30)]


def _query(home: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(home / "sandbox" / "ledger.db") as ledger:
        return ledger.execute(query).fetchall()


RESULTS = """select domain, settled_at, revision from work where phase = 'PAGE_SCRAPING'
    and state = 'succeeded' order by domain"""


def test_pages_that_are_kept_are_extracted_again_without_any_fetch(tmp_path: Path) -> None:
    home = tmp_path / "home"
    source = write_list(tmp_path / "list.csv", DOMAINS)
    with sandbox() as internet:
        arguments = ("run", str(source), "--sandbox-url", internet.url, "--json")
        assert pipeline(*arguments, home=home).code == 0
        before = _query(home, RESULTS)
        pages = _query(home, "select url, fetched_at, body_hash from pages order by url")
        internet.reset()
        again = pipeline(*arguments, "--only", "page_extraction", home=home)
        assert again.code == 0, again.err
        counted = internet.calls()
    assert counted["pages"] == {}
    assert not any(counted["calls"].values())
    after = _query(home, RESULTS)
    assert len(after) > 20
    assert [row[0] for row in after] == [row[0] for row in before]
    assert all(new[1] > old[1] for old, new in zip(before, after, strict=True))
    assert all(new[2] == old[2] + 1 for old, new in zip(before, after, strict=True))
    assert _query(home, "select url, fetched_at, body_hash from pages order by url") == pages
    assert _query(home, "select count(*) from work where extract_only or refresh_asked") == [(0,)]


def test_what_is_no_phase_is_said_with_all_that_are(tmp_path: Path) -> None:
    source = write_list(tmp_path / "list.csv", DOMAINS)
    done = pipeline("run", str(source), "--only", "EXTRACTION", home=tmp_path / "home")
    assert done.code == 2
    assert "PAGE_EXTRACTION" in done.err
