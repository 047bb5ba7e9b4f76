"""What a phase's error carries, and when a wait in the same run can mend it."""

from __future__ import annotations

import pytest

from resources.core.errors import RULES, CallError, Failure, FailureKind
from resources.core.models import Phase, State
from resources.core.redaction import remember
from resources.core.tallies import Tally, TallyRow, tally
from resources.core.unsettled import Example, by_frequency, phase_error
from tests.support.time import NOW

PHASE = Phase.COMPANY_ENRICHMENT
TIMED = [kind for kind, rule in RULES.items() if rule.has_due_time]
UNTIMED = [kind for kind, rule in RULES.items() if not rule.has_due_time]


def _waiting(**kinds: tuple[int, float]) -> Tally:
    """Unsettled domains: how many by kind, and when the first of them is due, seconds from now."""
    return tally(
        [TallyRow(State.SUCCEEDED, None, 5, 0, 5, 0.0)]
        + [
            TallyRow(State.WAITING, kind, count, 0, 0, NOW + due_s)
            for kind, (count, due_s) in kinds.items()
        ]
    )


def _example(kind: str, domain: str = "acme.example", **values: object) -> Example:
    return Example(kind, domain, "list-00001", "said so", **values)  # type: ignore[arg-type]


def test_the_newest_example_of_the_most_frequent_reason_is_carried() -> None:
    examples = [
        _example("auth", "b.example"),
        _example("timeout", "c.example", provider="pdl", url="https://api.example/x", rounds=2),
    ]
    error = phase_error(PHASE, _waiting(auth=(2, 0), timeout=(3, 60)), examples, None, NOW)
    assert (error.domain, error.batch, error.provider) == ("c.example", "list-00001", "pdl")
    assert (error.url, error.round) == ("https://api.example/x", 2)
    assert list(error.counts.items()) == [("timeout", 3), ("auth", 2)]
    assert "5 of 10 domains are not settled yet" in str(error)
    assert error.__cause__ is None


def test_without_an_example_the_error_says_the_counts_alone() -> None:
    error = phase_error(PHASE, _waiting(timeout=(3, 60)), [], None, NOW)
    assert (error.batch, error.domain, error.url, error.round) == (None, None, None, None)
    # A domain that settled meanwhile.
    late = phase_error(PHASE, _waiting(timeout=(3, 60)), [_example("connect")], None, NOW)
    assert late.domain == "acme.example"


def test_what_stopped_the_pass_is_the_cause_and_comes_first() -> None:
    stopped = Failure(FailureKind.STORE, "The disk is full.")
    error = phase_error(PHASE, _waiting(store=(3, 0)), [], stopped, NOW)
    assert isinstance(error.__cause__, CallError)
    assert error.__cause__.failure is stopped
    assert str(error).startswith("The disk is full. COMPANY_ENRICHMENT: 3 of 8 domains")


@pytest.mark.parametrize("kind", TIMED)
def test_what_waits_for_a_known_time_is_tried_again_then(kind: FailureKind) -> None:
    error = phase_error(PHASE, _waiting(**{kind: (2, 90)}, auth=(9, 1)), [], None, NOW)
    assert (error.recoverable, error.retry_in_s) == (True, 90)


def test_the_earliest_of_several_counts_and_one_that_is_due_already_is_no_wait() -> None:
    total = _waiting(timeout=(2, 90), breaker_open=(1, 40), limiter=(1, 50))
    assert phase_error(PHASE, total, [], None, NOW).retry_in_s == 40
    assert phase_error(PHASE, _waiting(timeout=(2, -90)), [], None, NOW).retry_in_s == 0


@pytest.mark.parametrize("kind", [kind for kind in UNTIMED if RULES[kind].state is State.WAITING])
def test_what_waits_for_a_person_or_for_this_machine_is_not_tried_again_here(
    kind: FailureKind,
) -> None:
    error = phase_error(PHASE, _waiting(**{kind: (2, 0)}), [], None, NOW)
    assert (error.recoverable, error.retry_in_s) == (False, None)


@pytest.mark.parametrize("kind", UNTIMED)
def test_a_pass_stopped_by_such_a_failure_ends_the_run_though_some_wait_for_a_round(
    kind: FailureKind,
) -> None:
    stopped = Failure(kind, "said so", retry_after_s=5)
    error = phase_error(PHASE, _waiting(timeout=(2, 60)), [], stopped, NOW)
    assert (error.recoverable, error.retry_in_s) == (False, None)


@pytest.mark.parametrize(
    ("due_s", "retry_after_s", "expected"),
    [(0, 300, 300), (400, 300, 400), (60, None, 60), (-5, None, 0)],
)
def test_a_pass_stopped_by_a_pause_waits_until_it_is_over(
    due_s: float, retry_after_s: float | None, expected: float
) -> None:
    stopped = Failure(FailureKind.BREAKER_OPEN, "pdl is paused", retry_after_s=retry_after_s)
    error = phase_error(PHASE, _waiting(breaker_open=(9, due_s)), [], stopped, NOW)
    assert (error.recoverable, error.retry_in_s) == (True, expected)


def test_a_pause_counts_even_where_no_domain_has_a_time_of_its_own() -> None:
    stopped = Failure(FailureKind.BREAKER_OPEN, "pdl is paused", retry_after_s=30)
    total = tally([TallyRow(State.PENDING, None, 4, 0, 0, 0.0)])
    assert phase_error(PHASE, total, [], stopped, NOW).retry_in_s == 30


def test_no_secret_gets_into_the_error() -> None:
    remember(["s3cret-of-phase"])
    stopped = Failure(FailureKind.STORE, "s3cret-of-phase")
    examples = [_example("timeout", url="https://a.example/?api_key=s3cret-of-phase")]
    error = phase_error(PHASE, _waiting(timeout=(1, 0)), examples, stopped, NOW)
    assert "s3cret" not in f"{error} {error.url}"


def test_counts_are_put_in_order_by_number_then_name() -> None:
    assert list(by_frequency({"b": 1, "c": 2, "a": 1})) == ["c", "a", "b"]
