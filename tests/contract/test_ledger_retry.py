"""What `pipeline retry` changes in the ledger: which rows are meant, and what they become."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from resources.adapters.ledger.bringing_back import DOMAINS_NAMED, BringingBack, BroughtBack
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import work, workers
from resources.core.bringing_back import Selection
from resources.core.errors import Failure, FailureKind
from resources.core.models import Phase, State
from resources.core.rounds import Change
from resources.core.tallies import NOT_TRIED
from tests.support.ledgers import CODE, add_list
from tests.support.time import NOW

ENRICHMENT, SCRAPING = Phase.COMPANY_ENRICHMENT, Phase.PAGE_SCRAPING
LATER = NOW + 100
DOMAINS = [f"d{number}.example" for number in range(6)]
DOWN = Failure(FailureKind.HTTP_5XX, "It answered 503.", url="https://d/")


@pytest.fixture(autouse=True)
def _lists(ledger: Ledger) -> None:
    """Two batches of one list, and another list that shares the first domain."""
    add_list(ledger, "a", DOMAINS, batch_size=3)
    add_list(ledger, "b", [DOMAINS[0], "only-b.example"])


def _settle(
    ledger: Ledger,
    domain: str,
    state: State,
    kind: FailureKind | None = None,
    phase: Phase = SCRAPING,
    *,
    now: float = NOW,
    **values: Any,
) -> None:
    """One attempt of a worker on a domain."""
    worker = ledger.workers.begin(phase, "run", now)
    keys = [batch.key for batch in ledger.lists.batches_of()]
    taken = ledger.work.claim(worker, phase, keys, 100, now + 1, now)
    assert domain in [task.domain for task in taken]
    failure = values.pop("failure", Failure(kind, f"{kind} it was") if kind else None)
    reason = failure.message if failure else None
    change = Change(
        domain, state, **{"rounds": 0, "kind": kind, "reason": reason, "failure": failure, **values}
    )
    ledger.work.settle(worker, phase, change, CODE, now)
    ledger.workers.end(worker, now, "finished")


def _give_up(ledger: Ledger, domain: str, **values: Any) -> None:
    _settle(
        ledger, domain, State.QUARANTINED, FailureKind.HTTP_5XX, rounds=8, failure=DOWN, **values
    )


def _back(ledger: Ledger, now: float = LATER, **selection: Any) -> BroughtBack:
    return BringingBack(ledger.database).bring_back(Selection(**selection), now)


def _row(ledger: Ledger, domain: str, phase: Phase = SCRAPING) -> Any:
    with ledger.database.read() as connection:
        return connection.execute(
            select(work).where(work.c.domain == domain, work.c.phase == phase)
        ).one()


def _claimable(ledger: Ledger, phase: Phase = SCRAPING, now: float = LATER) -> set[str]:
    worker = ledger.workers.begin(phase, "run", now)
    keys = [batch.key for batch in ledger.lists.batches_of()]
    taken = ledger.work.claim(worker, phase, keys, 100, now + 1, now)
    ledger.workers.end(worker, now, "finished")
    return {task.domain for task in taken}


def _tally(ledger: Ledger, key: str = "a-00001", phase: Phase = SCRAPING) -> Any:
    return ledger.work.tallies(phase, [key])[key]


# -- what was given up --------------------------------------------------------------------------


def test_what_was_given_up_stays_settled_and_is_tried_again_with_fresh_rounds(
    ledger: Ledger,
) -> None:
    _give_up(ledger, DOMAINS[1])
    before = _tally(ledger)
    assert DOMAINS[1] not in _claimable(ledger)
    done = _back(ledger, is_quarantined=True)
    assert (done.phases, done.settled, done.in_hand) == ({SCRAPING: 1}, 1, 0)
    assert (list(done.batches), list(done.domains)) == (["a-00001"], [DOMAINS[1]])
    row = _row(ledger, DOMAINS[1])
    assert (row.state, row.kind, row.settled_at) == (State.QUARANTINED, "http_5xx", NOW)
    assert (row.refresh_asked, row.rounds, row.not_before) == (1, 0, 0)
    after = _tally(ledger)
    assert (after.unsettled, after.refreshing) == (before.unsettled, 1)
    assert after.fingerprint == before.fingerprint
    assert DOMAINS[1] in _claimable(ledger)


def test_a_second_chance_that_succeeds_settles_it_anew(ledger: Ledger) -> None:
    _give_up(ledger, DOMAINS[1])
    _back(ledger, is_quarantined=True)
    _settle(ledger, DOMAINS[1], State.SUCCEEDED, payload=b"found", now=LATER)
    row = _row(ledger, DOMAINS[1])
    assert (row.state, row.kind, row.reason) == (State.SUCCEEDED, None, None)
    assert (row.settled_at, row.refresh_asked) == (LATER, 0)
    assert _back(ledger, is_quarantined=True).phases == {}


def test_a_second_chance_that_waits_leaves_it_settled_as_it_was(ledger: Ledger) -> None:
    _give_up(ledger, DOMAINS[1])
    _back(ledger, is_quarantined=True)
    _settle(
        ledger,
        DOMAINS[1],
        State.WAITING,
        FailureKind.TIMEOUT,
        rounds=1,
        not_before=LATER + 60,
        now=LATER,
    )
    row = _row(ledger, DOMAINS[1])
    assert (row.state, row.kind, row.refresh_asked) == (State.QUARANTINED, "http_5xx", 1)
    counted = _tally(ledger)
    assert counted.refreshing_kinds == {"timeout": 1}
    assert (counted.next_refresh_at, counted.next_round_at) == (LATER + 60, None)


def test_what_is_given_up_again_has_the_newer_reason(ledger: Ledger) -> None:
    _give_up(ledger, DOMAINS[1])
    _back(ledger, is_quarantined=True)
    before = _tally(ledger).fingerprint
    _settle(ledger, DOMAINS[1], State.QUARANTINED, FailureKind.TLS, rounds=8, now=LATER)
    row = _row(ledger, DOMAINS[1])
    assert (row.state, row.kind, row.reason) == (State.QUARANTINED, "tls", "tls it was")
    assert (row.settled_at, row.rounds, row.refresh_asked) == (LATER, 8, 0)
    assert _tally(ledger).fingerprint != before
    whats = [event["what"] for event in ledger.work.history(DOMAINS[1])]
    assert whats == ["quarantined", "brought_back", "quarantined"]


def test_what_had_a_result_keeps_it_when_the_second_chance_is_given_up(ledger: Ledger) -> None:
    _settle(ledger, DOMAINS[1], State.SUCCEEDED, payload=b"old")
    _back(ledger, domains=[DOMAINS[1]], phase=SCRAPING)
    _settle(ledger, DOMAINS[1], State.QUARANTINED, FailureKind.TLS, rounds=8, now=LATER)
    result = ledger.work.result(SCRAPING, DOMAINS[1])
    assert result is not None
    assert (result.state, result.kind, result.payload) == (State.SUCCEEDED, None, b"old")


# -- what waits ---------------------------------------------------------------------------------


def test_what_waits_for_a_person_is_due_at_once_whatever_was_asked_for(ledger: Ledger) -> None:
    _settle(
        ledger,
        DOMAINS[0],
        State.WAITING,
        FailureKind.QUOTA_EXHAUSTED,
        ENRICHMENT,
        not_before=NOW + 86_400,
        asked_to_wait_until=NOW + 86_400,
    )
    done = _back(ledger, kind=FailureKind.QUOTA_EXHAUSTED)
    assert (done.phases, done.settled, done.later) == ({ENRICHMENT: 1}, 0, 0)
    row = _row(ledger, DOMAINS[0], ENRICHMENT)
    assert (row.state, row.not_before, row.asked_to_wait_until) == (State.WAITING, 0, 0)
    assert DOMAINS[0] in _claimable(ledger, ENRICHMENT)
    # It is in two lists: a run of either takes it up.
    assert list(done.batches) == ["a-00001", "b-00001"]


def test_a_wait_that_the_other_side_asked_for_is_kept_and_told(ledger: Ledger) -> None:
    for domain, asked in ((DOMAINS[0], LATER + 600), (DOMAINS[1], LATER + 300), (DOMAINS[2], 0.0)):
        _settle(
            ledger,
            domain,
            State.WAITING,
            FailureKind.RATE_LIMITED,
            rounds=5,
            not_before=LATER + 900,
            asked_to_wait_until=asked,
        )
    done = _back(ledger, batch_key="a-00001")
    assert (done.phases, done.later, done.later_until) == ({SCRAPING: 3}, 2, LATER + 300)
    rows = [_row(ledger, domain) for domain in DOMAINS[:3]]
    assert [row.not_before for row in rows] == [LATER + 600, LATER + 300, 0]
    assert {row.rounds for row in rows} == {0}
    assert DOMAINS[2] in _claimable(ledger)
    assert not _claimable(ledger) & set(DOMAINS[:2])


def test_rounds_and_deaths_are_forgotten(ledger: Ledger) -> None:
    _settle(ledger, DOMAINS[0], State.WAITING, FailureKind.TIMEOUT, rounds=7)
    with ledger.database.write() as connection:
        connection.execute(
            update(work).where(work.c.domain == DOMAINS[0]).values(deaths=4, deaths_alone=1)
        )
    _back(ledger, domains=[DOMAINS[0]], phase=SCRAPING)
    row = _row(ledger, DOMAINS[0])
    assert (row.rounds, row.deaths, row.deaths_alone) == (0, 0, 0)


def test_a_second_chance_that_waits_for_a_person_is_brought_back_by_that_reason(
    ledger: Ledger,
) -> None:
    _settle(ledger, DOMAINS[0], State.NOT_FOUND, phase=ENRICHMENT)
    _back(ledger, domains=[DOMAINS[0]], phase=ENRICHMENT)
    _settle(
        ledger,
        DOMAINS[0],
        State.WAITING,
        FailureKind.QUOTA_EXHAUSTED,
        ENRICHMENT,
        not_before=LATER + 900,
        asked_to_wait_until=LATER + 900,
        now=LATER,
    )
    counted = _tally(ledger, phase=ENRICHMENT)
    assert counted.refreshing_kinds == {"quota_exhausted": 1}
    assert counted.next_refresh_at is None
    assert DOMAINS[0] not in _claimable(ledger, ENRICHMENT)
    done = _back(ledger, kind=FailureKind.QUOTA_EXHAUSTED)
    assert (done.phases, done.later) == ({ENRICHMENT: 1}, 0)
    assert DOMAINS[0] in _claimable(ledger, ENRICHMENT)


# -- selections ---------------------------------------------------------------------------------


@pytest.fixture
def mixed(ledger: Ledger) -> None:
    """One of everything."""
    _give_up(ledger, DOMAINS[0])
    _settle(ledger, DOMAINS[1], State.REFUSED, FailureKind.TLS_CERTIFICATE)
    _settle(ledger, DOMAINS[2], State.SUCCEEDED, payload=b"x")
    _settle(ledger, DOMAINS[3], State.WAITING, FailureKind.HTTP_5XX, rounds=1, failure=DOWN)
    pdl = Failure(FailureKind.AUTH, "wrong key", provider="pdl")
    _settle(ledger, DOMAINS[0], State.WAITING, FailureKind.AUTH, ENRICHMENT, failure=pdl)
    rdap = Failure(FailureKind.TIMEOUT, "slow", provider="rdap")
    _settle(ledger, DOMAINS[4], State.WAITING, FailureKind.TIMEOUT, ENRICHMENT, failure=rdap)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"is_quarantined": True}, {(SCRAPING, 0)}),
        ({"kind": FailureKind.HTTP_5XX}, {(SCRAPING, 0), (SCRAPING, 3)}),
        ({"kind": FailureKind.HTTP_5XX, "is_quarantined": True}, {(SCRAPING, 0)}),
        ({"kind": FailureKind.TLS_CERTIFICATE}, {(SCRAPING, 1)}),
        ({"kind": FailureKind.TIMEOUT, "phase": SCRAPING}, set()),
        ({"provider": "pdl"}, {(ENRICHMENT, 0)}),
        ({"provider": "rdap", "batch_key": "a-00002"}, {(ENRICHMENT, 4)}),
        ({"provider": "rdap", "batch_key": "a-00001"}, set()),
        ({"batch_key": "a-00001"}, {(SCRAPING, 0), (ENRICHMENT, 0)}),
        ({"list_name": "b"}, {(SCRAPING, 0), (ENRICHMENT, 0)}),
        ({"list_name": "b", "batch_key": "a-00002"}, set()),
        ({"phase": ENRICHMENT}, {(ENRICHMENT, 0), (ENRICHMENT, 4)}),
        ({"domains": [DOMAINS[2]]}, {(SCRAPING, 2)}),
        ({"domains": [DOMAINS[0], DOMAINS[1]], "phase": SCRAPING}, {(SCRAPING, 0), (SCRAPING, 1)}),
        ({"domains": [DOMAINS[2]], "is_quarantined": True}, set()),
    ],
)
def test_a_selection_means_what_fits_all_of_it(
    ledger: Ledger, mixed: None, selection: dict[str, Any], expected: set[tuple[Phase, int]]
) -> None:
    done = _back(ledger, **selection)
    found = {
        (Phase(event["phase"]), number)
        for number, domain in enumerate(DOMAINS)
        for event in ledger.work.history(domain)
        if event["what"] == "brought_back"
    }
    assert found == expected
    assert done.phases.total() == len(expected)
    assert set(done.domains) == {DOMAINS[number] for _, number in expected}


def test_what_was_never_tried_is_left_as_it_is_and_counted(ledger: Ledger) -> None:
    done = _back(ledger, domains=["only-b.example"])
    assert (done.phases, done.not_tried) == ({}, 2)
    assert ledger.work.history("only-b.example") == []
    assert _row(ledger, "only-b.example").updated_at == NOW


def test_only_the_batches_that_were_selected_are_named(ledger: Ledger, mixed: None) -> None:
    assert list(_back(ledger, batch_key="b-00001").batches) == ["b-00001"]
    assert list(_back(ledger, list_name="a").batches) == ["a-00001", "a-00002"]


def test_bringing_back_twice_changes_nothing_more(ledger: Ledger, mixed: None) -> None:
    first = _back(ledger, provider="pdl")
    rows = _row(ledger, DOMAINS[0], ENRICHMENT)
    assert _back(ledger, provider="pdl") == first
    assert _row(ledger, DOMAINS[0], ENRICHMENT) == rows


def test_the_first_hundred_domains_are_named_and_all_are_brought_back(ledger: Ledger) -> None:
    names = [f"many-{number:04d}.example" for number in range(4_500)]
    add_list(ledger, "many", names, batch_size=1_000)
    with ledger.database.write() as connection:
        connection.execute(
            update(work)
            .where(work.c.phase == SCRAPING, work.c.domain.like("many-%"))
            .values(state=State.QUARANTINED, kind=FailureKind.HTTP_5XX, rounds=8, settled_at=NOW)
        )
    done = _back(ledger, domains=[*names, names[0]], is_quarantined=True)
    assert done.phases == {SCRAPING: 4_500}
    assert list(done.domains) == names[:DOMAINS_NAMED]
    assert len(done.batches) == 5
    tallies = ledger.work.tallies(SCRAPING, done.batches).values()
    assert sum(one.refreshing for one in tallies) == 4_500
    assert len(ledger.work.history(names[-1])) == 1


# -- who holds it -------------------------------------------------------------------------------


def test_what_a_living_worker_holds_is_left_alone_and_counted(
    ledger: Ledger, second: Ledger
) -> None:
    for domain in DOMAINS[:2]:
        _settle(ledger, domain, State.WAITING, FailureKind.TIMEOUT, rounds=3)
    worker = ledger.workers.begin(SCRAPING, "run", LATER)
    (task,) = ledger.work.claim(worker, SCRAPING, ["a-00001"], 1, LATER, LATER)
    assert task.domain == DOMAINS[0]
    done = _back(second, kind=FailureKind.TIMEOUT)
    assert (done.phases, done.in_hand, list(done.domains)) == ({SCRAPING: 1}, 1, [DOMAINS[1]])
    assert _row(ledger, DOMAINS[0]).rounds == 3
    # It still is the worker's own.
    change = Change(DOMAINS[0], State.SUCCEEDED, rounds=3, payload=b"x")
    ledger.work.settle(worker, SCRAPING, change, CODE, LATER)


def test_a_second_chance_in_hand_waits_for_nothing(ledger: Ledger) -> None:
    _give_up(ledger, DOMAINS[0])
    _back(ledger, is_quarantined=True)
    slow = {"rounds": 1, "not_before": LATER + 60, "now": LATER}
    _settle(ledger, DOMAINS[0], State.WAITING, FailureKind.TIMEOUT, **slow)
    worker = ledger.workers.begin(SCRAPING, "run", LATER + 90)
    ledger.work.claim(worker, SCRAPING, ["a-00001"], 1, LATER + 90, LATER + 90)
    counted = _tally(ledger)
    assert (counted.refreshing, counted.refreshing_kinds) == (1, {NOT_TRIED: 1})
    assert counted.next_refresh_at is None  # nobody is to run again for it at once


def test_what_an_ended_worker_seems_to_hold_is_brought_back(ledger: Ledger) -> None:
    _settle(ledger, DOMAINS[0], State.WAITING, FailureKind.TIMEOUT, rounds=3)
    worker = ledger.workers.begin(SCRAPING, "run", LATER)
    ledger.work.claim(worker, SCRAPING, ["a-00001"], 1, LATER, LATER)
    with ledger.database.write() as connection:
        connection.execute(update(workers).where(workers.c.id == worker).values(ended_at=LATER))
    done = _back(ledger, kind=FailureKind.TIMEOUT)
    assert (done.phases, done.in_hand) == ({SCRAPING: 1}, 0)
    assert _row(ledger, DOMAINS[0]).claimed_by is None


# -- history ------------------------------------------------------------------------------------


def test_the_history_tells_that_it_was_brought_back_and_from_where(ledger: Ledger) -> None:
    _give_up(ledger, DOMAINS[0])
    _back(ledger, is_quarantined=True)
    event = ledger.work.history(DOMAINS[0])[-1]
    assert (event["what"], event["phase"], event["at"]) == ("brought_back", SCRAPING, LATER)
    assert event["url"] == "https://d/"
    assert event["kind"] is None  # it is no failure
    assert "quarantined (http_5xx) after 8 rounds" in str(event["message"])
