"""The newest case of each reason, and the stack traces of a run."""

from __future__ import annotations

import pytest

from resources.adapters.ledger.ledger import Ledger
from resources.core.errors import Failure, FailureKind
from resources.core.models import Phase, Settled, State
from resources.core.rounds import RoundPolicy, after_attempt
from tests.support.ledgers import CODE, add_list
from tests.support.time import NOW

PHASE = Phase.PAGE_SCRAPING
KEYS = ["a-00001", "a-00002"]
DOMAINS = [f"d{number}.example" for number in range(6)]
POLICY = RoundPolicy(max_rounds=8, backoff_base_s=60)


@pytest.fixture(autouse=True)
def _list(ledger: Ledger) -> None:
    add_list(ledger, "a", DOMAINS, batch_size=3)


def _attempt(ledger: Ledger, domain: str, outcome: Failure | Settled, at: float) -> None:
    """One attempt on a domain by a worker that takes everything and gives the rest back."""
    worker = ledger.workers.begin(PHASE, "run", at)
    tasks = ledger.work.claim(worker, PHASE, KEYS, 100, at + 1e6, at)
    (task,) = [task for task in tasks if task.domain == domain]
    ledger.work.settle(worker, PHASE, after_attempt(task, outcome, at, POLICY), CODE, at)
    ledger.workers.end(worker, at, "finished")


def _bug(stack: str) -> Failure:
    return Failure(FailureKind.BUG, "unforeseen ValueError: x", stack=stack)


def test_each_kind_has_its_newest_domain_with_what_was_noted_of_it(ledger: Ledger) -> None:
    timeout = Failure(FailureKind.TIMEOUT, "slow", url="https://d0.example/", provider="pdl")
    _attempt(ledger, DOMAINS[0], timeout, NOW)
    _attempt(ledger, DOMAINS[4], Failure(FailureKind.TIMEOUT, "slower"), NOW + 1)
    _attempt(ledger, DOMAINS[0], timeout, NOW + 2)
    _attempt(ledger, DOMAINS[1], _bug("stack"), NOW + 3)
    bug, slow = ledger.work.examples(PHASE, KEYS)
    assert (slow.kind, slow.domain, slow.batch, slow.rounds) == ("timeout", DOMAINS[0], KEYS[0], 2)
    assert (slow.message, slow.url, slow.provider) == ("slow", "https://d0.example/", "pdl")
    assert (bug.kind, bug.domain, bug.stack) == ("bug", DOMAINS[1], "stack")
    (other,) = ledger.work.examples(PHASE, KEYS[1:])
    assert (other.domain, other.batch, other.message) == (DOMAINS[4], KEYS[1], "slower")


def test_what_is_settled_or_was_never_tried_is_no_example(ledger: Ledger) -> None:
    refused = Failure(FailureKind.ROBOTS, "not allowed")
    _attempt(ledger, DOMAINS[0], refused, NOW)
    _attempt(ledger, DOMAINS[1], Failure(FailureKind.TIMEOUT, "slow"), NOW)
    _attempt(ledger, DOMAINS[1], Settled(State.SUCCEEDED, payload=b"{}"), NOW + 1)
    assert ledger.work.examples(PHASE, KEYS) == []
    assert ledger.work.examples(Phase.COMPANY_ENRICHMENT, KEYS) == []


def test_a_domain_that_was_only_held_back_has_no_address(ledger: Ledger) -> None:
    ledger.work.hold(PHASE, KEYS, Failure(FailureKind.STORE, "The disk is full."), NOW)
    (held,) = ledger.work.examples(PHASE, KEYS)
    assert (held.kind, held.message, held.rounds) == ("store", "The disk is full.", 0)
    assert (held.url, held.provider, held.stack) == (None, None, None)


def test_a_domain_of_two_batches_is_shown_in_the_first(ledger: Ledger) -> None:
    add_list(ledger, "b", [DOMAINS[0]])
    _attempt(ledger, DOMAINS[0], _bug("stack"), NOW)
    keys = ["b-00001", *KEYS]
    assert [one.batch for one in ledger.work.examples(PHASE, keys)] == [KEYS[0]]
    assert [one.batch for one in ledger.work.bugs(PHASE, keys, NOW, most=9)] == [KEYS[0]]


def test_each_stack_trace_comes_once_newest_first_and_none_from_before(ledger: Ledger) -> None:
    _attempt(ledger, DOMAINS[0], _bug("before"), NOW - 1)
    _attempt(ledger, DOMAINS[1], _bug("one"), NOW)
    _attempt(ledger, DOMAINS[2], _bug("two"), NOW + 1)
    _attempt(ledger, DOMAINS[3], _bug("one"), NOW + 2)
    _attempt(ledger, DOMAINS[4], Failure(FailureKind.TIMEOUT, "slow"), NOW + 3)
    found = ledger.work.bugs(PHASE, KEYS, NOW, most=9)
    assert [(one.stack, one.domain, one.batch) for one in found] == [
        ("one", DOMAINS[3], KEYS[1]),
        ("two", DOMAINS[2], KEYS[0]),
    ]
    assert [one.stack for one in ledger.work.bugs(PHASE, KEYS, NOW, most=1)] == ["one"]
    assert [one.stack for one in ledger.work.bugs(PHASE, KEYS[:1], NOW, most=9)] == ["two", "one"]
    assert ledger.work.bugs(Phase.COMPANY_ENRICHMENT, KEYS, NOW, most=9) == []


def test_a_bug_that_was_given_up_still_shows_its_stack(ledger: Ledger) -> None:
    for at in (NOW, NOW + 100):
        _attempt(ledger, DOMAINS[0], _bug("stack"), at)
    assert ledger.work.examples(PHASE, KEYS) == []
    (given_up,) = ledger.work.bugs(PHASE, KEYS, NOW + 1, most=9)
    assert (given_up.stack, given_up.rounds) == ("stack", 2)
    assert given_up.message.startswith("Given up after 2 rounds.")
