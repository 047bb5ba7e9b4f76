"""SIGKILL in the middle of a run, twice: the next run settles the rest and buys nothing twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from tests.support.dagster_view import partitions, statuses
from tests.support.processes import Sandbox, pipeline, sandbox, started_pipeline, write_list

DOMAINS = [f"company-{number:03}.example" for number in range(200)]


def _settled(home: Path, phase: str) -> int:
    path = home / "sandbox" / "ledger.db"
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as ledger:
            query = "select count(*) from work where phase=? and state not in ('pending','waiting')"
            return int(ledger.execute(query, (phase,)).fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the schema is being made


def in_doubt(home: Path) -> int:
    """Domains of paid calls whose answer has not been stored."""
    with sqlite3.connect(home / "sandbox" / "ledger.db") as ledger:
        query = """select coalesce(sum(domains), 0) from calls
                   where provider = 'pdl' and answered_at is null"""
        return int(ledger.execute(query).fetchone()[0])


def wait_until_settled(process: subprocess.Popen[str], home: Path, phase: str, count: int) -> None:
    """Return as soon as so many domains of a phase are settled."""
    deadline = time.monotonic() + 120
    while _settled(home, phase) < count:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it did not get that far"
        time.sleep(0.01)


def _run(internet: Sandbox, source: Path) -> tuple[str, ...]:
    return ("run", str(source), "--sandbox-url", internet.url, "--json")


def test_two_kills_lose_nothing_and_buy_nothing_twice(tmp_path: Path) -> None:
    source = write_list(tmp_path / "list.csv", DOMAINS)
    home = tmp_path / "home"
    with sandbox() as internet:
        lost = 0
        for phase, count in (("COMPANY_ENRICHMENT", 40), ("PAGE_SCRAPING", 60)):
            with started_pipeline(*_run(internet, source), home=home) as process:
                wait_until_settled(process, home, phase, count)
                os.kill(process.pid, signal.SIGKILL)
                process.wait(timeout=30)
            lost += in_doubt(home)
        stored = _stored_pages(home)
        done = pipeline(*_run(internet, source), home=home)
        calls = internet.calls()
    assert done.code == 0, done.err
    for phase in done.json["phases"].values():
        assert phase["quarantined"] == phase["waiting"] == phase["pending"] == 0
    assert sum(calls["billed"]["pdl"].values()) <= len(DOMAINS) + lost
    state = home / "sandbox"
    for asset in ("enriched_companies", "scraped_pages", "company_profiles"):
        assert set(statuses(state, asset, partitions(state)).values()) == {"MATERIALIZED"}
    fetched_again = _fetched_at(home, stored)
    assert fetched_again == stored, "a page that was stored was fetched again"


def _stored_pages(home: Path) -> dict[tuple[str, str], float]:
    with sqlite3.connect(home / "sandbox" / "ledger.db") as ledger:
        rows = ledger.execute("select domain, url, fetched_at from pages").fetchall()
    return {(domain, url): at for domain, url, at in rows}


def _fetched_at(home: Path, pages: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    return {key: at for key, at in _stored_pages(home).items() if key in pages}
