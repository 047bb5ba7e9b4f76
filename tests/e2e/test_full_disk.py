"""A disk that is full in mid-run: one clear sentence, nothing lost, nothing bought twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from resources.adapters.bodies import BodyReader, Place
from resources.adapters.store import WRITING, Store
from tests.e2e.test_kill import in_doubt, wait_until_settled
from tests.support.processes import Result, pipeline, sandbox, started_pipeline, write_list
from tests.support.small_disk import SmallDisk, small_disk

MOST_BYTES = 5_000_000
DOMAINS = [f"company-{number:03}.example" for number in range(100)]
SLOW = '[[fault]]\nkind = "latency"\nseconds = 0.2\n'


def _query(home: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(home / "sandbox" / "ledger.db") as ledger:
        return list(ledger.execute(query))


def _check_that_nothing_is_half_written(home: Path) -> None:
    store = Store(home / "sandbox" / "store")
    assert list((store.root / WRITING).iterdir()) == []
    for path in store.root.rglob("*.parquet"):
        pq.read_table(path)
    reader = BodyReader(store.root)
    pages = "select body_hash, body_file, body_offset, body_length, body_encoding from pages"
    for digest, *place in _query(home, pages):
        assert reader.body(Place(*place), str(digest), MOST_BYTES) is not None  # type: ignore[arg-type]


def _fill_in_mid_run(tmp_path: Path, disk: SmallDisk, home: Path, phase: str) -> Result:
    """Fill the disk while a phase goes on, check what is left, and finish with room again."""
    source = write_list(tmp_path / "list.csv", DOMAINS)
    with sandbox() as internet:
        internet.set_faults(SLOW)
        arguments = ("run", str(source), "--sandbox-url", internet.url, "--batch-size", "10")
        with started_pipeline(*arguments, home=home) as process:
            wait_until_settled(process, home, phase, 20)
            disk.fill()
            out, said = process.communicate(timeout=180)
        disk.make_room()
        assert _query(home, "select max(rounds) from work") == [(0,)]
        _check_that_nothing_is_half_written(home)
        unanswered = in_doubt(home)
        internet.set_faults("preset=none")
        done = pipeline(*arguments, "--json", home=home)
        billed = internet.calls()["billed"]["pdl"]
    assert done.code == 0, done.err
    for counts in done.json["phases"].values():
        assert counts["waiting"] == counts["pending"] == counts["quarantined"] == 0
    assert sum(billed.values()) <= len(DOMAINS) + unanswered
    _check_that_nothing_is_half_written(home)
    return Result(process.returncode, out, said)


@pytest.mark.may_skip
@pytest.mark.parametrize("phase", ["COMPANY_ENRICHMENT", "PAGE_SCRAPING"])
def test_no_room_for_the_records(tmp_path: Path, phase: str) -> None:
    home = tmp_path / "home"
    with small_disk(home, 24_000) as disk:
        stopped = _fill_in_mid_run(tmp_path, disk, home, phase)
    assert stopped.code == 1
    last = stopped.err.strip().splitlines()[-1]
    assert last.startswith(f"pipeline: The disk of {home / 'sandbox'} is full: no space left")
    assert "Free some space there" in last
    assert "same command goes on" in last
    assert "Traceback" not in stopped.err
    assert "INSERT" not in stopped.err


@pytest.mark.may_skip
def test_no_room_for_page_bodies(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(home / "sandbox" / "store", 8_000) as disk:
        stopped = _fill_in_mid_run(tmp_path, disk, home, "PAGE_SCRAPING")
    assert stopped.code == 1
    said = next(line for line in stopped.err.splitlines() if "could not be written" in line)
    assert f"{home / 'sandbox' / 'store'}/" in said
    assert "No space left on device. Free space" in said
    assert "Traceback" not in stopped.err
    assert "unforeseen" not in stopped.err
