"""How batches that are due become runs: ranges, what they may run over, and their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.models import Phase
from resources.core.recovery import (
    Action,
    Gate,
    OpenWork,
    Request,
    RunPlan,
    Standing,
    Verdict,
    plan_runs,
)
from tests.support.time import NOW

PHASE = Phase.PAGE_SCRAPING
MANY = 1_000
Decided = dict[str, tuple[Standing, Verdict]]


def _pair(
    key: str, action: Action = Action.RUN, scope: str = "s", *, is_probe: bool = False, **of: Any
) -> tuple[Standing, Verdict]:
    standing = Standing(
        Request(key, PHASE, scope, NOW, **of),
        OpenWork({"timeout": 2}, 0, 0.0),
        "p",
        is_recorded=False,
        gate=Gate(is_probe=is_probe),
    )
    return standing, Verdict(action, "because")


# What a letter of a row of batches stands for; a dot is a batch that nobody requested.
ACTIONS = {
    "R": Action.RUN,
    "N": Action.NOTHING,
    "M": Action.MEND,
    "I": Action.IN_HAND,
    "W": Action.WAIT,
    "P": Action.PERSON,
    "H": Action.HELD,
    "G": Action.GIVEN_UP,
}
OTHERS = "MIWPHG"


def _keys(row: str) -> list[str]:
    return [f"l-{number:05d}" for number in range(len(row))]


def _decided(row: str) -> Decided:
    """Batches by a row of letters: `R` and `r` are due for two different scopes."""
    keys = _keys(row)
    return {
        key: _pair(key, ACTIONS[letter.upper()], "other" if letter.islower() else "s")
        for key, letter in zip(keys, row, strict=True)
        if letter not in ".s"
    }


def _plan(
    row: str,
    most_batches: int = MANY,
    most_runs: int = MANY,
    settled: Collection[str] | None = None,
) -> list[RunPlan]:
    keys = _keys(row)
    mine = [key for key, letter in zip(keys, row, strict=True) if letter == "s"]
    return plan_runs(
        PHASE,
        keys,
        _decided(row),
        most_batches=most_batches,
        most_runs=most_runs,
        settled=mine if settled is None else settled,
    )


def _drawn(row: str, plans: Sequence[RunPlan]) -> str:
    """A digit under each batch of a plan's range, in the order of the plans."""
    keys = _keys(row)
    drawn = ["-"] * len(row)
    for number, plan in enumerate(plans):
        for place in range(keys.index(plan.first), keys.index(plan.last) + 1):
            assert drawn[place] == "-", "two runs over one batch"
            drawn[place] = str(number)
    return "".join(drawn)


@pytest.mark.parametrize(
    ("row", "most_batches", "most_runs", "drawn"),
    [
        ("", MANY, MANY, ""),
        ("NNs.", MANY, MANY, "----"),
        ("RRR", MANY, MANY, "000"),
        ("NRRN", MANY, MANY, "-00-"),
        ("RNsR", MANY, MANY, "0000"),
        ("R.R", MANY, MANY, "0-1"),
        *((f"R{letter}R", MANY, MANY, "0-1") for letter in OTHERS),
        ("RrR", MANY, MANY, "012"),
        ("RRrr", MANY, MANY, "0011"),
        ("RNrNR", MANY, MANY, "0-1-2"),
        ("RRRRR", 2, MANY, "00112"),
        ("RNNRR", 3, MANY, "0--11"),
        ("RNRR", 3, MANY, "0001"),
        ("R.R.R", MANY, 2, "0-1--"),
        ("RRRR", 2, 1, "00--"),
        ("RRRR", 2, 0, "----"),
        ("R" + "N" * 20 + "R", MANY, MANY, "0" * 22),
        ("R" + "N" * 21 + "R", MANY, MANY, "0" + "-" * 21 + "1"),
    ],
)
def test_batches_that_are_due_become_ranges(
    row: str, most_batches: int, most_runs: int, drawn: str
) -> None:
    assert _drawn(row, _plan(row, most_batches, most_runs)) == drawn


@pytest.mark.parametrize("letter", OTHERS)
def test_a_batch_said_to_be_settled_is_not_run_over_when_its_verdict_says_otherwise(
    letter: str,
) -> None:
    row = f"R{letter}R"
    assert _drawn(row, _plan(row, settled=_keys(row))) == "0-1"


@pytest.mark.parametrize(("row", "batches"), [("RRRR", 4), ("R.R.R", 1), ("RRrr", 2)])
def test_a_probe_is_one_run_that_goes_on_if_it_succeeds(row: str, batches: int) -> None:
    decided = {
        key: (replace(standing, gate=Gate(is_probe=True)), verdict)
        for key, (standing, verdict) in _decided(row).items()
    }
    plans = plan_runs(PHASE, _keys(row), decided, most_batches=9, most_runs=9)
    assert [plan.keys for plan in plans] == [tuple(_keys(row)[:batches])]
    assert plan_runs(PHASE, _keys(row), decided, most_batches=9, most_runs=0) == []


def test_a_plan_says_what_it_is_for_and_whose_work_it_goes_on_with() -> None:
    keys = _keys("RNRR")
    decided = {
        keys[0]: _pair(keys[0], launches=4, last_run_id="one"),
        keys[1]: _pair(keys[1], Action.NOTHING),
        keys[2]: _pair(keys[2], launches=9, last_run_id="two"),
        keys[3]: _pair(keys[3]),
    }
    (plan,) = plan_runs(PHASE, keys, decided, most_batches=9, most_runs=9)
    assert (plan.first, plan.last) == (keys[0], keys[3])
    assert plan.keys == (keys[0], keys[2], keys[3])
    assert (plan.scope, plan.attempt, plan.repairs) == ("s", 5, "two")
    assert plan.reason == "due in 3 batches: 6 timeout"
    assert plan.run_key == f"heal:PAGE_SCRAPING:{keys[0]}:{keys[3]}:5"


def test_a_plan_of_one_batch_says_so_and_repairs_nothing_where_nothing_ran() -> None:
    (plan,) = _plan("R")
    assert (plan.reason, plan.repairs) == ("due in 1 batch: 2 timeout", None)


def test_a_batch_that_dagster_does_not_know_is_not_left_out_silently() -> None:
    with pytest.raises(ValueError, match="l-00000"):
        plan_runs(PHASE, [], _decided("R"), most_batches=1, most_runs=1)


ROWS = st.text(alphabet="RRRrrNNs." + OTHERS, max_size=40)
BATCHES = st.integers(1, 6)


@given(ROWS, BATCHES)
def test_every_batch_that_is_due_is_in_exactly_one_run(row: str, most_batches: int) -> None:
    plans = _plan(row, most_batches)
    wanted = [key for key, letter in zip(_keys(row), row, strict=True) if letter in "Rr"]
    assert Counter(key for plan in plans for key in plan.keys) == Counter(wanted)


@given(ROWS, BATCHES, st.integers(0, 5))
def test_no_run_covers_what_somebody_has_or_holds_or_what_waits(
    row: str, most_batches: int, most_runs: int
) -> None:
    keys = _keys(row)
    decided = _decided(row)
    plans = _plan(row, most_batches, most_runs)
    assert len(plans) <= most_runs
    for plan in plans:
        covered = range(keys.index(plan.first), keys.index(plan.last) + 1)
        assert 1 <= len(covered) <= most_batches
        assert (plan.keys[0], plan.keys[-1]) == (plan.first, plan.last)
        for place in covered:
            letter = row[place]
            assert (keys[place] in plan.keys) == (letter in "Rr")
            assert letter in "RrNs"
            assert letter in "Ns" or decided[keys[place]][0].request.scope == plan.scope


@given(ROWS, BATCHES, st.integers(0, 5))
def test_fewer_runs_are_the_first_ones_of_more(row: str, most_batches: int, most_runs: int) -> None:
    assert _plan(row, most_batches, most_runs) == _plan(row, most_batches)[:most_runs]


def _launched(decided: Mapping[str, tuple[Standing, Verdict]], plans: Sequence[RunPlan]) -> Decided:
    """What is noted when runs are asked for."""
    after = dict(decided)
    for plan in plans:
        for key in plan.keys:
            standing, verdict = after[key]
            request = replace(standing.request, launches=standing.request.launches + 1)
            after[key] = (replace(standing, request=request), verdict)
    return after


@given(
    st.lists(st.text(alphabet="RRrNW", min_size=8, max_size=8), min_size=1, max_size=6),
    BATCHES,
    st.integers(1, 3),
)
def test_no_run_key_is_ever_used_twice_whatever_has_settled_or_come_meanwhile(
    rows: list[str], most_batches: int, most_runs: int
) -> None:
    order, launches, used = _keys("." * 8), Counter[str](), []
    for row in rows:
        decided = {
            key: (replace(standing, request=replace(standing.request, launches=launches[key])), of)
            for key, (standing, of) in _decided(row).items()
        }
        plans = plan_runs(PHASE, order, decided, most_batches=most_batches, most_runs=most_runs)
        used += [plan.run_key for plan in plans]
        for key, (standing, _) in _launched(decided, plans).items():
            launches[key] = standing.request.launches
    assert len(used) == len(set(used))


def test_the_same_decision_has_the_same_key_until_its_run_is_noted() -> None:
    decided = _decided("RR")
    first = plan_runs(PHASE, _keys("RR"), decided, most_batches=9, most_runs=9)
    again = plan_runs(PHASE, _keys("RR"), decided, most_batches=9, most_runs=9)
    noted = _launched(decided, first)
    later = plan_runs(PHASE, _keys("RR"), noted, most_batches=9, most_runs=9)
    assert [plan.run_key for plan in first] == [plan.run_key for plan in again]
    assert {plan.run_key for plan in first}.isdisjoint(plan.run_key for plan in later)


def test_a_thousand_invocations_of_ten_batches_each_are_planned_as_fast_as_one() -> None:
    keys = [f"l-{number:05d}" for number in range(10_000)]
    decided = {key: _pair(key, scope=f"s{place // 10}") for place, key in enumerate(keys)}
    looked_at = Counter[str]()

    class Watched(dict[str, tuple[Standing, Verdict]]):
        def items(self) -> Any:
            for key, pair in super().items():
                looked_at[key] += 1
                yield key, pair

    plans = plan_runs(PHASE, keys, Watched(decided), most_batches=40, most_runs=MANY)
    assert len(plans) == 1_000
    assert max(looked_at.values()) <= 2
