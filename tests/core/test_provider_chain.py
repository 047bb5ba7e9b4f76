"""Who is asked next, when a domain is done, and when it waits."""

from __future__ import annotations

from itertools import product

import pytest

from resources.core.errors import RULES, Failure, FailureKind, Handling
from resources.core.models import Fact, State
from resources.core.provider_chain import (
    OUR_OWN,
    AnswerState,
    Ask,
    ChainLink,
    Failed,
    Finished,
    Matched,
    MustWait,
    NoMatch,
    NotAsked,
    next_step,
)

PDL = ChainLink("pdl", is_required=True, is_paid=True)
DEAR = ChainLink("dear", is_required=True, is_paid=True)
WIKIDATA = ChainLink("wikidata", is_required=False)
RDAP = ChainLink("rdap", is_required=False, fields=frozenset({"registered_on", "registrar"}))
CHAIN = (PDL, WIKIDATA, RDAP)
EVERYTHING: frozenset[str] = frozenset()


def _failed(kind: FailureKind) -> Failed:
    return Failed(Failure(kind, "it failed"))


def _matched(*fields: str) -> Matched:
    return Matched(tuple(Fact(field, "x", "pdl", "u", 0.0, 0.7) for field in fields))


def test_providers_are_asked_in_order_until_all_have_answered() -> None:
    answers: dict[str, AnswerState] = {}
    asked = []
    while isinstance(step := next_step(CHAIN, answers, EVERYTHING), Ask):
        asked.append(step.name)
        answers[step.name] = NoMatch()
    assert asked == ["pdl", "wikidata", "rdap"]
    assert step == Finished(State.NOT_FOUND, ())


def test_one_match_makes_it_a_success() -> None:
    answers: dict[str, AnswerState] = {"pdl": NoMatch(), "wikidata": _matched(), "rdap": NoMatch()}
    assert next_step(CHAIN, answers, EVERYTHING) == Finished(State.SUCCEEDED, ())


def test_nobody_is_asked_for_fields_that_are_filled() -> None:
    answers: dict[str, AnswerState] = {"pdl": _matched("name", "country")}
    assert next_step(CHAIN, answers, {"name", "country"}) == Finished(State.SUCCEEDED, ())


def test_a_provider_is_asked_only_for_fields_that_it_can_fill() -> None:
    answers: dict[str, AnswerState] = {"pdl": _matched("name"), "wikidata": NoMatch()}
    assert next_step(CHAIN, answers, {"name", "industry"}) == Finished(State.SUCCEEDED, ())
    assert next_step(CHAIN, answers, {"name", "registrar"}) == Ask("rdap")


@pytest.mark.parametrize("kind", FailureKind)
def test_a_required_provider_that_is_away_makes_the_domain_wait_and_a_refusal_does_not(
    kind: FailureKind,
) -> None:
    step = next_step(CHAIN, {"pdl": _failed(kind)}, EVERYTHING)
    if RULES[kind].handling is Handling.SETTLE:
        assert step == Ask("wikidata")
    else:
        assert step == MustWait(Failure(kind, "it failed"))


@pytest.mark.parametrize("kind", FailureKind)
def test_an_optional_provider_that_is_away_is_noted_unless_it_was_our_own_fault(
    kind: FailureKind,
) -> None:
    answers: dict[str, AnswerState] = {
        "pdl": _matched("name"),
        "wikidata": _failed(kind),
        "rdap": NoMatch(),
    }
    step = next_step(CHAIN, answers, EVERYTHING)
    failure = Failure(kind, "it failed")
    if kind in OUR_OWN:
        assert step == MustWait(failure)
    else:
        assert step == Finished(State.SUCCEEDED, (failure,))


def test_a_failure_of_a_provider_that_is_no_longer_needed_holds_nothing_up() -> None:
    answers: dict[str, AnswerState] = {
        "pdl": _failed(FailureKind.TIMEOUT),
        "wikidata": _matched("name"),
    }
    assert next_step(CHAIN, answers, {"name"}) == Finished(
        State.SUCCEEDED, (Failure(FailureKind.TIMEOUT, "it failed"),)
    )


@pytest.mark.parametrize(
    "kind",
    [FailureKind.QUOTA_EXHAUSTED, FailureKind.BUDGET_EXHAUSTED, FailureKind.AUTH],
)
@pytest.mark.parametrize("is_required", [True, False])
def test_a_spent_quota_never_makes_a_dearer_provider_be_asked(
    kind: FailureKind, is_required: bool
) -> None:
    cheap = ChainLink("cheap", is_required=is_required, is_paid=True)
    step = next_step((cheap, DEAR), {"cheap": _failed(kind)}, EVERYTHING)
    assert step == MustWait(Failure(kind, "it failed"))


def test_a_dearer_optional_provider_is_left_out_and_free_ones_are_still_asked() -> None:
    cheap = ChainLink("cheap", is_required=False, is_paid=True)
    dear = ChainLink("dear", is_required=False, is_paid=True)
    answers: dict[str, AnswerState] = {"cheap": _failed(FailureKind.QUOTA_EXHAUSTED)}
    assert next_step((cheap, dear, WIKIDATA), answers, EVERYTHING) == Ask("wikidata")
    answers["wikidata"] = NoMatch()
    step = next_step((cheap, dear, WIKIDATA), answers, EVERYTHING)
    assert step == Finished(State.NOT_FOUND, (Failure(FailureKind.QUOTA_EXHAUSTED, "it failed"),))


def test_no_provider_is_ever_asked_twice_and_every_course_ends() -> None:
    outcomes: tuple[AnswerState, ...] = (
        NotAsked(),
        NoMatch(),
        _matched("name"),
        _failed(FailureKind.TIMEOUT),
        _failed(FailureKind.MALFORMED),
        _failed(FailureKind.QUOTA_EXHAUSTED),
    )
    for course in product(outcomes, repeat=3):
        answers = dict(zip(("pdl", "wikidata", "rdap"), course, strict=True))
        for wanted in (EVERYTHING, frozenset({"name"}), frozenset({"registrar"})):
            step = next_step(CHAIN, answers, wanted)
            if isinstance(step, Ask):
                assert answers[step.name] == NotAsked()


def test_an_empty_chain_finds_nothing() -> None:
    assert next_step((), {}, EVERYTHING) == Finished(State.NOT_FOUND, ())
