"""Lists and batches: written once, never changed, nothing vanishes."""

from __future__ import annotations

import json
from threading import Barrier, Thread

import pytest

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.lists import IngestReport, NewMember, Rejected
from resources.core.models import Phase, State
from tests.support.ledgers import add_list
from tests.support.time import NOW

DOMAINS = [f"d{number:02d}.example" for number in range(7)]


def _members(ledger: Ledger, key: str) -> list[str]:
    return [str(member["domain"]) for member in ledger.lists.manifest(key)]


def test_a_list_becomes_batches_in_its_order(ledger: Ledger) -> None:
    report = add_list(ledger, "a", DOMAINS, batch_size=3)
    assert report.batch_keys == ("a-00001", "a-00002", "a-00003")
    assert [_members(ledger, key) for key in report.batch_keys] == [
        DOMAINS[:3],
        DOMAINS[3:6],
        DOMAINS[6:],
    ]
    rows = ledger.lists.batches_of("a")
    assert [(row.key, row.number, row.size) for row in rows] == [
        ("a-00001", 1, 3),
        ("a-00002", 2, 3),
        ("a-00003", 3, 1),
    ]


def test_every_domain_is_pending_in_every_phase(ledger: Ledger) -> None:
    add_list(ledger, "a", DOMAINS)
    for phase in Phase:
        assert ledger.work.tallies(phase, ["a-00001"])["a-00001"].states == {State.PENDING: 7}


def test_the_same_file_is_known_and_adds_nothing(ledger: Ledger) -> None:
    first = add_list(ledger, "a", DOMAINS, digest="same")
    again = ledger.lists.same_ingest("a", "same")
    assert again is not None
    assert (again.rows, again.accepted, again.added, again.batch_keys) == (7, 7, 0, ())
    assert first.added == 7
    assert ledger.lists.same_ingest("a", "other") is None
    assert ledger.lists.same_ingest("b", "same") is None


def test_a_grown_list_gets_new_batches_and_the_old_ones_stay_as_they_are(ledger: Ledger) -> None:
    add_list(ledger, "a", DOMAINS[:4], batch_size=3)
    before = {key: ledger.lists.manifest(key) for key in ("a-00001", "a-00002")}
    report = add_list(ledger, "a", ["new.example"], batch_size=3, digest="d2")
    assert report.batch_keys == ("a-00003",)
    assert {key: ledger.lists.manifest(key) for key in before} == before
    assert _members(ledger, "a-00003") == ["new.example"]


def test_members_that_are_there_already_are_not_added_again(ledger: Ledger) -> None:
    add_list(ledger, "a", DOMAINS[:4])
    report = add_list(ledger, "a", DOMAINS, digest="d2")
    assert report.added == 3
    assert _members(ledger, "a-00002") == DOMAINS[4:]


def test_two_processes_that_take_in_the_same_list_at_once_add_it_once(
    ledger: Ledger, second: Ledger
) -> None:
    barrier = Barrier(2)
    reports: list[IngestReport] = []
    errors: list[Exception] = []

    def take_in(own: Ledger) -> None:
        barrier.wait()
        try:
            reports.append(add_list(own, "a", DOMAINS, batch_size=2))
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [Thread(target=take_in, args=[own]) for own in (ledger, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(report.added for report in reports) == [0, 7]
    assert len(ledger.lists.batches_of("a")) == 4


def test_rejected_rows_are_those_of_the_newest_file(ledger: Ledger) -> None:
    one = Rejected(3, "nonsense", "no_domain", "there is no domain in it")
    two = Rejected(9, "10.0.0.1", "ip_address", "an address is no domain")
    report = add_list(ledger, "a", DOMAINS, rejected=[two, one])
    assert report.rejected == 2
    assert ledger.lists.rejected_of("a") == [one, two]
    add_list(ledger, "b", ["x.example"], rejected=[one])
    add_list(ledger, "a", ["x.example"], rejected=[two], digest="d2")
    assert ledger.lists.rejected_of("a") == [two]
    assert ledger.lists.rejected_of("b") == [one]


def test_rows_with_nuls_and_broken_characters_are_kept_readable(ledger: Ledger) -> None:
    spoilt = Rejected(2, "a\x00b \ud800 \N{SNOWMAN}", "no_domain", "\x00")
    add_list(ledger, "a", DOMAINS, rejected=[spoilt])
    (kept,) = ledger.lists.rejected_of("a")
    assert (kept.raw, kept.detail) == ("ab ? \N{SNOWMAN}", "")


def test_hints_come_back_as_they_were_given(ledger: Ledger) -> None:
    member = NewMember(
        "acme.example",
        2,
        "Acme \x00GmbH",
        "DE",
        json.dumps({"plz": "10\u20130", "n": "\x00"}),
        json.dumps(["Acme AG"]),
    )
    ledger.lists.add(
        "a",
        source="a.csv",
        digest="d" * 64 + ":a column with a very long name" * 20,
        rows=1,
        accepted=1,
        duplicates=0,
        new=[member],
        rejected=[],
        batch_size=50,
        now=NOW,
    )
    (kept,) = ledger.lists.manifest("a-00001")
    assert kept == {
        "domain": "acme.example",
        "line": 2,
        "name": "Acme GmbH",
        "country": "DE",
        "other_names": ["Acme AG"],
        "attributes": {"plz": "10\u20130", "n": "\x00"},
    }


def test_a_domain_of_two_lists_is_one_row_of_work(ledger: Ledger) -> None:
    add_list(ledger, "a", ["shared.example", "a.example"])
    add_list(ledger, "b", ["shared.example"])
    worker = ledger.workers.begin(Phase.PAGE_SCRAPING, None, NOW)
    tasks = ledger.work.claim(worker, Phase.PAGE_SCRAPING, ["a-00001", "b-00001"], 10, NOW + 1, NOW)
    assert sorted(task.domain for task in tasks) == ["a.example", "shared.example"]
    assert ledger.lists.memberships("shared.example") == [("a", "a-00001"), ("b", "b-00001")]
    assert ledger.lists.names() == ["a", "b"]
    assert list(ledger.lists.known_domains("b")) == [["shared.example"]]
    assert list(ledger.lists.known_domains("c")) == []
    assert ledger.lists.known_among("b", ["shared.example", "a.example"]) == {"shared.example"}


def test_an_ingest_that_fails_leaves_nothing_behind(ledger: Ledger) -> None:
    from sqlalchemy.exc import DBAPIError

    member = NewMember("acme.example", 2)
    with pytest.raises(DBAPIError):
        ledger.lists.add(
            "a",
            source="a.csv",
            digest="d",
            rows=2,
            accepted=2,
            duplicates=0,
            new=[member, member],
            rejected=[],
            batch_size=1,
            now=NOW,
        )
    assert ledger.lists.names() == []
    assert ledger.lists.batches_of() == []
