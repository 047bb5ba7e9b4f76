"""What becomes of a domain that a person brings back."""

from __future__ import annotations

from itertools import product

import pytest

from resources.core.bringing_back import BringBack, Selection, Standing, bring_back
from resources.core.errors import RULES, FailureKind
from resources.core.models import SETTLED, Phase, State

ASKED = 5_000.0


@pytest.mark.parametrize("state", sorted(SETTLED))
def test_a_settled_domain_stays_so_and_is_due_at_once(state: State) -> None:
    standing = Standing(state, FailureKind.RATE_LIMITED, asked_to_wait_until=ASKED)
    assert bring_back(standing) == BringBack(0.0, is_refresh=True)


@pytest.mark.parametrize(
    ("kind", "state"), [*product(FailureKind, [State.WAITING, State.SUCCEEDED])]
)
def test_the_other_sides_wait_is_kept_unless_a_person_had_to_act(
    kind: FailureKind, state: State
) -> None:
    is_settled = state.is_settled
    standing = Standing(
        state,
        None if is_settled else kind,
        is_refreshing=is_settled,
        refresh_kind=kind if is_settled else None,
        asked_to_wait_until=ASKED,
    )
    is_mended = RULES[kind].needs_person
    wait = 0.0 if is_mended else ASKED
    expected = BringBack(wait, is_refresh=is_settled, is_mended=is_mended)
    assert bring_back(standing) == expected


def test_what_was_never_tried_is_not_brought_back_unless_workers_died_with_it() -> None:
    assert bring_back(Standing(State.PENDING)) is None
    assert bring_back(Standing(State.PENDING, deaths=3)) == BringBack(0.0, is_refresh=False)


def test_an_empty_selection_is_told_from_every_other() -> None:
    assert Selection().is_empty
    assert not Selection(is_quarantined=True).is_empty
    assert not Selection(domains=("a.example",)).is_empty


def test_only_a_domain_or_a_reason_means_what_is_there_already() -> None:
    assert Selection(domains=("a.example",)).is_of_any_state
    assert Selection(kind=FailureKind.ROBOTS).is_of_any_state
    assert not Selection(batch_key="a-00001", provider="pdl").is_of_any_state


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), False),
        (Selection(batch_key="a-00001"), True),
        (Selection(list_name="a", phase=Phase.PAGE_SCRAPING), True),
        (Selection(phase=Phase.PAGE_SCRAPING), True),
        (Selection(list_name="a", kind=FailureKind.AUTH), False),
        (Selection(list_name="a", provider="pdl"), False),
        (Selection(batch_key="a-00001", is_quarantined=True), False),
        (Selection(batch_key="a-00001", domains=("a.example",)), False),
    ],
)
def test_whole_batches_are_meant_where_nothing_narrows_down_their_domains(
    selection: Selection, expected: bool
) -> None:
    assert selection.is_of_whole_batches is expected
