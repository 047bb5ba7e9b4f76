"""Breakers that processes share: in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from resources.adapters.ledger.breakers import FORGOTTEN_AFTER_S, BreakerChange
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import breakers as table
from resources.core.breaker import Breaker, BreakerPolicy, Status, Verdict
from resources.core.ports import BreakerBook
from tests.support.places import Place
from tests.support.time import NOW

POLICY = BreakerPolicy(threshold=3, timeout_s=100, window_s=60, minimum_calls=10, probe_s=30)
PDL = "pdl"
DUE = NOW + 100


@pytest.fixture
def books(place: Place) -> Sequence[BreakerBook]:
    """The one book, as three processes see it."""
    return place.breakers()


def _fail(book: BreakerBook, times: int = 1, at: float = NOW, successes: int = 0) -> Breaker:
    for _ in range(times):
        breaker = book.failed(PDL, "HTTP 503", successes, "one", at, POLICY)
    return breaker


def _open(book: BreakerBook) -> Breaker:
    breaker = _fail(book, 3)
    assert breaker.status is Status.OPEN
    return breaker


def _known(book: BreakerBook, endpoint: str = PDL) -> Breaker | None:
    return book.changed_since(0.0, POLICY).get(endpoint)


# -- counting ---------------------------------------------------------------------------------


def test_of_an_endpoint_of_which_nothing_was_told_nothing_is_known(
    books: Sequence[BreakerBook],
) -> None:
    assert books[0].changed_since(0.0, POLICY) == {}
    assert books[0].take_probe(PDL, "one", NOW, POLICY) == (POLICY.new_breaker(), False)
    end = books[0].end_probe(PDL, "one", Verdict.AWAY, "", NOW, POLICY)
    assert end == POLICY.new_breaker()
    assert books[0].changed_since(0.0, POLICY) == {}


def test_failures_of_all_processes_count_together(books: Sequence[BreakerBook]) -> None:
    assert [_fail(book).failures for book in books] == [1, 2, 3]
    opened = _known(books[0])
    assert opened is not None
    assert (opened.status, opened.retry_at) == (Status.OPEN, DUE)
    assert opened.reason == "3 calls failed in a row; last: HTTP 503"


def test_what_one_process_writes_the_others_read_as_it_was(books: Sequence[BreakerBook]) -> None:
    written = _fail(books[0], 2, successes=7)
    assert _known(books[1]) == _known(books[2]) == written
    total = written.counts.total(NOW)
    assert (total.calls, total.failures, total.retries) == (16, 2, 0)


def test_a_success_told_by_another_process_begins_the_row_anew(
    books: Sequence[BreakerBook],
) -> None:
    _fail(books[0], 2)
    found = books[1].succeeded({PDL: 4, "rdap": 1}, "two", NOW, POLICY)
    assert {key: one.failures for key, one in found.items()} == {PDL: 0, "rdap": 0}
    assert _fail(books[0], 2).status is Status.CLOSED
    assert _fail(books[0]).status is Status.OPEN


def test_successes_told_with_a_failure_came_before_it(books: Sequence[BreakerBook]) -> None:
    _fail(books[0], 2)
    assert _fail(books[1], successes=5).failures == 1


def test_the_rate_of_failures_is_counted_over_all_processes(books: Sequence[BreakerBook]) -> None:
    for number in range(4):
        at = NOW + 12 * number
        books[0].succeeded({PDL: 1}, "one", at, POLICY)
        assert _fail(books[1], at=at).status is Status.CLOSED
    books[0].succeeded({PDL: 1}, "one", NOW + 48, POLICY)
    opened = _fail(books[2], at=NOW + 49)
    assert opened.status is Status.OPEN
    assert opened.reason == "5 of 10 calls failed within 60 s; last: HTTP 503"


def test_endpoints_do_not_mix(books: Sequence[BreakerBook]) -> None:
    _open(books[0])
    other = books[0].failed("site/acme.example", "timeout", 0, "one", NOW, POLICY)
    assert (other.status, other.failures) == (Status.CLOSED, 1)


# -- what has changed -------------------------------------------------------------------------


def test_only_what_was_changed_since_a_time_is_read(books: Sequence[BreakerBook]) -> None:
    _fail(books[0], at=NOW)
    books[0].failed("rdap", "timeout", 0, "one", NOW + 10, POLICY)
    assert set(books[1].changed_since(NOW, POLICY)) == {PDL, "rdap"}
    assert set(books[1].changed_since(NOW + 10, POLICY)) == {"rdap"}
    assert set(books[1].changed_since(NOW + 11, POLICY)) == set()
    _fail(books[2], at=NOW + 20)
    assert set(books[1].changed_since(NOW + 20, POLICY)) == {PDL}


def test_what_changes_nothing_is_not_read_again(books: Sequence[BreakerBook]) -> None:
    opened = _open(books[0])
    assert _fail(books[1], at=NOW + 50) == opened
    assert books[1].succeeded({PDL: 3}, "two", NOW + 50, POLICY) == {PDL: opened}
    assert books[1].take_probe(PDL, "two", NOW + 50, POLICY) == (opened, False)
    assert books[2].changed_since(NOW + 1, POLICY) == {}


# -- probes -----------------------------------------------------------------------------------


def test_exactly_one_gets_the_probe_and_only_when_it_is_due(books: Sequence[BreakerBook]) -> None:
    _open(books[0])
    assert [b.take_probe(PDL, "early", DUE - 0.1, POLICY)[1] for b in books] == [False] * 3
    taken = [b.take_probe(PDL, f"w{n}", DUE, POLICY) for n, b in enumerate(books)]
    assert [is_taken for _, is_taken in taken] == [True, False, False]
    assert {one.probe_by for one, _ in taken} == {"w0"}


def test_a_probe_is_ended_by_its_holder_only(books: Sequence[BreakerBook]) -> None:
    _open(books[0])
    probing, _ = books[0].take_probe(PDL, "one", DUE, POLICY)
    assert books[1].end_probe(PDL, "two", Verdict.ALIVE, "", DUE, POLICY) == probing
    closed = books[0].end_probe(PDL, "one", Verdict.ALIVE, "", DUE, POLICY)
    assert (closed.status, closed.failures, closed.openings) == (Status.CLOSED, 0, 0)
    assert _known(books[2]) == closed


def test_a_probe_that_fails_makes_everybody_wait_twice_as_long(
    books: Sequence[BreakerBook],
) -> None:
    _open(books[0])
    books[1].take_probe(PDL, "two", DUE, POLICY)
    books[1].end_probe(PDL, "two", Verdict.AWAY, "HTTP 502", DUE + 1, POLICY)
    found = _known(books[0])
    assert found is not None
    assert (found.status, found.retry_at, found.openings) == (Status.OPEN, DUE + 201, 2)
    assert found.reason == "the probe failed; HTTP 502"


def test_a_probe_that_never_left_goes_to_the_next(books: Sequence[BreakerBook]) -> None:
    _open(books[0])
    books[0].take_probe(PDL, "one", DUE, POLICY)
    books[0].end_probe(PDL, "one", Verdict.NOTHING, "", DUE + 1, POLICY)
    assert books[1].take_probe(PDL, "two", DUE + 1, POLICY)[1]


def test_the_probe_of_a_process_that_died_goes_to_another_and_its_end_comes_too_late(
    books: Sequence[BreakerBook],
) -> None:
    _open(books[0])
    books[0].take_probe(PDL, "dead", DUE, POLICY)
    assert not books[1].take_probe(PDL, "heir", DUE + 29, POLICY)[1]
    probing, is_taken = books[1].take_probe(PDL, "heir", DUE + 30, POLICY)
    assert is_taken
    assert books[0].end_probe(PDL, "dead", Verdict.AWAY, "", DUE + 31, POLICY) == probing


def test_two_probes_of_one_worker_are_told_apart(books: Sequence[BreakerBook]) -> None:
    _open(books[0])
    lost, _ = books[0].take_probe(PDL, "one", DUE, POLICY)
    again, is_taken = books[0].take_probe(PDL, "one", DUE + 30, POLICY)
    assert is_taken

    def end(probe: Breaker) -> Breaker:
        return books[0].end_probe(
            PDL, "one", Verdict.NOTHING, "", DUE + 31, POLICY, probe.probe_until
        )

    assert end(lost) == again
    assert end(again).status is Status.OPEN


def test_of_many_that_ask_at_once_exactly_one_gets_the_probe(
    books: Sequence[BreakerBook],
) -> None:
    _open(books[0])
    barrier = Barrier(6)
    taken: list[bool] = []

    def ask(number: int) -> None:
        barrier.wait()
        taken.append(books[number % 3].take_probe(PDL, f"w{number}", DUE, POLICY)[1])

    threads = [Thread(target=ask, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 5 + [True]


def test_failures_told_at_once_all_count(books: Sequence[BreakerBook]) -> None:
    """Also the very first ones, while the endpoint is not known to anybody."""
    policy = BreakerPolicy(threshold=1000, minimum_calls=1000)
    barrier = Barrier(6)

    def tell(number: int) -> None:
        barrier.wait()
        for _ in range(5):
            books[number % 3].failed(PDL, "HTTP 503", 0, f"w{number}", NOW, policy)

    threads = [Thread(target=tell, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = books[0].changed_since(0.0, policy)[PDL]
    assert (found.failures, found.counts.total(NOW).calls) == (30, 30)


# -- retries ----------------------------------------------------------------------------------


def test_all_processes_share_one_budget_of_retries(books: Sequence[BreakerBook]) -> None:
    granted = [books[n % 3].take_retry(PDL, 0, NOW, POLICY)[1] for n in range(5)]
    assert granted == [True] * 3 + [False] * 2
    # With the calls that it has not told yet, a process may have more.
    assert books[0].take_retry(PDL, 50, NOW, POLICY)[1]


def test_there_is_no_retry_while_calls_are_paused(books: Sequence[BreakerBook]) -> None:
    opened = _open(books[0])
    assert books[1].take_retry(PDL, 0, DUE, POLICY) == (opened, False)


# -- forgetting -------------------------------------------------------------------------------


def test_what_nobody_has_called_for_a_day_is_forgotten_and_begins_as_new(
    books: Sequence[BreakerBook],
) -> None:
    _fail(books[0])
    books[0].succeeded({"rdap": 1}, "one", NOW + 10, POLICY)
    books[1].forget_old(NOW + FORGOTTEN_AFTER_S)
    assert set(books[0].changed_since(0.0, POLICY)) == {PDL, "rdap"}
    books[1].forget_old(NOW + FORGOTTEN_AFTER_S + 5)
    assert set(books[0].changed_since(0.0, POLICY)) == {"rdap"}
    assert _fail(books[2], at=NOW + FORGOTTEN_AFTER_S + 5).failures == 1


def test_a_pause_is_forgotten_a_day_after_it_is_over(books: Sequence[BreakerBook]) -> None:
    _open(books[0])
    books[1].forget_old(DUE + FORGOTTEN_AFTER_S)
    assert set(books[0].changed_since(0.0, POLICY)) == {PDL}
    books[1].forget_old(DUE + FORGOTTEN_AFTER_S + 1)
    assert books[0].changed_since(0.0, POLICY) == {}


# -- what only the ledger keeps ---------------------------------------------------------------


def test_each_change_of_state_is_kept_with_time_reason_and_worker(ledger: Ledger) -> None:
    book = ledger.breakers
    _open(book)
    book.take_probe(PDL, "two", DUE, POLICY)
    book.end_probe(PDL, "two", Verdict.ALIVE, "", DUE + 1, POLICY)
    book.failed("site/acme.example", "timeout", 0, "one", NOW, POLICY)
    reason = "3 calls failed in a row; last: HTTP 503"
    assert book.changes() == [
        BreakerChange(PDL, DUE + 1, Status.HALF_OPEN, Status.CLOSED, "a probe succeeded"),
        BreakerChange(PDL, DUE, Status.OPEN, Status.HALF_OPEN, reason),
        BreakerChange(PDL, NOW, Status.CLOSED, Status.OPEN, reason),
    ]
    assert [change.at for change in book.changes(limit=1)] == [DUE + 1]
    assert book.changes(prefix="site/") == []


def test_those_that_are_not_closed_are_listed_and_counted_by_prefix(ledger: Ledger) -> None:
    book = ledger.breakers
    for endpoint in ("site/b_d.example", PDL, "site/bad.example", "site/well.example"):
        failures = 1 if "well" in endpoint else 3
        for _ in range(failures):
            book.failed(endpoint, "timeout", 0, "one", NOW, POLICY)
    book.take_probe("site/bad.example", "one", DUE, POLICY)
    found = book.not_closed(POLICY)
    assert {key: one.status for key, one in found.items()} == {
        PDL: Status.OPEN,
        "site/b_d.example": Status.OPEN,
        "site/bad.example": Status.HALF_OPEN,
    }
    assert next(iter(found)) == PDL
    assert book.count_not_closed("site/") == 2
    # An underscore is a letter like any other.
    assert book.count_not_closed("site/b_d") == 1


def test_asking_and_ending_leave_no_row_where_there_is_nothing_to_keep(ledger: Ledger) -> None:
    book = ledger.breakers
    book.take_probe(PDL, "one", NOW, POLICY)
    book.end_probe(PDL, "one", Verdict.ALIVE, "", NOW, POLICY)
    with ledger.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_whatever_the_other_side_said_can_be_kept_as_the_reason(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.breakers.failed(PDL, "oops \x00\udcff é", 0, "one", NOW, POLICY)
    (opened,) = ledger.breakers.not_closed(POLICY).values()
    assert opened.reason.endswith("oops ? é")


def test_a_window_of_another_length_reads_the_same_rows(ledger: Ledger) -> None:
    longer = BreakerPolicy(threshold=1000, window_s=3600, minimum_calls=10)
    for _ in range(2):
        ledger.breakers.failed(PDL, "timeout", 0, "one", NOW, POLICY)
    found = ledger.breakers.failed(PDL, "timeout", 0, "one", NOW, longer)
    assert found.counts.total(NOW).failures == 1
    assert found.failures == 3


def test_what_was_stopped_before_a_time_is_found_though_probes_failed_since(ledger: Ledger) -> None:
    book = ledger.breakers
    for endpoint, at in ((PDL, NOW), ("site/late.example", NOW + 50), ("rdap", NOW)):
        for _ in range(3):
            book.failed(endpoint, "away", 0, "one", at, POLICY)
    book.take_probe(PDL, "one", DUE, POLICY)
    book.end_probe(PDL, "one", Verdict.AWAY, "away", DUE, POLICY)
    for _ in range(20):
        book.take_probe("rdap", "one", DUE, POLICY)
        book.end_probe("rdap", "one", Verdict.ALIVE, "", DUE, POLICY)
    assert book.not_closed(POLICY).keys() == {PDL, "site/late.example"}
    assert book.stopped_before(NOW - 1) == {}
    assert book.stopped_before(NOW) == {PDL: NOW}
    assert book.stopped_before(DUE) == {PDL: NOW, "site/late.example": NOW + 50}
