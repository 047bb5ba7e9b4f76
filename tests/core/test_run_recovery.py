"""What becomes of a run that Dagster shows as under way: every rule, its boundaries, the order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.run_recovery import (
    CANCEL_S,
    DAGSTERS_OWN_S,
    START_S,
    RunAction,
    RunStanding,
    Sign,
    Stage,
    decide_run,
)
from tests.support.time import NOW

STUCK_S = 1_800.0
LEAVE, REPORT, END = RunAction.LEAVE, RunAction.REPORT, RunAction.END


def _run(
    sign: Sign,
    stage: Stage = Stage.STARTED,
    *,
    age_s: float = 10_000.0,
    quiet_s: float = 0.0,
    waits_s: float | None = None,
    is_from_before_start: bool = False,
    is_abandoned: bool = False,
) -> RunStanding:
    return RunStanding(
        stage,
        since=NOW - age_s,
        sign=sign,
        process="process 123 on db1",
        last_sign_at=NOW - quiet_s,
        waits_until=0.0 if waits_s is None else NOW + waits_s,
        is_from_before_start=is_from_before_start,
        is_abandoned=is_abandoned,
    )


ALIVE, GONE, UNREGISTERED, AWAY = Sign.ALIVE, Sign.GONE, Sign.UNREGISTERED, Sign.OUT_OF_SIGHT
STARTING, CANCELING = Stage.STARTING, Stage.CANCELING
OLD = 10_000.0

CASES: dict[str, tuple[RunStanding, RunAction]] = {
    "it works": (_run(ALIVE), LEAVE),
    "it was quiet for almost too long": (_run(ALIVE, quiet_s=STUCK_S - 1), LEAVE),
    "it was quiet for too long": (_run(ALIVE, quiet_s=STUCK_S), END),
    "it has waited on purpose until lately": (
        _run(ALIVE, quiet_s=OLD, waits_s=1 - STUCK_S),
        LEAVE,
    ),
    "it has waited on purpose long ago": (_run(ALIVE, quiet_s=OLD, waits_s=-STUCK_S), END),
    "it waits on purpose": (_run(ALIVE, quiet_s=OLD, waits_s=OLD), LEAVE),
    "it has just begun and said nothing yet": (
        _run(ALIVE, STARTING, age_s=STUCK_S - 1, quiet_s=OLD),
        LEAVE,
    ),
    "it has begun and never said anything": (
        _run(ALIVE, STARTING, age_s=STUCK_S, quiet_s=OLD),
        END,
    ),
    "another machine's, and it works": (_run(AWAY), LEAVE),
    "another machine's, and quiet for too long": (_run(AWAY, quiet_s=STUCK_S), END),
    "gone, and it was heard of lately": (_run(GONE, quiet_s=DAGSTERS_OWN_S - 1), LEAVE),
    "gone, and Dagster has said nothing of it": (_run(GONE, quiet_s=DAGSTERS_OWN_S), REPORT),
    "gone, as soon as it was started": (_run(GONE, age_s=DAGSTERS_OWN_S - 1, quiet_s=OLD), LEAVE),
    "gone, and started long enough ago": (_run(GONE, age_s=DAGSTERS_OWN_S, quiet_s=OLD), REPORT),
    "gone, while it waited on purpose": (_run(GONE, quiet_s=OLD, waits_s=OLD), REPORT),
    "no process yet": (_run(UNREGISTERED, STARTING, age_s=START_S - 1), LEAVE),
    "no process at all": (_run(UNREGISTERED, STARTING, age_s=START_S), REPORT),
    "its code server was restarted just now": (
        _run(UNREGISTERED, STARTING, age_s=DAGSTERS_OWN_S - 1, is_from_before_start=True),
        LEAVE,
    ),
    "its code server was restarted": (
        _run(UNREGISTERED, STARTING, age_s=DAGSTERS_OWN_S, is_from_before_start=True),
        REPORT,
    ),
    "its code server was restarted, and it works on": (
        _run(ALIVE, is_from_before_start=True),
        LEAVE,
    ),
    "its machine has ended": (_run(AWAY, is_abandoned=True), REPORT),
    "its machine has ended, and it waited on purpose": (
        _run(AWAY, is_abandoned=True, waits_s=OLD),
        REPORT,
    ),
    "cancelled, and its machine has ended": (_run(AWAY, CANCELING, is_abandoned=True), REPORT),
    "it lives, and its beat is late": (_run(ALIVE, is_abandoned=True), LEAVE),
    "cancelled, and it may still obey": (_run(ALIVE, CANCELING, age_s=CANCEL_S - 1), LEAVE),
    "cancelled, and it does not obey": (_run(ALIVE, CANCELING, age_s=CANCEL_S), END),
    "cancelled on another machine, and it does not obey": (
        _run(AWAY, CANCELING, age_s=CANCEL_S),
        END,
    ),
    "cancelled, and it has obeyed": (_run(GONE, CANCELING, quiet_s=DAGSTERS_OWN_S), REPORT),
    "cancelled before it began": (_run(UNREGISTERED, CANCELING, age_s=START_S), REPORT),
    "cancelled while it waited on purpose": (
        _run(ALIVE, CANCELING, age_s=CANCEL_S, waits_s=OLD),
        END,
    ),
}


@pytest.mark.parametrize(("run", "action"), CASES.values(), ids=CASES)
def test_each_rule_says_what_is_done_with_a_run(run: RunStanding, action: RunAction) -> None:
    verdict = decide_run(run, NOW, stuck_after_s=STUCK_S)
    assert verdict.action is action
    assert bool(verdict.reason) == (action is not LEAVE)
    assert verdict.is_cancel == (action is not LEAVE and run.stage is CANCELING)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (_run(GONE, quiet_s=60), "The worker (process 123 on db1) is gone; what it finished is"),
        (_run(UNREGISTERED, STARTING), "No worker of this run has begun within 180 s."),
        (
            _run(UNREGISTERED, STARTING, is_from_before_start=True),
            "Dagster's code server was restarted before a worker of this run had begun.",
        ),
        (
            _run(ALIVE, CANCELING),
            "Cancelled; the worker (process 123 on db1) did not end by itself and was ended.",
        ),
        (
            _run(ALIVE, quiet_s=1_900),
            "Stuck: for 1900 s there was no committed state, no call and no event "
            "(PIPELINE_STUCK_AFTER is 1800). The worker (process 123 on db1) was ended;",
        ),
    ],
    ids=["gone", "never begun", "restarted", "cancelled", "stuck"],
)
def test_the_reason_says_what_was_seen_of_which_process(run: RunStanding, words: str) -> None:
    assert decide_run(run, NOW, stuck_after_s=STUCK_S).reason.startswith(words)


def test_a_cancel_that_is_not_obeyed_goes_before_being_stuck() -> None:
    run = _run(ALIVE, CANCELING, quiet_s=OLD)
    assert decide_run(run, NOW, stuck_after_s=STUCK_S).reason.startswith("Cancelled")
    lately = replace(run, since=NOW - CANCEL_S + 1)
    assert decide_run(lately, NOW, stuck_after_s=60).reason.startswith("Stuck")


RUNS = st.builds(
    RunStanding,
    stage=st.sampled_from(Stage),
    since=st.floats(NOW - 5_000, NOW),
    sign=st.sampled_from(Sign),
    process=st.just("process 1 on here"),
    last_sign_at=st.floats(NOW - 5_000, NOW),
    waits_until=st.just(0.0) | st.floats(NOW - 5_000, NOW + 5_000),
    is_from_before_start=st.booleans(),
    is_abandoned=st.booleans(),
)


@given(RUNS)
def test_nobody_ends_a_process_that_is_gone_or_unknown_nor_reports_one_that_lives(
    run: RunStanding,
) -> None:
    action = decide_run(run, NOW, stuck_after_s=STUCK_S).action
    assert action is not END or run.sign in {ALIVE, AWAY}
    is_away = run.sign is AWAY and run.is_abandoned
    assert action is not REPORT or is_away or run.sign in {GONE, UNREGISTERED}


@given(RUNS)
def test_whatever_dagster_shows_as_under_way_comes_to_an_end(run: RunStanding) -> None:
    latest = max(NOW, run.waits_until) + max(STUCK_S, START_S, CANCEL_S, DAGSTERS_OWN_S)
    assert decide_run(run, latest, stuck_after_s=STUCK_S).action is not LEAVE


@given(RUNS, st.floats(0, 10_000))
def test_what_is_wrong_with_a_run_stays_wrong_until_it_gives_a_sign(
    run: RunStanding, later_s: float
) -> None:
    before = decide_run(run, NOW, stuck_after_s=STUCK_S).action
    after = decide_run(run, NOW + later_s, stuck_after_s=STUCK_S).action
    assert before is LEAVE or after is before
