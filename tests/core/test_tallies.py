"""Counts of batches and the sentence made of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resources.core.errors import RULES, FailureKind
from resources.core.models import UNSETTLED, Phase, State
from resources.core.tallies import (
    NOT_TRIED,
    Tally,
    TallyRow,
    comes_back,
    sentence,
    sum_up,
    tally,
)


def _row(
    state: State,
    kind: str | None = None,
    count: int = 1,
    *,
    claimed: int = 0,
    revisions: int = 0,
    not_before: float = 0.0,
) -> TallyRow:
    return TallyRow(state, kind, count, claimed, revisions, not_before)


ROWS = st.lists(
    st.builds(
        TallyRow,
        state=st.sampled_from(State),
        kind=st.none() | st.sampled_from([kind.value for kind in FailureKind]),
        count=st.integers(1, 50),
        claimed=st.integers(0, 5),
        revisions=st.integers(0, 9),
        not_before=st.floats(0, 1e9),
        refreshing=st.integers(0, 5),
        refresh_kind=st.none() | st.sampled_from([kind.value for kind in FailureKind]),
    ),
    max_size=12,
)


def test_nothing_adds_up_to_an_empty_batch() -> None:
    empty = tally([])
    assert (empty.total, empty.settled, empty.unsettled, empty.next_round_at) == (0, 0, 0, None)


def test_settled_and_unsettled_domains_make_the_total() -> None:
    counted = tally([_row(State.SUCCEEDED, count=3), _row(State.WAITING, "timeout", 2)])
    assert (counted.total, counted.settled, counted.unsettled) == (5, 3, 2)
    assert counted.kinds == {"timeout": 2}


def test_pending_domains_are_named_by_their_state_and_settled_kinds_do_not_wait() -> None:
    counted = tally([_row(State.PENDING, count=4), _row(State.REFUSED, "robots")])
    assert counted.waiting_kinds == {"pending": 4}
    assert counted.kinds == {"robots": 1}


def test_the_next_round_is_the_earliest_one_even_when_it_is_due_since_the_beginning() -> None:
    # Zero is what `make_due` writes.
    rows = [
        _row(State.WAITING, "timeout", not_before=0.0),
        _row(State.WAITING, "connect", not_before=900.0),
    ]
    assert tally(rows).next_round_at == 0.0
    assert tally(reversed(rows)).next_round_at == 0.0


def test_what_waits_for_a_person_is_no_next_round() -> None:
    assert tally([_row(State.WAITING, "auth", not_before=10.0)]).next_round_at is None


def test_the_end_of_a_pause_and_room_in_a_pace_limit_are_worth_waiting_for() -> None:
    rows = [
        _row(State.WAITING, "breaker_open", not_before=300.0),
        _row(State.WAITING, "limiter", not_before=20.0),
        _row(State.WAITING, "local_network", not_before=0.0),
    ]
    assert tally(rows).next_round_at == 20.0
    assert tally(rows[:1]).next_round_at == 300.0
    assert tally(rows[2:]).next_round_at is None


def test_the_fingerprint_changes_when_a_domain_settles_anew() -> None:
    before = tally([_row(State.SUCCEEDED, count=2, revisions=2)])
    expired = tally([_row(State.SUCCEEDED, revisions=1), _row(State.PENDING, revisions=1)])
    after = tally([_row(State.SUCCEEDED, count=2, revisions=3)])
    assert len({before.fingerprint, expired.fingerprint, after.fingerprint}) == 3


def test_what_is_refreshed_is_open_but_neither_unsettled_nor_held_up() -> None:
    counted = tally([TallyRow(State.SUCCEEDED, None, 3, 2, 3, 60.0, refreshing=2)])
    assert (counted.open, counted.refreshing, counted.unsettled) == (2, 2, 0)
    assert (counted.claimed, counted.next_round_at) == (0, None)


def test_a_refresh_waits_for_the_reason_of_its_newest_attempt() -> None:
    rows = [
        TallyRow(State.QUARANTINED, "http_5xx", 1, 0, 1, 90.0, 1, "timeout"),
        TallyRow(State.QUARANTINED, "http_5xx", 1, 0, 1, 60.0, 1, "connect"),
        TallyRow(State.SUCCEEDED, None, 2, 0, 2, 5.0, 2, "auth"),
        TallyRow(State.SUCCEEDED, None, 4, 0, 4, 0.0, 1),
    ]
    counted = tally(rows)
    assert counted.refreshing_kinds == {"timeout": 1, "connect": 1, "auth": 2, NOT_TRIED: 1}
    assert (counted.next_refresh_at, counted.next_round_at) == (60.0, None)
    assert counted.kinds == {"http_5xx": 2}
    assert tally(rows[2:]).next_refresh_at is None


def test_what_waits_for_neither_a_time_nor_a_person_may_come_back_any_time() -> None:
    back = {kind for kind in (*FailureKind, "pending", NOT_TRIED) if comes_back(kind)}
    assert back == {
        "store",
        "local_network",
        "cancelled",
        "lease_lost",
        "pending",
        NOT_TRIED,
    }


@given(ROWS, ROWS)
def test_the_sum_of_two_batches_counts_what_both_count(
    one: list[TallyRow], two: list[TallyRow]
) -> None:
    parts, whole = sum_up([tally(one), tally(two)]), tally([*one, *two])
    assert parts.states == whole.states
    assert parts.kinds == whole.kinds
    assert parts.waiting_kinds == whole.waiting_kinds
    assert parts.claimed == whole.claimed
    assert parts.claimed_kinds == whole.claimed_kinds
    assert parts.refreshing == whole.refreshing
    assert parts.refreshing_kinds == whole.refreshing_kinds
    assert parts.next_refresh_at == whole.next_refresh_at
    assert parts.next_round_at == whole.next_round_at


@given(ROWS)
def test_every_unsettled_domain_has_one_reason(rows: list[TallyRow]) -> None:
    counted = tally(rows)
    assert sum(counted.waiting_kinds.values()) == counted.unsettled
    due = [
        row.not_before
        for row in rows
        if row.state in UNSETTLED and row.kind and RULES[FailureKind(row.kind)].has_due_time
    ]
    assert counted.next_round_at == min(due, default=None)


def test_the_sentence_names_the_most_frequent_reason_first_and_what_is_kept() -> None:
    total = Tally(
        states={State.SUCCEEDED: 40, State.WAITING: 9, State.PENDING: 1},
        waiting_kinds={"timeout": 2, "auth": 7, "pending": 1},
    )
    assert sentence(Phase.COMPANY_ENRICHMENT, total) == (
        "COMPANY_ENRICHMENT: 10 of 50 domains are not settled yet: "
        "7 auth (The provider does not accept our key; check its API key); "
        "2 timeout (The other side did not answer in time); 1 pending. The other 40 are kept."
    )


def test_the_sentence_tells_what_another_run_has_in_hand_from_what_is_pending() -> None:
    rows = [
        _row(State.SUCCEEDED, count=10),
        _row(State.PENDING, count=79, claimed=79),
        _row(State.WAITING, "timeout", 3, claimed=1),
    ]
    assert sentence(Phase.PAGE_SCRAPING, tally(rows)) == (
        "PAGE_SCRAPING: 82 of 92 domains are not settled yet: "
        "2 timeout (The other side did not answer in time); "
        "80 are being worked on by another run. The other 10 are kept."
    )
    one = sentence(Phase.PAGE_SCRAPING, tally([_row(State.PENDING, count=3, claimed=1)]))
    assert "2 pending; 1 is being worked on by another run" in one
