"""The table of failure kinds: complete, and as design.md says."""

from __future__ import annotations

import pytest

from resources.core.errors import (
    RULES,
    CallError,
    Failure,
    FailureKind,
    Handling,
    PipelineError,
    PipelinePhaseError,
)
from resources.core.models import SETTLED, UNSETTLED, Phase, State

# design.md, "Failure kinds", word for word.
ROUND = "timeout connect dns tls http_5xx rate_limited bug"
WAIT = (
    "breaker_open limiter quota_exhausted budget_exhausted auth store local_network cancelled "
    "lease_lost"
)
SETTLE = (
    "no_such_host tls_certificate not_found gone robots blocked_address too_large "
    "unsupported_content malformed http_4xx"
)


def test_every_kind_has_exactly_one_rule_and_no_rule_is_left_over() -> None:
    assert set(RULES) == set(FailureKind)


@pytest.mark.parametrize(
    ("handling", "kinds"),
    [(Handling.ROUND, ROUND), (Handling.WAIT, WAIT), (Handling.SETTLE, SETTLE)],
)
def test_kinds_are_handled_as_the_design_groups_them(handling: Handling, kinds: str) -> None:
    assert {kind for kind, rule in RULES.items() if rule.handling is handling} == set(kinds.split())


def test_what_is_not_final_waits_and_what_is_final_is_settled() -> None:
    for rule in RULES.values():
        if rule.handling is Handling.SETTLE:
            assert rule.state in SETTLED - {State.SUCCEEDED, State.QUARANTINED}
        else:
            assert rule.state is State.WAITING


def test_what_is_not_there_is_not_found_and_all_other_final_kinds_are_refused() -> None:
    final = {kind: rule.state for kind, rule in RULES.items() if rule.handling is Handling.SETTLE}
    absent = {FailureKind.NOT_FOUND, FailureKind.GONE}
    assert {kind for kind, state in final.items() if state is State.NOT_FOUND} == absent


def test_only_quota_budget_and_key_need_a_person() -> None:
    assert {kind for kind, rule in RULES.items() if rule.needs_person} == {
        "quota_exhausted",
        "budget_exhausted",
        "auth",
    }


def test_only_our_own_disk_and_network_stop_a_run() -> None:
    assert {kind for kind, rule in RULES.items() if rule.stops_run} == {"store", "local_network"}


def test_every_rule_speaks_in_a_whole_sentence() -> None:
    for rule in RULES.values():
        assert rule.sentence[0].isupper()
        assert rule.sentence.endswith(".")


def test_states_are_either_settled_or_unsettled() -> None:
    assert set(State) == SETTLED | UNSETTLED
    assert not SETTLED & UNSETTLED
    assert {state for state in State if state.is_settled} == SETTLED


def test_the_table_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        RULES[FailureKind.BUG] = RULES[FailureKind.TIMEOUT]  # type: ignore[index]


def test_errors_carry_what_happened() -> None:
    failure = Failure(FailureKind.TIMEOUT, "no answer within 5 s", url="https://acme.example/")
    error = CallError(failure)
    assert isinstance(error, PipelineError)
    assert error.failure is failure
    assert str(error) == "timeout: no answer within 5 s"


def test_a_phase_error_keeps_a_copy_of_its_counts() -> None:
    counts = {"timeout": 2}
    error = PipelinePhaseError(Phase.PAGE_SCRAPING, "x", recoverable=True, counts=counts)
    counts["timeout"] = 3
    assert error.counts == {"timeout": 2}
    assert error.retry_in_s is None
