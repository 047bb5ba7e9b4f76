"""Which batches `pipeline retry` lets be healed again, and which it asks for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from resources.adapters.ledger.bringing_back import BringingBack, BroughtBack
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.releasing import NOTHING, Released
from resources.adapters.ledger.requests import Launch
from resources.adapters.ledger.schema import budgets, work
from resources.core.bringing_back import Selection
from resources.core.errors import FailureKind
from resources.core.models import FETCHING, Phase, State
from resources.core.recovery import (
    MOST_FRUITLESS_RUNS,
    Action,
    Standing,
    decide,
    open_work,
)
from tests.support.ledgers import add_list
from tests.support.time import NOW

ENRICHMENT, SCRAPING, PROFILES = Phase
LATER = NOW + 100
DOMAINS = [f"d{number}.example" for number in range(4)]
A1, A2, B1 = "a-00001", "a-00002", "b-00001"


@pytest.fixture(autouse=True)
def _lists(ledger: Ledger) -> None:
    """Two batches of one list, wanted in both phases, and another list that shares a domain and
    that nobody wants."""
    add_list(ledger, "a", DOMAINS, batch_size=2)
    add_list(ledger, "b", [DOMAINS[0], "only-b.example"])
    ledger.requests.ask([A1, A2], FETCHING, scope="scope", now=NOW)


def _cancel(ledger: Ledger, *keys: str, phase: Phase = SCRAPING) -> None:
    ledger.requests.note_run_ended(keys, phase, "run-1", now=NOW, held_reason="cancelled")


def _give_up(ledger: Ledger, key: str) -> None:
    progress = ledger.work.tallies(SCRAPING, [key])[key].progress
    launch = Launch(key, SCRAPING, MOST_FRUITLESS_RUNS, progress, code_version="")
    ledger.requests.note_launches([launch], NOW)


def _wait(ledger: Ledger, domain: str, kind: FailureKind, phase: Phase = SCRAPING) -> None:
    with ledger.database.write() as connection:
        connection.execute(
            update(work)
            .where(work.c.phase == phase, work.c.domain == domain)
            .values(state=State.WAITING, kind=kind, reason="it was so", rounds=1)
        )


def _back(ledger: Ledger, **selection: Any) -> BroughtBack:
    return BringingBack(ledger.database).bring_back(Selection(**selection), LATER)


def _held(ledger: Ledger) -> set[tuple[Phase, str]]:
    return {pair for pair, one in ledger.requests.all().items() if one.held_reason}


def _action(ledger: Ledger, key: str, phase: Phase) -> Action:
    """What is done about a batch by itself."""
    tally = ledger.work.tallies(phase, [key])[key]
    request = ledger.requests.all()[phase, key]
    standing = Standing(request, open_work(tally), tally.progress, is_recorded=False)
    return decide(standing, LATER + 1).action


# -- cancelled batches ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "released", "still_held"),
    [
        ({"batch_key": A1}, (A1,), {(SCRAPING, A2), (ENRICHMENT, A2)}),
        ({"list_name": "a"}, (A1, A2), set()),
        ({"list_name": "a", "phase": SCRAPING}, (A1, A2), {(ENRICHMENT, A2)}),
        ({"phase": ENRICHMENT}, (A2,), {(SCRAPING, A1), (SCRAPING, A2)}),
        ({"list_name": "b"}, (), {(SCRAPING, A1), (SCRAPING, A2), (ENRICHMENT, A2)}),
    ],
    ids=["batch", "list", "list_and_phase", "phase", "another_list"],
)
def test_cancelled_batches_are_released_though_none_of_their_domains_was_tried(
    ledger: Ledger,
    selection: dict[str, Any],
    released: tuple[str, ...],
    still_held: set[tuple[Phase, str]],
) -> None:
    _cancel(ledger, A1, A2)
    _cancel(ledger, A2, phase=ENRICHMENT)
    done = _back(ledger, **selection)
    assert (done.phases, done.released) == ({}, Released(cancelled=released))
    assert _held(ledger) == still_held


def test_a_cancelled_batch_runs_by_itself_once_it_is_released(ledger: Ledger) -> None:
    _cancel(ledger, A1)
    assert _action(ledger, A1, SCRAPING) is Action.HELD
    _back(ledger, batch_key=A1)
    assert _action(ledger, A1, SCRAPING) is Action.RUN


def test_a_batch_whose_profiles_were_cancelled_is_released_with_it(ledger: Ledger) -> None:
    _cancel(ledger, A1, phase=PROFILES)
    assert _back(ledger, batch_key=A1).released.cancelled == (A1,)
    assert _held(ledger) == set()


@pytest.mark.parametrize(
    "selection",
    [
        {"kind": FailureKind.TIMEOUT},
        {"list_name": "a", "kind": FailureKind.TIMEOUT},
        {"list_name": "a", "is_quarantined": True},
        {"batch_key": A2, "provider": "pdl"},
        {"domains": [DOMAINS[2]]},
    ],
    ids=["kind", "list_and_kind", "quarantined", "provider", "domain"],
)
def test_who_means_some_domains_releases_only_the_batches_that_hold_such(
    ledger: Ledger, selection: dict[str, Any]
) -> None:
    _cancel(ledger, A1, A2)
    assert _back(ledger, **selection).released == NOTHING
    _wait(ledger, DOMAINS[0], FailureKind.TIMEOUT)
    done = _back(ledger, kind=FailureKind.TIMEOUT)
    assert done.released == Released(cancelled=(A1,))
    assert _held(ledger) == {(SCRAPING, A2)}


def test_a_cancel_that_is_noticed_only_now_holds_nothing_that_was_released(
    ledger: Ledger,
) -> None:
    _back(ledger, list_name="a")
    ledger.requests.note_run_ended(
        [A1], SCRAPING, "run-1", now=LATER + 30, held_reason="cancelled", ended_at=LATER - 5
    )
    assert _held(ledger) == set()


# -- given up ---------------------------------------------------------------------------------


def test_what_automatic_runs_gave_up_is_tried_again(ledger: Ledger) -> None:
    _give_up(ledger, A1)
    assert _action(ledger, A1, SCRAPING) is Action.GIVEN_UP
    assert _back(ledger, list_name="a").released == Released(given_up=(A1,))
    assert _action(ledger, A1, SCRAPING) is Action.RUN
    assert _back(ledger, list_name="a").released == NOTHING


@pytest.mark.parametrize(
    "kind", [FailureKind.AUTH, FailureKind.QUOTA_EXHAUSTED, FailureKind.BUDGET_EXHAUSTED]
)
def test_what_a_person_has_mended_runs_by_itself_once_it_is_brought_back(
    ledger: Ledger, kind: FailureKind
) -> None:
    for domain in DOMAINS[:2]:
        _wait(ledger, domain, kind, ENRICHMENT)
    assert _action(ledger, A1, ENRICHMENT) is Action.PERSON
    _back(ledger, kind=kind)
    tally = ledger.work.tallies(ENRICHMENT, [A1])[A1]
    assert tally.states == {State.WAITING: 2}
    assert kind not in tally.waiting_kinds
    assert _action(ledger, A1, ENRICHMENT) is Action.RUN


def test_what_waits_for_something_else_keeps_its_reason(ledger: Ledger) -> None:
    _wait(ledger, DOMAINS[0], FailureKind.TIMEOUT)
    _back(ledger, kind=FailureKind.TIMEOUT)
    assert ledger.work.tallies(SCRAPING, [A1])[A1].waiting_kinds == {"timeout": 1, "pending": 1}


# -- what nobody wanted -----------------------------------------------------------------------


def test_another_list_that_holds_a_domain_is_not_begun_by_bringing_it_back(ledger: Ledger) -> None:
    before = set(ledger.requests.all())
    _wait(ledger, DOMAINS[0], FailureKind.TIMEOUT)
    done = _back(ledger, domains=[DOMAINS[0]])
    assert list(done.batches) == [A1, B1]
    assert set(ledger.requests.all()) == before


def test_a_domain_that_no_wanted_batch_holds_is_wanted_from_now_on(ledger: Ledger) -> None:
    _wait(ledger, "only-b.example", FailureKind.TIMEOUT)
    _back(ledger, kind=FailureKind.TIMEOUT)
    found = ledger.requests.all()
    assert (SCRAPING, B1) in found
    assert (ENRICHMENT, B1) not in found  # that may cost, and nobody asked for it
    assert found[SCRAPING, B1].scope not in {"", "scope"}
    assert found[SCRAPING, B1].requested_at == LATER


def test_bringing_back_gives_no_new_limit_of_credits(ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        connection.execute(insert(budgets).values(scope="scope", max_credits=3.0, at=NOW))
    _wait(ledger, DOMAINS[0], FailureKind.BUDGET_EXHAUSTED, ENRICHMENT)
    _back(ledger, kind=FailureKind.BUDGET_EXHAUSTED)
    assert ledger.requests.all()[ENRICHMENT, A1].scope == "scope"
    with ledger.database.read() as connection:
        assert connection.execute(select(budgets.c.scope)).scalars().all() == ["scope"]
