"""Waits for a person end when one acts, whatever becomes of the run; and who still waits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from resources.adapters.ledger.calls import Budget
from resources.adapters.ledger.ledger import Ledger
from resources.core.errors import Failure, FailureKind
from resources.core.models import Phase, RawAnswer, State
from resources.core.recovery import OpenWork, open_work
from resources.core.rounds import Change
from resources.core.tallies import NOT_TRIED
from tests.support.ledgers import CODE, add_list
from tests.support.time import NOW

PHASE = Phase.COMPANY_ENRICHMENT
ONE, TWO = "a-00001", "a-00002"
DOMAINS = [f"d{number}.example" for number in range(4)]
KINDS = (FailureKind.AUTH, FailureKind.QUOTA_EXHAUSTED)


@pytest.fixture(autouse=True)
def _list(ledger: Ledger) -> None:
    add_list(ledger, "a", DOMAINS, batch_size=2)
    ledger.requests.ask([ONE, TWO], [PHASE], scope="scope", now=NOW)


def _attempt(
    ledger: Ledger,
    keys: Sequence[str],
    state: State,
    kind: FailureKind | None = None,
    **more: float,
) -> None:
    """Let an attempt on all that is open in these batches end so."""
    worker = ledger.workers.begin(PHASE, "run", NOW)
    for task in ledger.work.claim(worker, PHASE, keys, 100, NOW + 1, NOW):
        change = Change(task.domain, state, 0, kind=kind, reason="refused", **more)  # type: ignore[arg-type]
        ledger.work.settle(worker, PHASE, change, CODE, NOW)
    ledger.workers.end(worker, NOW, "done")


def _open(ledger: Ledger, key: str = ONE) -> OpenWork:
    return open_work(ledger.work.tallies(PHASE, [key])[key])


def _ask(ledger: Ledger, key: str = ONE) -> None:
    ledger.requests.ask_by_person([key], [PHASE], scope="person", now=NOW + 10)


@pytest.mark.parametrize("kind", [*KINDS, FailureKind.BUDGET_EXHAUSTED])
def test_what_waited_for_a_person_is_due_once_one_asks_though_no_run_began(
    ledger: Ledger, kind: FailureKind
) -> None:
    _attempt(ledger, [ONE, TWO], State.WAITING, kind, not_before=NOW + 900)
    _ask(ledger)
    assert _open(ledger) == OpenWork({"waiting": 2}, 0, 0.0)
    assert _open(ledger, TWO) == OpenWork({kind: 2}, 0, None)
    event = ledger.work.history(DOMAINS[0])[-1]
    assert (event["what"], event["at"]) == ("brought_back", NOW + 10)
    result = ledger.work.result(PHASE, DOMAINS[0])
    assert result is not None
    assert (result.kind, result.not_before) == (None, 0.0)


def test_a_refresh_that_waited_for_a_person_keeps_what_it_has_and_is_due(ledger: Ledger) -> None:
    _attempt(ledger, [ONE], State.REFUSED, FailureKind.ROBOTS)
    ledger.work.expire(PHASE, [ONE], NOW + 1, NOW)
    _attempt(ledger, [ONE], State.WAITING, FailureKind.AUTH)
    assert _open(ledger) == OpenWork({"auth": 2}, 0, None)
    _ask(ledger)
    assert _open(ledger) == OpenWork({NOT_TRIED: 2}, 0, 0.0)
    result = ledger.work.result(PHASE, DOMAINS[0])
    assert result is not None
    assert (result.state, result.kind, result.reason) == (State.REFUSED, "robots", "refused")


def test_what_waits_for_something_else_or_is_in_hand_stays_as_it_is(ledger: Ledger) -> None:
    _attempt(ledger, [ONE], State.WAITING, FailureKind.TIMEOUT, not_before=NOW + 900)
    _attempt(ledger, [TWO], State.WAITING, FailureKind.AUTH)
    worker = ledger.workers.begin(PHASE, "run", NOW)
    held = ledger.work.claim(worker, PHASE, [TWO], 1, NOW + 1, NOW)[0].domain
    ledger.requests.ask_by_person([ONE, TWO], [PHASE], scope="person", now=NOW + 10)
    assert _open(ledger) == OpenWork({"timeout": 2}, 0, NOW + 900)
    result = ledger.work.result(PHASE, held)
    assert result is not None
    assert result.kind == "auth"


def test_who_waits_for_a_person_is_counted_by_kind_and_since_when(ledger: Ledger) -> None:
    _attempt(ledger, [ONE], State.WAITING, FailureKind.AUTH)
    _attempt(ledger, [TWO], State.WAITING, FailureKind.QUOTA_EXHAUSTED)
    count = ledger.person_waits.count
    assert count(PHASE, KINDS, NOW - 1) == {"auth": 2, "quota_exhausted": 2}
    assert count(PHASE, KINDS[:1], NOW - 1) == {"auth": 2}
    assert count(PHASE, KINDS, NOW) == {}
    assert count(Phase.PAGE_SCRAPING, KINDS, 0.0) == {}


def test_a_refresh_that_waits_for_a_person_counts_as_well(ledger: Ledger) -> None:
    _attempt(ledger, [ONE], State.SUCCEEDED)
    ledger.work.expire(PHASE, [ONE], NOW + 1, NOW)
    _attempt(ledger, [ONE], State.WAITING, FailureKind.AUTH)
    assert ledger.person_waits.count(PHASE, KINDS, 0.0) == {"auth": 2}


def test_what_a_cancel_holds_or_a_worker_has_in_hand_does_not_count(ledger: Ledger) -> None:
    _attempt(ledger, [ONE, TWO], State.WAITING, FailureKind.AUTH)
    ledger.requests.hold([ONE], PHASE, "cancelled", NOW)
    assert ledger.person_waits.count(PHASE, KINDS, 0.0) == {"auth": 2}
    worker = ledger.workers.begin(PHASE, "run", NOW)
    ledger.work.claim(worker, PHASE, [TWO], 1, NOW + 1, NOW)
    assert ledger.person_waits.count(PHASE, KINDS, 0.0) == {"auth": 1}


def test_when_a_provider_last_answered_is_known(ledger: Ledger) -> None:
    def call(number: int, answer: RawAnswer | Failure) -> None:
        domain = DOMAINS[number]
        call_id = ledger.calls.begin("pdl", [domain], None, Budget("s", None), 1.0, NOW)
        ledger.calls.finish(call_id, "pdl", {domain: answer}, NOW + number)

    refused = Failure(FailureKind.AUTH, "the key is wrong")
    assert ledger.person_waits.answered_at("pdl") == 0.0
    call(0, refused)
    assert ledger.person_waits.answered_at("pdl") == 0.0
    call(1, RawAnswer(body=b"{}", url="https://pdl.example/", at=NOW, credits=1.0))
    call(2, refused)
    call_id = ledger.calls.begin("pdl", DOMAINS[3:], None, Budget("s", None), 1.0, NOW)
    ledger.calls.fail(call_id, refused, NOW + 3)
    assert ledger.person_waits.answered_at("pdl") == NOW + 1
    assert ledger.person_waits.answered_at("wikidata") == 0.0


def test_when_a_person_last_wanted_something_in_a_phase_is_known(ledger: Ledger) -> None:
    assert ledger.person_waits.last_asked_at(PHASE) == 0.0
    _ask(ledger)
    assert ledger.person_waits.last_asked_at(PHASE) == NOW + 10
    ledger.requests.release([(PHASE, ONE)], now=NOW + 20)
    assert ledger.person_waits.last_asked_at(PHASE) == NOW + 20
    assert ledger.person_waits.last_asked_at(Phase.PAGE_SCRAPING) == 0.0
