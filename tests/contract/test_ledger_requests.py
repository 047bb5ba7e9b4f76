"""Requests: what is wanted, what was tried for it, and what a person's wish changes."""

from __future__ import annotations

from dataclasses import replace
from threading import Barrier, Thread

import pytest
from sqlalchemy import event, insert, update

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.requests import Launch, Requests
from resources.adapters.ledger.schema import batches, lists, members, work
from resources.core.models import FETCHING, Phase
from resources.core.recovery import MOST_DEATHS, Request
from tests.support.ledgers import add_list
from tests.support.time import NOW

ENRICHMENT, SCRAPING, PROFILES = Phase
KEYS = ["a-00001", "a-00002", "a-00003"]
LATER = NOW + 100


@pytest.fixture(autouse=True)
def _list(ledger: Ledger) -> None:
    add_list(ledger, "a", [f"d{number}.example" for number in range(6)], batch_size=2)


def _asked(key: str = KEYS[0], phase: Phase = SCRAPING) -> Request:
    """As it stands when it was asked for the first time."""
    return Request(key, phase, "scope", NOW)


def _ask(ledger: Ledger, *keys: str, phase: Phase = SCRAPING) -> None:
    ledger.requests.ask(keys or KEYS[:1], [phase], scope="scope", now=NOW)


def _launch(ledger: Ledger, key: str = KEYS[0], *, attempts: int = 1, now: float = NOW) -> None:
    launch = Launch(key, SCRAPING, attempts, progress="p1", code_version="c1")
    ledger.requests.note_launches([launch], now)


def _cancel(ledger: Ledger, *keys: str, now: float = NOW, ended_at: float | None = None) -> None:
    ledger.requests.note_run_ended(
        keys or KEYS[:1], SCRAPING, "run-1", now=now, held_reason="cancelled", ended_at=ended_at
    )


def _one(ledger: Ledger, key: str = KEYS[0], phase: Phase = SCRAPING) -> Request:
    return ledger.requests.all()[phase, key]


# -- asking -----------------------------------------------------------------------------------


def test_what_is_asked_for_is_wanted_in_each_of_the_phases(ledger: Ledger) -> None:
    assert ledger.requests.all() == {}
    ledger.requests.ask(KEYS[:2], FETCHING, scope="scope", now=NOW)
    assert ledger.requests.all() == {
        (phase, key): _asked(key, phase) for phase in FETCHING for key in KEYS[:2]
    }


def test_who_asks_again_changes_nothing(ledger: Ledger) -> None:
    _ask(ledger)
    _launch(ledger)
    _cancel(ledger)
    before = _one(ledger)
    ledger.requests.ask(KEYS[:2], [SCRAPING], scope="other", now=LATER)
    assert _one(ledger) == before
    assert _one(ledger, KEYS[1]) == replace(_asked(KEYS[1]), scope="other", requested_at=LATER)


def test_a_persons_wish_ends_what_held_it_and_begins_to_count_anew(ledger: Ledger) -> None:
    _ask(ledger)
    _launch(ledger, attempts=3)
    _cancel(ledger)
    ledger.requests.ask_by_person(KEYS[:2], [SCRAPING], scope="other", now=LATER)
    found = _one(ledger)
    assert (found.attempts, found.held_reason, found.scope) == (0, None, "other")
    assert (found.launches, found.last_run_id) == (1, "run-1")  # what was, was
    assert _one(ledger, KEYS[1]).scope == "other"


def test_what_is_no_batch_is_left_out(ledger: Ledger) -> None:
    for ask in (ledger.requests.ask, ledger.requests.ask_by_person):
        ask(["nowhere-00001", KEYS[0], KEYS[0]], [SCRAPING], scope="scope", now=NOW)
    ledger.requests.ask([], [SCRAPING], scope="scope", now=NOW)
    assert set(ledger.requests.all()) == {(SCRAPING, KEYS[0])}


def test_any_number_of_batches_can_be_asked_for_changed_and_read(ledger: Ledger) -> None:
    keys = [f"many-{number:05d}" for number in range(1, 12_001)]
    with ledger.database.write() as connection:
        connection.execute(insert(lists).values(id=99, name="many", created_at=NOW))
        connection.execute(
            insert(batches),
            [
                {"key": key, "list_id": 99, "number": number, "size": 1, "created_at": NOW}
                for number, key in enumerate(keys)
            ],
        )
        # One that is not settled is enough of each.
        at = {"list_id": 99, "position": 0, "line": 2}
        connection.execute(
            insert(members), [{**at, "domain": f"{key}.example", "batch_key": key} for key in keys]
        )
        row = {"phase": SCRAPING, "state": "pending", "updated_at": NOW}
        connection.execute(insert(work), [{**row, "domain": f"{key}.example"} for key in keys])
    ledger.requests.ask(keys, [SCRAPING], scope="first", now=NOW)
    ledger.requests.ask(keys, [SCRAPING], scope="second", now=LATER)
    ledger.requests.note_run_ended(keys, SCRAPING, "run", now=LATER, held_reason="cancelled")
    found = ledger.requests.all().values()
    assert len(found) == 12_000
    assert {(one.scope, one.requested_at, one.held_reason) for one in found} == {
        ("first", NOW, "cancelled")
    }
    ledger.requests.release((SCRAPING, key) for key in keys)
    ledger.requests.ask_by_person(keys, [SCRAPING], scope="third", now=LATER)
    found = ledger.requests.all().values()
    assert {(one.scope, one.held_reason) for one in found} == {("third", None)}


def test_everything_is_read_in_one_query(ledger: Ledger) -> None:
    _ask(ledger, *KEYS)
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:
        statements.append(statement)

    event.listen(ledger.database.engine, "before_cursor_execute", note)
    try:
        assert len(ledger.requests.all()) == len(KEYS)
    finally:
        event.remove(ledger.database.engine, "before_cursor_execute", note)
    assert len([one for one in statements if one.startswith("SELECT")]) == 1


def test_two_who_ask_at_once_ask_once(ledger: Ledger, second: Ledger) -> None:
    barrier = Barrier(2)
    errors: list[Exception] = []

    def ask(requests: Requests, scope: str) -> None:
        barrier.wait()
        try:
            requests.ask(KEYS, FETCHING, scope=scope, now=NOW)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [
        Thread(target=ask, args=[own.requests, scope])
        for own, scope in ((ledger, "one"), (second, "other"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = ledger.requests.all()
    assert len(found) == len(KEYS) * len(FETCHING)
    # One statement a phase: whoever came first has all of it.
    for phase in FETCHING:
        assert len({found[phase, key].scope for key in KEYS}) == 1


# -- automatic runs ---------------------------------------------------------------------------


def test_a_launch_is_counted_with_what_it_was_made_with(ledger: Ledger) -> None:
    _ask(ledger, *KEYS)
    ledger.requests.note_launches([], NOW)
    plans = [
        Launch(KEYS[0], SCRAPING, 2, "4.7.0.0.0", "v2"),
        Launch(KEYS[1], SCRAPING, 1, "", "v2"),
        Launch("nowhere-00001", SCRAPING, 1, "", "v2"),
    ]
    ledger.requests.note_launches(plans, LATER)
    assert _one(ledger) == replace(
        _asked(), attempts=2, progress="4.7.0.0.0", launches=1, launched_at=LATER, code_version="v2"
    )
    ledger.requests.note_launches(plans[:1], LATER + 1)
    assert (_one(ledger).launches, _one(ledger).launched_at) == (2, LATER + 1)
    assert _one(ledger, KEYS[1]).launches == 1
    assert _one(ledger, KEYS[2]) == _asked(KEYS[2])


def test_after_a_run_that_was_ended_the_batches_are_due_at_once(ledger: Ledger) -> None:
    _ask(ledger, *KEYS)
    _launch(ledger, attempts=2)
    _launch(ledger, KEYS[1])
    ledger.requests.note_run_ended(KEYS[:1], SCRAPING, "run-1", now=LATER, held_reason=None)
    found = _one(ledger)
    assert (found.last_run_id, found.launched_at, found.held_reason) == ("run-1", None, None)
    assert (found.attempts, found.launches) == (2, 1)  # what was counted stays
    assert _one(ledger, KEYS[1]).launched_at == NOW


def test_after_a_run_that_ended_by_itself_the_cool_down_holds(ledger: Ledger) -> None:
    _ask(ledger)
    _launch(ledger)
    ledger.requests.note_run_ended(
        KEYS[:1], SCRAPING, "run-1", now=LATER, held_reason=None, is_due=False
    )
    assert (_one(ledger).last_run_id, _one(ledger).launched_at) == ("run-1", NOW)
    assert _one(ledger).idle_since == LATER


def test_a_run_that_ended_before_it_could_say_so_was_wanted_all_the_same(ledger: Ledger) -> None:
    keys = [KEYS[0], "nowhere-00001"]
    ledger.requests.note_run_ended(keys, SCRAPING, "run-1", now=LATER, held_reason=None)
    assert ledger.requests.all() == {
        (SCRAPING, KEYS[0]): Request(
            KEYS[0],
            SCRAPING,
            scope="run-1",
            requested_at=LATER,
            last_run_id="run-1",
            ended_at=LATER,
            deaths=1,
        )
    }
    _cancel(ledger, KEYS[1])
    assert _one(ledger, KEYS[1]).held_reason == "cancelled"


def test_an_automatic_run_counts_once_whether_it_says_so_when_it_begins_or_not(
    ledger: Ledger,
) -> None:
    _ask(ledger, *KEYS)
    ledger.requests.note_run_began(KEYS[:1], SCRAPING, "run-1")
    ledger.requests.note_run_began(KEYS[:1], SCRAPING, "run-1")
    for is_automatic, run_id in ((True, "run-1"), (False, "run-2"), (True, "run-3")):
        ledger.requests.note_run_ended(
            KEYS[:2],
            SCRAPING,
            run_id,
            now=LATER,
            held_reason=None,
            is_due=False,
            is_automatic=is_automatic,
        )
    # The second batch does not know that the first run had begun.
    assert [_one(ledger, key).attempts for key in KEYS] == [2, 2, 0]


def _end(ledger: Ledger, number: int, *, is_due: bool) -> Request:
    ledger.requests.note_run_ended(
        KEYS[:1], SCRAPING, f"run-{number}", now=LATER, held_reason=None, is_due=is_due
    )
    return _one(ledger)


def test_runs_that_are_ended_from_outside_count_in_a_row_and_cool_down_in_the_end(
    ledger: Ledger,
) -> None:
    _ask(ledger)
    for number in range(1, MOST_DEATHS + 2):
        ledger.requests.note_launches(
            [Launch(KEYS[0], SCRAPING, 0, "p", "c", deaths=number - 1)], NOW
        )
        found = _end(ledger, number, is_due=True)
        expected = None if number < MOST_DEATHS else NOW
        assert (found.deaths, found.launched_at) == (number, expected)
    assert _end(ledger, 99, is_due=False).deaths == 0
    assert _end(ledger, 100, is_due=True).deaths == 1
    ledger.requests.release([(SCRAPING, KEYS[0])], now=LATER)
    assert _one(ledger).deaths == 0


# -- a person's cancel ------------------------------------------------------------------------


def test_a_cancel_holds_the_batches_of_the_run_in_its_phase(ledger: Ledger) -> None:
    _ask(ledger, *KEYS)
    _ask(ledger, *KEYS, phase=ENRICHMENT)
    _cancel(ledger, *KEYS[:2])
    held = {pair for pair, one in ledger.requests.all().items() if one.held_reason}
    assert held == {(SCRAPING, KEYS[0]), (SCRAPING, KEYS[1])}


def test_what_is_released_is_held_no_more_and_counts_anew(ledger: Ledger) -> None:
    _ask(ledger, *KEYS)
    _launch(ledger, attempts=3)
    _cancel(ledger, *KEYS)
    ledger.requests.release([(SCRAPING, KEYS[0]), (ENRICHMENT, KEYS[1]), (SCRAPING, "nowhere")])
    found = _one(ledger)
    assert (found.held_reason, found.attempts, found.launches) == (None, 0, 1)
    assert _one(ledger, KEYS[1]).held_reason == "cancelled"


@pytest.mark.parametrize("how", ["release", "ask_by_person"])
def test_a_cancel_that_is_noticed_late_does_not_hold_what_a_person_wanted_since(
    ledger: Ledger, how: str
) -> None:
    _ask(ledger)
    if how == "release":
        ledger.requests.release([(SCRAPING, KEYS[0])], now=NOW + 20)
    else:
        ledger.requests.ask_by_person(KEYS[:1], [SCRAPING], scope="scope", now=NOW + 20)
    _cancel(ledger, now=NOW + 60, ended_at=NOW + 10)
    assert (_one(ledger).held_reason, _one(ledger).last_run_id) == (None, "run-1")
    _cancel(ledger, now=NOW + 60, ended_at=NOW + 30)
    assert _one(ledger).held_reason == "cancelled"


def test_a_cancel_does_not_hold_what_is_settled(ledger: Ledger) -> None:
    _ask(ledger, *KEYS)
    mine = work.c.domain.in_(["d0.example", "d1.example", "d2.example"])
    with ledger.database.write() as connection:
        connection.execute(
            update(work).where(work.c.phase == SCRAPING, mine).values(state="succeeded")
        )
    _cancel(ledger, *KEYS)
    held = [key for key in KEYS if _one(ledger, key).held_reason]
    assert held == KEYS[1:]  # the first one is settled, the second one half
    assert _one(ledger).last_run_id == "run-1"
    with ledger.database.write() as connection:
        connection.execute(update(work).where(mine).values(refresh_asked=1))
    ledger.requests.hold(KEYS, SCRAPING, "again", NOW)
    assert _one(ledger).held_reason == "again"  # it was to be worked on once more


def test_a_hold_leaves_what_was_wanted_since_it_was_decided(ledger: Ledger) -> None:
    _ask(ledger)
    ledger.requests.hold(KEYS, SCRAPING, "too old", NOW - 1)
    assert _one(ledger).held_reason is None


# -- a person's run that died before it could say so -------------------------------------------


def _person_asked(ledger: Ledger, asked_at: float) -> None:
    ledger.requests.note_person_asked(KEYS, SCRAPING, "person", asked_at, LATER)


def test_a_persons_run_ends_the_hold_though_it_never_said_so(ledger: Ledger) -> None:
    _ask(ledger, KEYS[0])
    _launch(ledger, attempts=3)
    _cancel(ledger, now=NOW + 60, ended_at=NOW + 10)
    _person_asked(ledger, NOW + 10.5)
    found = _one(ledger)
    assert (found.held_reason, found.attempts) == (None, 0)
    assert (found.scope, found.requested_at) == ("person", NOW + 10.5)
    assert set(ledger.requests.all()) == {(SCRAPING, KEYS[0])}  # it asks for nothing else


def test_a_persons_run_does_not_end_a_hold_from_later(ledger: Ledger) -> None:
    _ask(ledger)
    _cancel(ledger, ended_at=NOW + 10)
    before = _one(ledger)
    _person_asked(ledger, NOW + 9)
    assert _one(ledger) == before


def test_a_run_that_has_asked_itself_changes_nothing_once_more(ledger: Ledger) -> None:
    ledger.requests.ask_by_person(KEYS, [SCRAPING], scope="other", now=NOW + 5)
    _launch(ledger, attempts=2, now=NOW + 6)
    before = _one(ledger)
    _person_asked(ledger, NOW + 4)
    assert _one(ledger) == before


def test_what_waited_for_a_person_goes_on_after_his_run_died(ledger: Ledger) -> None:
    _ask(ledger)
    with ledger.database.write() as connection:
        waits = {"state": "waiting", "kind": "auth"}
        connection.execute(update(work).where(work.c.phase == SCRAPING).values(**waits))
    _person_asked(ledger, NOW + 10)
    tallies = ledger.work.tallies(SCRAPING, KEYS[:2])
    assert tallies[KEYS[0]].waiting_kinds == {"waiting": 2}
    assert tallies[KEYS[1]].waiting_kinds == {"auth": 2}
