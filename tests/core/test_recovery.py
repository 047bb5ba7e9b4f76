"""What is done about an unfinished batch: every rule, its boundaries, and which goes first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.errors import RULES, FailureKind
from resources.core.models import Phase, State
from resources.core.recovery import (
    COOL_DOWN_S,
    DIRECTORY_EVERY_S,
    LONGEST_COOL_DOWN_S,
    MOST_DEATHS,
    MOST_FRUITLESS_RUNS,
    Action,
    Gate,
    OpenWork,
    Request,
    Standing,
    decide,
    fruitless_runs,
    is_directory_due,
    open_work,
)
from resources.core.tallies import NOT_TRIED, Tally, TallyRow, comes_back, tally
from tests.support.time import NOW

PHASE = Phase.COMPANY_ENRICHMENT
CODE = "1"
PERSON_KINDS = sorted(kind for kind in FailureKind if RULES[kind].needs_person)
TIMED_KINDS = sorted(kind for kind in FailureKind if RULES[kind].has_due_time)
BACK_KINDS = sorted(kind for kind in FailureKind if comes_back(kind))
OUTSIDE_KINDS = ["breaker_open", "local_network", "store"]
NOBODYS_FAULT = sorted(
    kind for kind in FailureKind if RULES[kind].is_retryable and not RULES[kind].uses_a_round
)


def _request(**changes: Any) -> Request:
    request = Request("a-00001", PHASE, "scope", NOW - 1_000, progress="p", code_version=CODE)
    return replace(request, **changes)


def _standing(
    kinds: dict[str, int] | None = None,
    *,
    claimed: int = 0,
    due_at: float | None = 0.0,
    request: Request | None = None,
    progress: str = "p",
    **changes: Any,
) -> Standing:
    work = OpenWork(kinds or {}, claimed, due_at if kinds else None)
    standing = Standing(request or _request(), work, progress, is_recorded=False, code_version=CODE)
    return replace(standing, **changes)


def _tried(attempts: int, launched_s_ago: float = 1e6) -> Request:
    return _request(attempts=attempts, launches=attempts, launched_at=NOW - launched_s_ago)


def _died(deaths: int) -> Request:
    return _request(deaths=deaths, launched_at=NOW, progress="p+1")


DUE = {"timeout": 3}
CLOSED = Gate("calls to pdl are paused: away", until=NOW + 60)
NEEDS_KEY = Gate("the key is wrong", needs_person=True, kind="auth")

# One row a rule and each of its boundaries: where the batch stands, what is done, why, until when.
CASES: dict[str, tuple[Standing, Action, str, float | None]] = {
    "settled and shown": (_standing(is_recorded=True), Action.NOTHING, "settled", None),
    "settled and not shown": (
        _standing(),
        Action.MEND,
        "settled, but Dagster does not show it",
        None,
    ),
    "settled and not shown, while some of it is refreshed": (
        _standing(DUE, is_settled=True),
        Action.MEND,
        "settled, but Dagster does not show it",
        None,
    ),
    "settled and shown, and to be refreshed": (
        _standing(DUE, is_settled=True, is_recorded=True),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "due since the beginning": (_standing(DUE), Action.RUN, "due: 3 timeout", None),
    "due this very moment": (_standing(DUE, due_at=NOW), Action.RUN, "due: 3 timeout", None),
    "due in a moment": (_standing(DUE, due_at=NOW + 0.1), Action.WAIT, "3 timeout", NOW + 0.1),
    "open, though Dagster shows it": (
        _standing({NOT_TRIED: 2}, is_recorded=True),
        Action.RUN,
        "due: 2 not_tried",
        None,
    ),
    "most frequent reason first": (
        _standing({"dns": 1, "timeout": 4, "connect": 1}),
        Action.RUN,
        "due: 4 timeout, 1 connect, 1 dns",
        None,
    ),
    "a run has it": (
        _standing(DUE, in_hand_by="run 1 works on it"),
        Action.IN_HAND,
        "run 1 works on it",
        None,
    ),
    "one worker has one domain": (
        _standing(claimed=1),
        Action.IN_HAND,
        "a worker has 1 domain in hand",
        None,
    ),
    "workers have all that is left": (
        _standing(claimed=4),
        Action.IN_HAND,
        "a worker has 4 domains in hand",
        None,
    ),
    "workers have some of it": (_standing(DUE, claimed=4), Action.RUN, "due: 3 timeout", None),
    "cancelled": (
        _standing(DUE, request=_request(held_reason="cancelled by Ann")),
        Action.HELD,
        "cancelled by Ann",
        None,
    ),
    "nothing but a person helps": (
        _standing({"auth": 2, "quota_exhausted": 5}, due_at=None),
        Action.PERSON,
        "waits for a person: 5 quota_exhausted, 2 auth",
        None,
    ),
    "a person is needed for all of the phase": (
        _standing(DUE, gate=NEEDS_KEY),
        Action.PERSON,
        "the key is wrong",
        None,
    ),
    "a breaker is open": (_standing(DUE, gate=CLOSED), Action.WAIT, CLOSED.reason, NOW + 60),
    "a breaker's wait is over": (
        _standing(DUE, gate=replace(CLOSED, until=NOW)),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "a probe is due": (
        _standing(DUE, gate=Gate("find out", is_probe=True)),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "one run too few to give up": (
        _standing(DUE, request=_tried(MOST_FRUITLESS_RUNS - 1)),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "runs bring nothing": (
        _standing(DUE, request=_tried(MOST_FRUITLESS_RUNS)),
        Action.GIVEN_UP,
        "3 automatic runs in a row brought nothing: 3 timeout",
        None,
    ),
    "runs bring nothing, for a reason outside": (
        _standing({"local_network": 3}, request=_tried(MOST_FRUITLESS_RUNS)),
        Action.RUN,
        "due: 3 local_network",
        None,
    ),
    "the last run brought nothing": (
        _standing(DUE, request=_tried(1, COOL_DOWN_S - 1)),
        Action.WAIT,
        "the last automatic run brought nothing: 3 timeout",
        NOW + 1,
    ),
    "its cool-down is over": (
        _standing(DUE, request=_tried(1, COOL_DOWN_S)),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "the last run brought something": (
        _standing(DUE, request=_tried(2, 1.0), progress="q"),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "asked for lately, and Dagster has not begun it yet": (
        _standing(DUE, request=_tried(0, COOL_DOWN_S - 1)),
        Action.WAIT,
        "the last automatic run brought nothing: 3 timeout",
        NOW + 1,
    ),
    "some runs died": (
        _standing(DUE, request=_died(MOST_DEATHS - 1), progress="p+9"),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "run after run dies": (
        _standing(DUE, request=_died(MOST_DEATHS + 1), progress="p+9"),
        Action.WAIT,
        f"{MOST_DEATHS + 1} runs in a row died: 3 timeout",
        NOW + 2 * COOL_DOWN_S,
    ),
    "run after run died, and something has settled since": (
        _standing(DUE, request=_died(MOST_DEATHS), progress="q+9"),
        Action.RUN,
        "due: 3 timeout",
        None,
    ),
    "by the clock of another machine it was launched later": (
        _standing(DUE, request=_tried(1, -5.0)),
        Action.WAIT,
        "the last automatic run brought nothing: 3 timeout",
        NOW + 5 + COOL_DOWN_S,
    ),
}


@pytest.mark.parametrize(("standing", "action", "reason", "until"), CASES.values(), ids=CASES)
def test_each_rule_says_what_is_done_and_why(
    standing: Standing, action: Action, reason: str, until: float | None
) -> None:
    verdict = decide(standing, NOW)
    assert (verdict.action, verdict.reason, verdict.until) == (action, reason, until)


# What holds, from the rule that goes first to the one that comes last; each is true of all that
# comes after it as well.
HELD = replace(_tried(MOST_FRUITLESS_RUNS, 1.0), held_reason="cancelled")
FREE = replace(HELD, held_reason=None)
LAST = _standing(DUE, request=FREE)
ORDER: dict[str, tuple[Standing, Action]] = {
    "who has it, even what a person cancelled": (
        _standing(DUE, in_hand_by="run", request=HELD, gate=NEEDS_KEY),
        Action.IN_HAND,
    ),
    "who has it, even when it is settled": (_standing(in_hand_by="run"), Action.IN_HAND),
    "that it is settled, even when it was cancelled": (
        _standing(request=HELD, gate=NEEDS_KEY),
        Action.MEND,
    ),
    "a cancel, even while workers finish": (
        _standing(claimed=1, request=HELD, gate=NEEDS_KEY),
        Action.HELD,
    ),
    "workers, even behind a gate": (_standing(claimed=1, gate=NEEDS_KEY), Action.IN_HAND),
    "a person, even when it is not due": (
        replace(LAST, gate=replace(NEEDS_KEY, until=NOW + 9), work=OpenWork(DUE, 0, NOW + 5)),
        Action.PERSON,
    ),
    "a person for its own domains, even behind a breaker": (
        replace(LAST, gate=CLOSED, work=OpenWork({"auth": 1}, 0, None)),
        Action.PERSON,
    ),
    "a breaker, even when it is due later": (
        replace(LAST, gate=CLOSED, work=OpenWork(DUE, 0, NOW + 5)),
        Action.WAIT,
    ),
    "when it is due, even when runs brought nothing": (
        replace(LAST, work=OpenWork(DUE, 0, NOW + 5)),
        Action.WAIT,
    ),
    "that runs bring nothing, even within the cool-down": (LAST, Action.GIVEN_UP),
}


@pytest.mark.parametrize(("standing", "action"), ORDER.values(), ids=ORDER)
def test_the_first_rule_that_fits_counts(standing: Standing, action: Action) -> None:
    assert decide(standing, NOW).action is action


def test_a_breakers_time_goes_before_that_of_the_domains() -> None:
    waits = replace(_standing(DUE, gate=CLOSED), work=OpenWork(DUE, 0, NOW + 5))
    assert decide(waits, NOW).until == CLOSED.until


def test_who_needs_a_person_is_named_by_kind() -> None:
    assert decide(_standing(DUE, gate=NEEDS_KEY), NOW).kind == "auth"
    assert decide(_standing({"quota_exhausted": 1}, due_at=None), NOW).kind == "quota_exhausted"
    assert decide(_standing(DUE), NOW).kind is None


# -- runs in a row --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "code", "attempts"),
    [("p", CODE, 2), ("q", CODE, 0), ("p", "2", 0), ("q", "2", 0)],
    ids=["nothing changed", "progress", "new code", "both"],
)
def test_attempts_count_as_long_as_neither_the_work_nor_the_code_has_changed(
    progress: str, code: str, attempts: int
) -> None:
    standing = _standing(DUE, request=_tried(2), progress=progress, code_version=code)
    assert fruitless_runs(standing) == attempts
    assert decide(standing, NOW).attempts == attempts


def test_new_code_starts_again_what_was_given_up_and_without_a_cool_down() -> None:
    given_up = _standing(DUE, request=_tried(MOST_FRUITLESS_RUNS, 1.0))
    assert decide(given_up, NOW).action is Action.GIVEN_UP
    assert decide(replace(given_up, code_version="2"), NOW).action is Action.RUN


@pytest.mark.parametrize(
    ("attempts", "wait_s"),
    [(0, 60.0), (1, 60.0), (2, 120.0), (3, 240.0), (4, 480.0), (5, 900.0), (6, 900.0)],
)
def test_the_cool_down_doubles_up_to_a_quarter_of_an_hour(attempts: int, wait_s: float) -> None:
    request = _tried(attempts, 0.0)
    verdict = decide(_standing({"local_network": 1}, request=request), NOW)
    assert (verdict.until or NOW) - NOW == wait_s


@pytest.mark.parametrize("attempts", [1_025, 1_000_000])
def test_an_outage_of_weeks_still_has_a_cool_down(attempts: int) -> None:
    request = _tried(attempts, 0.0)
    verdict = decide(_standing({"local_network": 1}, request=request), NOW)
    assert verdict.until == NOW + LONGEST_COOL_DOWN_S


def test_what_was_never_launched_by_itself_has_no_cool_down() -> None:
    request = _request(attempts=2, launched_at=None)
    assert decide(_standing(DUE, request=request), NOW).action is Action.RUN


@pytest.mark.parametrize("kind", NOBODYS_FAULT)
def test_only_what_no_run_is_to_blame_for_goes_on_after_three_runs(kind: FailureKind) -> None:
    standing = _standing({kind: 3}, request=_tried(MOST_FRUITLESS_RUNS))
    expected = Action.RUN if kind in OUTSIDE_KINDS else Action.GIVEN_UP
    assert decide(standing, NOW).action is expected


@pytest.mark.parametrize("kind", ["breaker_open", "limiter"])
def test_a_time_of_its_own_is_back_off_enough_for_the_first_runs(kind: str) -> None:
    for attempts in range(1, MOST_FRUITLESS_RUNS):
        standing = _standing({kind: 1}, request=_tried(attempts, 0.0))
        assert decide(standing, NOW).action is Action.RUN


def test_runs_in_vain_into_a_breaker_cool_down_unless_they_are_its_providers_probe() -> None:
    standing = _standing({"breaker_open": 1}, request=_tried(MOST_FRUITLESS_RUNS, 0.0))
    assert decide(standing, NOW).action is Action.WAIT
    probing = replace(standing, gate=Gate("find out", is_probe=True))
    assert decide(probing, NOW).action is Action.RUN
    renewed = _standing(
        {"breaker_open": 1}, request=_tried(MOST_FRUITLESS_RUNS, 9.0), due_at=NOW - 1
    )
    assert decide(renewed, NOW).action is Action.RUN


def test_the_cool_down_counts_from_the_end_of_the_run_and_not_from_its_launch() -> None:
    long_run = replace(_tried(1, 5_000.0), ended_at=NOW - 10)
    verdict = decide(_standing(DUE, request=long_run), NOW)
    assert (verdict.action, verdict.until) == (Action.WAIT, NOW - 10 + COOL_DOWN_S)
    # Of a run before it: the newest one may be on its way.
    assert decide(_standing(DUE, request=replace(_tried(1, 10.0), ended_at=NOW - 900)), NOW).until
    # It was ended from outside: due at once.
    due = replace(long_run, launched_at=None)
    assert decide(_standing(DUE, request=due), NOW).action is Action.RUN


# -- what waits for what --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(FailureKind))
def test_runs_without_progress_are_explained_by_what_lies_outside(kind: FailureKind) -> None:
    assert OpenWork({kind: 1}).is_explained == (kind in OUTSIDE_KINDS)


@pytest.mark.parametrize("kind", PERSON_KINDS)
def test_what_a_person_is_needed_for_is_not_tried_and_blames_nobody(kind: FailureKind) -> None:
    assert OpenWork({kind: 1, "local_network": 1}).is_explained
    assert not OpenWork({kind: 1, "timeout": 1}).is_explained
    assert not OpenWork({kind: 1}).is_explained
    assert OpenWork({kind: 1, "timeout": 1}).person_kinds == (kind,)


def test_one_domain_that_was_never_tried_is_not_explained() -> None:
    assert not OpenWork({"local_network": 9, NOT_TRIED: 1}).is_explained
    assert not OpenWork({"local_network": 9, State.PENDING.value: 1}).is_explained
    assert not OpenWork().is_explained


def test_open_work_counts_what_is_claimed_too() -> None:
    assert OpenWork({"timeout": 2, "dns": 1}, claimed=4).count == 7


# -- from counts to work --------------------------------------------------------------------------


def _row(kind: str | None, not_before: float = 0.0, claimed: int = 0, count: int = 2) -> TallyRow:
    state = State.PENDING if kind is None else State.WAITING
    return TallyRow(state, kind, count, claimed, 0, not_before)


@pytest.mark.parametrize("kind", [None, *BACK_KINDS])
def test_what_may_end_at_any_time_is_due_now(kind: str | None) -> None:
    work = open_work(tally([_row(kind, NOW + 50), _row("timeout", NOW + 90)]))
    assert work.due_at == 0.0


@pytest.mark.parametrize("kind", TIMED_KINDS)
def test_what_waits_for_a_time_is_due_then(kind: FailureKind) -> None:
    assert open_work(tally([_row(kind, NOW + 50)])).due_at == NOW + 50


@pytest.mark.parametrize("kind", PERSON_KINDS)
def test_what_waits_for_a_person_is_never_due(kind: FailureKind) -> None:
    assert open_work(tally([_row(kind, NOW - 50)])).due_at is None
    assert open_work(tally([_row(kind, NOW - 50), _row("dns", NOW + 9)])).due_at == NOW + 9


def test_nothing_left_is_never_due() -> None:
    assert open_work(Tally()) == OpenWork()


def test_what_is_claimed_is_neither_free_nor_due() -> None:
    work = open_work(tally([_row("timeout", NOW - 50, claimed=2), _row("auth")]))
    assert (work.kinds, work.claimed, work.due_at) == ({"auth": 2}, 2, None)
    some = open_work(tally([_row("timeout", NOW - 50, claimed=1)]))
    assert (some.kinds, some.claimed, some.due_at) == ({"timeout": 1}, 1, NOW - 50)


def test_a_refresh_is_work_and_due_by_what_its_newest_attempt_waits_for() -> None:
    new = TallyRow(State.SUCCEEDED, None, 3, 0, 3, 0.0, refreshing=2)
    assert open_work(tally([new])) == OpenWork({NOT_TRIED: 2}, 0, 0.0)
    waits = replace(new, not_before=NOW + 70, refresh_kind="timeout")
    assert open_work(tally([waits])) == OpenWork({"timeout": 2}, 0, NOW + 70)
    needs_key = replace(waits, refresh_kind="auth")
    assert open_work(tally([needs_key])) == OpenWork({"auth": 2}, 0, None)


ROWS = st.lists(
    st.builds(
        TallyRow,
        state=st.sampled_from([State.PENDING, State.WAITING, State.SUCCEEDED]),
        kind=st.sampled_from([*PERSON_KINDS, *TIMED_KINDS, *BACK_KINDS]),
        count=st.integers(1, 5),
        claimed=st.just(0),
        revisions=st.just(1),
        not_before=st.floats(NOW - 100, NOW + 100),
        refreshing=st.just(0),
    ),
    max_size=6,
)


@given(ROWS, st.floats(-50, 50))
def test_a_batch_is_run_exactly_when_one_of_its_domains_can_be_worked_on(
    rows: list[TallyRow], later_s: float
) -> None:
    counted, now = tally(rows), NOW + later_s
    free = [row for row in rows if not row.state.is_settled]
    is_due = any(
        (row.kind is not None and comes_back(row.kind))
        or (row.kind in TIMED_KINDS and row.not_before <= now)
        for row in free
    )
    standing = replace(_standing(), work=open_work(counted))
    assert (decide(standing, now).action is Action.RUN) == is_due
    assert (decide(standing, now).action is Action.MEND) == (not free)


# -- any batch ------------------------------------------------------------------------------------

STANDINGS = st.builds(
    Standing,
    request=st.builds(
        Request,
        st.just("a-00001"),
        st.just(PHASE),
        st.just("scope"),
        st.just(NOW - 1_000),
        attempts=st.integers(0, 5),
        progress=st.sampled_from(["p", "q"]),
        launched_at=st.none() | st.floats(NOW - 2_000, NOW),
        held_reason=st.none() | st.just("cancelled"),
        code_version=st.sampled_from([CODE, "2"]),
    ),
    work=st.builds(
        OpenWork,
        st.dictionaries(st.sampled_from(sorted(FailureKind)), st.integers(1, 5), max_size=3),
        st.integers(0, 2),
        st.none() | st.floats(NOW - 100, NOW + 100),
    ),
    progress=st.just("p"),
    is_recorded=st.booleans(),
    in_hand_by=st.none() | st.just("run"),
    gate=st.builds(
        Gate, st.just("gate"), st.sampled_from([0.0, NOW - 1, NOW, NOW + 1]), st.booleans()
    ),
    code_version=st.just(CODE),
)


@given(STANDINGS)
def test_a_run_is_begun_only_for_what_is_free_due_wanted_and_not_in_vain(
    standing: Standing,
) -> None:
    verdict = decide(standing, NOW)
    assert verdict.reason
    if verdict.action is Action.RUN:
        assert standing.in_hand_by is None
        assert standing.request.held_reason is None
        assert standing.work.kinds
        assert standing.work.due_at is not None
        assert standing.work.due_at <= NOW
        assert standing.gate.until <= NOW
        assert not standing.gate.needs_person
        assert verdict.attempts < MOST_FRUITLESS_RUNS or standing.work.is_explained


@given(STANDINGS)
def test_whoever_waits_for_a_time_goes_on_or_is_given_up_then(standing: Standing) -> None:
    verdict = decide(standing, NOW)
    assert (verdict.action is Action.WAIT) == (verdict.until is not None)
    seen = 0
    while verdict.until is not None:
        assert verdict.until > NOW
        verdict = decide(standing, verdict.until)
        seen += 1
        assert seen <= 3, "it waits for one thing after the other: gate, domains, cool-down"
    waited = seen > 0
    assert not waited or verdict.action in {Action.RUN, Action.GIVEN_UP}


# -- the directory --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_stale", "is_in_hand", "more_is_coming", "written_s_ago", "is_due"),
    [
        (False, False, False, None, False),
        (True, True, False, None, False),
        (True, False, False, None, True),
        (True, False, False, 0.0, True),
        (True, False, True, None, True),
        (True, False, True, DIRECTORY_EVERY_S - 1, False),
        (True, False, True, DIRECTORY_EVERY_S, True),
    ],
    ids=[
        "it is up to date",
        "a run is at it",
        "there is none",
        "profiles have changed",
        "there is none and more is coming",
        "more is coming and it was written lately",
        "more is coming and it was written long ago",
    ],
)
def test_the_directory_is_written_when_it_would_look_different_but_not_with_every_batch(
    is_stale: bool,
    is_in_hand: bool,
    more_is_coming: bool,
    written_s_ago: float | None,
    is_due: bool,
) -> None:
    assert is_due == is_directory_due(
        is_stale=is_stale,
        is_in_hand=is_in_hand,
        more_is_coming=more_is_coming,
        written_at=None if written_s_ago is None else NOW - written_s_ago,
        now=NOW,
    )


def test_what_waits_for_a_time_of_its_own_is_not_made_to_cool_down_as_well() -> None:
    """A breaker's next probe is back-off enough."""
    request = Request("b", Phase.COMPANY_ENRICHMENT, "s", 0.0, 5, "p", launched_at=100.0)
    held = Standing(request, OpenWork({"breaker_open": 3}, 0, 101.0), "p", is_recorded=False)
    assert decide(held, 101.0).action is Action.RUN
    ours = Standing(request, OpenWork({"local_network": 3}, 0, 0.0), "p", is_recorded=False)
    assert decide(ours, 101.0).action is Action.WAIT
