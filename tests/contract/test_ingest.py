"""A file becomes a list in the ledger: every row is counted, all of it is there or nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from resources.adapters.ledger.intake import ROWS_PER_TRANSACTION
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.lists import NewMember
from resources.core.errors import UsageError
from resources.core.models import Phase, State
from resources.ingest import read_list, take_in
from tests.support.ledgers import add_list
from tests.support.requirements import ROOT
from tests.support.small_disk import small_disk
from tests.support.time import NOW, ManualClock

CLOCK = ManualClock()


def _list(folder: Path, rows: list[str], name: str = "companies.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(["domain,name,country,city", *rows]), encoding="utf-8")
    return path


def _rows(count: int, start: int = 0) -> list[str]:
    return [f"c{number}.example,Company {number},DE,Bonn" for number in range(start, start + count)]


def _members(ledger: Ledger, list_name: str) -> Iterator[dict[str, object]]:
    for batch in ledger.lists.batches_of(list_name):
        yield from map(dict, ledger.lists.manifest(batch.key))


def test_accepted_duplicates_and_rejected_add_up_to_the_rows(
    ledger: Ledger, tmp_path: Path
) -> None:
    rows = ["a.example,A,DE,Bonn", "www.a.example,A,,", "no domain,,,", "b.example,,,", "x,,,"]
    report = take_in(ledger, CLOCK, read_list(_list(tmp_path, rows)), 50)
    assert (report.rows, report.accepted, report.duplicates, report.rejected) == (5, 2, 1, 2)
    assert (report.added, report.batch_keys) == (2, ("companies-00001",))
    assert [(one.line, one.reason) for one in ledger.lists.rejected_of("companies")] == [
        (4, "not_a_domain"),
        (6, "single_label"),
    ]


def test_the_first_row_of_a_domain_counts_and_the_others_lend_it_their_names(
    ledger: Ledger, tmp_path: Path
) -> None:
    others = [f"www.a.example,Name {number},FR,Paris" for number in range(15)]
    rows = ["a.example,Acme,DE,Bonn", "a.example,Acme,DE,", "a.example,,,", *others, *others]
    report = take_in(ledger, CLOCK, read_list(_list(tmp_path, rows)), 50)
    assert (report.accepted, report.duplicates) == (1, 32)
    assert list(_members(ledger, "companies")) == [
        {
            "domain": "a.example",
            "line": 2,
            "name": "Acme",
            "country": "DE",
            "other_names": [f"Name {number}" for number in range(10)],
            "attributes": {"name": "Acme", "country": "DE", "city": "Bonn"},
        }
    ]


def test_a_list_of_thousands_is_whole_in_its_order_and_in_full_batches(
    ledger: Ledger, tmp_path: Path
) -> None:
    report = take_in(ledger, CLOCK, read_list(_list(tmp_path, _rows(4_321))), 7)
    found = ledger.lists.batches_of("companies")
    assert [batch.key for batch in found] == list(report.batch_keys)
    assert Counter(batch.size for batch in found) == {7: 617, 2: 1}
    members = list(_members(ledger, "companies"))
    assert [member["domain"] for member in members] == [f"c{n}.example" for n in range(4_321)]
    assert [member["line"] for member in members] == list(range(2, 4_323))
    tallies = ledger.work.tallies(Phase.PAGE_SCRAPING, list(report.batch_keys))
    assert {key: tally.states for key, tally in tallies.items()} == {
        batch.key: {State.PENDING: batch.size} for batch in found
    }


def test_the_same_file_adds_nothing_and_a_grown_one_only_what_is_new(
    ledger: Ledger, tmp_path: Path
) -> None:
    first = take_in(ledger, CLOCK, read_list(_list(tmp_path, _rows(2_500))), 1_000)
    before = list(_members(ledger, "companies"))
    again = take_in(ledger, CLOCK, read_list(_list(tmp_path, _rows(2_500))), 1_000)
    assert (again.rows, again.accepted, again.added, again.batch_keys) == (2_500, 2_500, 0, ())
    grown = [*_rows(3, start=9_000), *_rows(2_500), *_rows(2, start=8_000)]
    report = take_in(ledger, CLOCK, read_list(_list(tmp_path, grown)), 1_000)
    assert (report.accepted, report.added) == (2_505, 5)
    assert report.batch_keys == ("companies-00004",)
    members = list(_members(ledger, "companies"))
    assert members[: len(before)] == before
    assert [member["domain"] for member in members[len(before) :]] == [
        f"c{number}.example" for number in (9_000, 9_001, 9_002, 8_000, 8_001)
    ]
    assert len(first.batch_keys) == 3


def test_a_file_with_nothing_new_makes_no_batch_and_changes_the_rejected_rows(
    ledger: Ledger, tmp_path: Path
) -> None:
    take_in(ledger, CLOCK, read_list(_list(tmp_path, [*_rows(3), "no domain,,,"])), 50)
    report = take_in(ledger, CLOCK, read_list(_list(tmp_path, _rows(2))), 50)
    assert (report.added, report.batch_keys) == (0, ())
    assert ledger.lists.rejected_of("companies") == []
    assert len(ledger.lists.batches_of("companies")) == 1


def test_what_was_read_may_be_written_again_and_adds_nothing(
    ledger: Ledger, tmp_path: Path
) -> None:
    add_list(ledger, "companies", ["c1.example"])
    with closing(read_list(_list(tmp_path, _rows(5)))) as content:
        assert content.write(ledger, 50, NOW).added == 4
        assert content.write(ledger, 50, NOW).added == 0
    assert len(list(_members(ledger, "companies"))) == 5


def test_a_packed_file_is_the_same_list(ledger: Ledger, tmp_path: Path) -> None:
    import gzip

    take_in(ledger, CLOCK, read_list(_list(tmp_path, _rows(4))), 50)
    packed = tmp_path / "companies.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "companies.csv").read_bytes()))
    report = take_in(ledger, CLOCK, read_list(packed), 50)
    assert (report.list_name, report.accepted, report.added) == ("companies", 4, 0)


def test_more_batches_than_sort_by_their_keys_are_refused_and_nothing_is_written(
    ledger: Ledger,
) -> None:
    def members() -> Iterator[NewMember]:
        for number in range(100_001):
            yield NewMember(f"c{number}.example", number)

    with pytest.raises(UsageError, match=r"more than 99,999 batches; .* larger --batch-size"):
        ledger.lists.add(
            "a",
            source="a.csv",
            digest="d",
            rows=100_001,
            accepted=100_001,
            duplicates=0,
            new=members(),
            rejected=(),
            batch_size=1,
            now=NOW,
        )
    assert ledger.lists.names() == []
    assert ledger.lists.batches_of() == []


_KILLED_WHILE_IT_WRITES = """
import os, signal, sys
from resources.adapters.ledger.lists import NewMember
from tests.support.ledgers import open_at

def members():
    for number in range(10_000):
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield NewMember(f"c{number}.example", number)

open_at(sys.argv[1]).lists.add(
    "companies", source="s", digest="d", rows=10_000, accepted=10_000, duplicates=0, new=members(),
    rejected=(), batch_size=50, now=0.0,
)
"""


@pytest.mark.parametrize("after", [1, 3_000, 9_999])
def test_a_kill_in_the_middle_leaves_nothing_and_the_next_try_everything(
    ledger: Ledger, tmp_path: Path, after: int
) -> None:
    url = ledger.database.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_WHILE_IT_WRITES, url, str(after)], cwd=ROOT, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert ledger.lists.names() == []
    assert ledger.lists.batches_of() == []
    report = take_in(ledger, CLOCK, read_list(_list(tmp_path, _rows(10_000))), 50)
    assert (report.added, len(report.batch_keys)) == (10_000, 200)


def test_a_long_list_lets_others_write_and_is_gone_on_with_after_it_was_broken_off(
    ledger: Ledger, second: Ledger, tmp_path: Path
) -> None:
    count = ROWS_PER_TRANSACTION + 5_025

    def members() -> Iterator[NewMember]:
        for number in range(2 * count):
            if number in (1, 2 * ROWS_PER_TRANSACTION):
                second.ticks.note("another", 60.0, "it writes in between", NOW)
            if number == 2 * ROWS_PER_TRANSACTION:
                raise InterruptedError
            yield NewMember(f"c{number}.example", number)

    facts = {"source": "a", "digest": "d", "rows": count, "duplicates": 0, "accepted": count}
    with pytest.raises(InterruptedError):
        ledger.lists.add("companies", **facts, new=members(), rejected=(), batch_size=50, now=NOW)
    there = ledger.lists.batches_of("companies")
    assert {batch.size for batch in there} <= {50}
    assert ledger.lists.same_ingest("companies", "d") is None
    report = take_in(ledger, CLOCK, read_list(_list(tmp_path, _rows(count))), 50)
    batches = ledger.lists.batches_of("companies")
    assert (report.rows, report.added) == (count, count - 50 * len(there))
    assert [batch.size for batch in batches] == [50] * (count // 50) + [25] * bool(count % 50)
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))


_KILLED_AFTER_READING = """
import os, signal, sys
from pathlib import Path
from resources.ingest import read_list

content = read_list(Path(sys.argv[1]))
assert content.accepted == 10_000
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    path = _list(tmp_path, _rows(10_000))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_AFTER_READING, str(path)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert list(folder.iterdir()) == []


def test_a_full_disk_while_a_list_is_read_is_said_in_one_sentence(tmp_path: Path) -> None:
    path = _list(tmp_path, _rows(200_000))
    full = tmp_path / "full"
    with small_disk(full, 2_000):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED_AFTER_READING, str(path)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(full)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert f"could not be kept in {full} while it is read" in said
    assert "set TMPDIR" in said


def test_a_temporary_file_lies_where_it_is_said_and_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "scratch"
    with closing(read_list(_list(tmp_path, _rows(5)), scratch=folder)) as content:
        assert content.accepted == 5
        assert not (tmp_path / "home").exists()


def test_a_full_disk_of_the_home_is_said_with_what_to_set(tmp_path: Path) -> None:
    full = tmp_path / "full"
    with small_disk(full, 2_000), pytest.raises(UsageError) as raised:
        read_list(_list(tmp_path, _rows(200_000)), scratch=full / "scratch")
    assert f"could not be kept in {full / 'scratch'} while it is read" in str(raised.value)
    assert "set PIPELINE_HOME" in str(raised.value)


def test_memory_does_not_grow_with_the_list() -> None:
    """In a process of its own, by the kernel's count: 80,000 rows in memory would be 80 MB."""
    peaks = []
    for rows in (20_000, 100_000):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "benchmarks.ingest_memory",
                "--rows",
                str(rows),
                "--without-dagster",
            ],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        told = json.loads(done.stdout.splitlines()[0])
        assert told["rows"] == rows == told["accepted"] + told["duplicates"] + told["rejected"]
        assert told["duplicates"] > rows * 0.04
        peaks.append(told["peak_mb"])
    assert peaks[1] - peaks[0] < 40
    assert peaks[1] < 500
