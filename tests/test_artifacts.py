"""Artifacts of a process that stands still in the middle: an older file never ends up on top."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import metadata
from resources.adapters.ledger.work import Work
from resources.adapters.ledger.work_queries import StoredResult
from resources.adapters.store import Store
from resources.artifact_writer import ArtifactWriter
from resources.core.models import Phase, State
from resources.core.rounds import Change
from resources.directory import Directory
from resources.profile_builder import ProfileBuilder
from tests.support.ledgers import CODE, add_list, open_at, sqlite_url
from tests.support.time import NOW, ManualClock

KEY = "a-00001"
DOMAINS = ["one.example", "two.example"]
FOUND = orjson.dumps({"providers": [], "noted": []})


class _Interrupted(Work):
    """Something happens after the first results were read, as if the process had stood still."""

    def __init__(self, ledger: Ledger, meanwhile: Callable[[], None]) -> None:
        super().__init__(ledger.database)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def results(self, phase: Phase, batch_key: str) -> list[StoredResult]:
        found = super().results(phase, batch_key)
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return found


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_at(sqlite_url(tmp_path))
    add_list(ledger, "a", DOMAINS)
    _settle(ledger, DOMAINS[0])
    yield ledger
    ledger.close()


@pytest.fixture
def other(tmp_path: Path, ledger: Ledger) -> Iterator[Ledger]:
    """The same ledger, as another process sees it."""
    other = open_at(sqlite_url(tmp_path))
    yield other
    other.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _settle(ledger: Ledger, domain: str) -> None:
    for phase in (Phase.COMPANY_ENRICHMENT, Phase.PAGE_SCRAPING):
        worker = ledger.workers.begin(phase, None, NOW)
        ledger.work.claim(worker, phase, [KEY], 10, NOW + 1, NOW)
        payload = FOUND if phase is Phase.COMPANY_ENRICHMENT else None
        change = Change(domain, State.SUCCEEDED, 0, payload=payload)
        ledger.work.settle(worker, phase, change, CODE, NOW)
        ledger.workers.end(worker, NOW, "finished")


def _rows(ledger: Ledger) -> dict[str, list[object]]:
    with ledger.database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def _states(store: Store, asset: str) -> dict[str, str]:
    table = store.read_table(f"{asset}/{KEY}.parquet", ["domain", "state"])
    return dict(zip(*table.to_pydict().values(), strict=True))


def _wake(ledger: Ledger, meanwhile: Callable[[], None]) -> Ledger:
    ledger.work = _Interrupted(ledger, meanwhile)
    return ledger


def test_a_phases_artifact_holds_what_has_settled_while_it_was_made(
    ledger: Ledger, other: Ledger, store: Store
) -> None:
    slow = ArtifactWriter(_wake(ledger, lambda: _settle(other, DOMAINS[1])), store, ManualClock())
    slow.write_phase(Phase.COMPANY_ENRICHMENT, KEY)
    assert set(_states(store, "enriched_companies").values()) == {"succeeded"}


def test_profiles_hold_what_has_settled_while_they_were_built(
    ledger: Ledger, other: Ledger, store: Store
) -> None:
    def work_on() -> None:
        _settle(other, DOMAINS[1])
        ProfileBuilder(other, store, ManualClock()).build(KEY)

    slow = ProfileBuilder(_wake(ledger, work_on), store, ManualClock(NOW + 100))
    assert slow.build(KEY).missing == dict.fromkeys(
        (Phase.COMPANY_ENRICHMENT, Phase.PAGE_SCRAPING), 0
    )
    assert slow.stale([KEY]) == []


def test_a_late_process_that_finds_all_of_it_made_changes_no_row(
    ledger: Ledger, other: Ledger, store: Store
) -> None:
    made: list[dict[str, list[object]]] = []

    def make_all() -> None:
        ArtifactWriter(other, store, ManualClock()).write_phase(Phase.COMPANY_ENRICHMENT, KEY)
        ProfileBuilder(other, store, ManualClock()).build(KEY)
        made.append(_rows(other))

    late = _wake(ledger, make_all)
    ProfileBuilder(late, store, ManualClock(NOW + 100)).build(KEY)
    ArtifactWriter(late, store, ManualClock(NOW + 100)).write_phase(Phase.COMPANY_ENRICHMENT, KEY)
    assert [_rows(ledger)] == made


class _SlowStore(Store):
    """Something happens while the directory reads the profiles."""

    meanwhile: Callable[[], object] | None = None

    def read_table(self, *arguments, **named):
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().read_table(*arguments, **named)


def test_a_directory_that_another_process_has_written_meanwhile_stays(
    ledger: Ledger, other: Ledger, store: Store
) -> None:
    ProfileBuilder(ledger, store, ManualClock()).build(KEY)
    Directory(ledger, store, ManualClock()).write()
    slow = _SlowStore(store.root)

    def go_on() -> None:
        _settle(other, DOMAINS[1])
        ProfileBuilder(other, store, ManualClock()).build(KEY)
        Directory(other, store, ManualClock()).write()
        seen.append((_rows(other), _content(store)))

    seen: list[tuple[object, object]] = []
    slow.meanwhile = go_on
    Directory(ledger, slow, ManualClock(NOW + 100)).write()
    assert [(_rows(ledger), _content(store))] == seen
    assert Directory(ledger, store, ManualClock()).is_stale() is False


def _content(store: Store) -> dict[str, bytes]:
    folder = store.root / "company_directory"
    return {path.name: path.read_bytes() for path in folder.glob("companies.*")}


def test_the_directory_is_written_whole_again_when_nobody_else_does(
    ledger: Ledger, store: Store
) -> None:
    ProfileBuilder(ledger, store, ManualClock()).build(KEY)
    report = Directory(ledger, store, ManualClock()).write()
    assert report.rows == len(DOMAINS)
    assert sorted(_content(store)) == ["companies.csv", "companies.parquet"]
    _settle(ledger, DOMAINS[1])
    ProfileBuilder(ledger, store, ManualClock()).build(KEY)
    assert Directory(ledger, store, ManualClock()).is_stale() is True
    Directory(ledger, store, ManualClock(NOW + 5)).write()
    assert Directory(ledger, store, ManualClock()).is_stale() is False
