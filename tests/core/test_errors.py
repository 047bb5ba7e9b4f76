"""The table of failure kinds: complete, and as design.md says."""

from __future__ import annotations

import re
import textwrap

import pytest

from resources.core import errors
from resources.core.errors import (
    RULES,
    Actor,
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


COLUMNS = ("kind", "again", "round", "breaker", "state", "who acts", "what a person reads")
WIDTH = 99


def _table() -> str:
    """The table as the module's docstring has it."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for kind, rule in RULES.items():
        marks = (rule.is_retryable, rule.uses_a_round, rule.counts_for_breaker)
        said = ("yes" if mark else "-" for mark in marks)
        rows.append((kind, *said, rule.state, rule.actor, rule.sentence))
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS) - 1)]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        first = "    " + " ".join(cells) + " "
        words = textwrap.wrap(row[-1], WIDTH - len(first))
        lines += [first + words[0], *(" " * len(first) + rest for rest in words[1:])]
    return "\n".join(lines)


def test_the_module_opens_with_the_table_that_the_rules_make() -> None:
    assert _table() in str(errors.__doc__), f"errors.py should say:\n{_table()}"


def test_the_module_opens_with_every_exception_it_defines() -> None:
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    names = {one.__name__ for one in found if issubclass(one, PipelineError)}
    tree = str(errors.__doc__).split("Each kind of failure")[0]
    assert names == set(re.findall(r"^ +(?:[├└]── )?(\w+)", tree, re.MULTILINE))


def test_what_is_tried_again_by_itself_is_all_that_is_neither_final_nor_waits_for_a_person() -> (
    None
):
    again = {kind for kind, rule in RULES.items() if rule.is_retryable}
    persons = {"quota_exhausted", "budget_exhausted", "auth"}
    assert again == set(ROUND.split()) | (set(WAIT.split()) - persons)


def test_only_a_kind_of_the_first_group_uses_up_a_round() -> None:
    assert {kind for kind, rule in RULES.items() if rule.uses_a_round} == set(ROUND.split())


def test_a_run_may_wait_for_a_round_the_end_of_a_pause_or_room_in_a_limit() -> None:
    timed = {kind for kind, rule in RULES.items() if rule.has_due_time}
    assert timed == {*ROUND.split(), "breaker_open", "limiter"}


def test_only_what_says_that_the_other_side_is_away_counts_for_its_breaker() -> None:
    counted = {kind for kind, rule in RULES.items() if rule.counts_for_breaker}
    assert counted == set(ROUND.split()) - {"rate_limited", "bug"}


def test_whoever_runs_it_acts_on_keys_credits_and_the_machine_and_maintainers_on_bugs() -> None:
    by_actor = {
        actor: {kind for kind, rule in RULES.items() if rule.actor is actor} for actor in Actor
    }
    assert by_actor[Actor.MAINTAINERS] == {"bug"}
    assert by_actor[Actor.OPERATOR] == {
        "quota_exhausted",
        "budget_exhausted",
        "auth",
        "store",
        "local_network",
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
    error = PipelinePhaseError(Phase.PAGE_SCRAPING, "x", True, counts=counts)
    counts["timeout"] = 3
    assert error.counts == {"timeout": 2}
    assert error.retry_in_s is None


def test_a_phase_error_says_where_its_example_was_seen() -> None:
    error = PipelinePhaseError(
        Phase.COMPANY_ENRICHMENT,
        "1 of 3 domains is not settled yet",
        True,
        batch="acme-00001",
        domain="acme.example",
        provider="pdl",
        url="https://api.example/v5",
        round=2,
    )
    assert (error.batch, error.domain, error.round) == ("acme-00001", "acme.example", 2)
    assert (error.provider, error.url) == ("pdl", "https://api.example/v5")
    assert str(error) == "1 of 3 domains is not settled yet"
