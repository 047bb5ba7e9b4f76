"""SIGSTOP until another run has done everything, then SIGCONT: nothing is overwritten."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.e2e.test_kill import wait_until_settled
from tests.support.dagster_view import partitions, statuses
from tests.support.processes import pipeline, sandbox, started_pipeline, write_list

DOMAINS = [f"company-{number:03}.example" for number in range(100)]
# Late answers keep calls and pages in flight at the moment of the stop.
SLOW = '[[fault]]\nkind = "latency"\nseconds = [0.1, 0.4]\n'
LEASE_S = 3
# What a process says of itself and of nobody's work: that it drives a list, or works on a run.
OF_ITSELF = {"drivers", "run_processes"}
PHASES = {"COMPANY_ENRICHMENT": 30, "PAGE_SCRAPING": 30, "PROFILE_BUILD": 15}


def _rows(ledger: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but those in which processes tell of themselves."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        names = [
            name
            for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
            if name not in OF_ITSELF
        ]
        return {
            name: sorted(connection.execute(f'select * from "{name}"'), key=repr) for name in names
        }


def _changed(before: dict[str, list[tuple[object, ...]]], ledger: Path) -> dict[str, object]:
    after = _rows(ledger)
    return {
        name: (set(map(repr, before[name])) ^ set(map(repr, rows)))
        for name, rows in after.items()
        if rows != before[name]
    }


def _is_in_a_transaction(home: Path) -> bool:
    """Whether somebody holds a write lock of a database under the home."""
    for path in home.rglob("*.db"):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            connection.execute("begin immediate")
            connection.execute("rollback")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
    return False


def _stop(pid: int, home: Path) -> None:
    """Stop a process between two of its transactions: within one it would hold up everybody."""
    deadline = time.monotonic() + 30
    while True:
        os.kill(pid, signal.SIGSTOP)
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline
        if not _is_in_a_transaction(home):
            return
        assert time.monotonic() < deadline, "it is in a transaction all the time"
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)


def _wait_until_leases_have_run_out(ledger: Path) -> None:
    query = "select coalesce(max(lease_until), 0) from workers where ended_at is null"
    deadline = time.monotonic() + 5 * LEASE_S
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        while connection.execute(query).fetchone()[0] >= time.time():
            assert time.monotonic() < deadline, "somebody renews a lease"
            time.sleep(0.05)


@pytest.mark.parametrize("phase", PHASES)
def test_a_process_that_stood_still_overwrites_nothing(tmp_path: Path, phase: str) -> None:
    source = write_list(tmp_path / "list.csv", DOMAINS)
    home = tmp_path / "home"
    state = home / "sandbox"
    ledger = state / "ledger.db"
    with sandbox() as internet:
        internet.set_faults(SLOW)
        arguments = ("run", str(source), "--sandbox-url", internet.url, "--batch-size", "5")
        settings = {"PIPELINE_LEASE": str(LEASE_S)}
        with started_pipeline(*arguments, home=home, **settings) as stopped:
            wait_until_settled(stopped, home, phase, PHASES[phase])
            _stop(stopped.pid, state)
            _wait_until_leases_have_run_out(ledger)
            internet.set_faults("preset=none")
            other = pipeline(*arguments, "--wait", "60s", "--json", home=home, **settings)
            assert other.code == 0, other.err
            before = _rows(ledger)
            os.kill(stopped.pid, signal.SIGCONT)
            said = stopped.communicate(timeout=60)[1]
        assert _changed(before, ledger) == {}
    assert "Traceback" not in said, said
    if phase == "PROFILE_BUILD":  # it holds no claims: there is nothing to take over
        assert stopped.returncode == 0, said
    else:
        assert stopped.returncode == 1
        assert "This process stood still for longer than its lease" in said.splitlines()[-1]
    for asset in ("enriched_companies", "scraped_pages", "company_profiles"):
        assert set(statuses(state, asset, partitions(state)).values()) == {"MATERIALIZED"}
