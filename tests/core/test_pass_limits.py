"""How a pass ends before all is done: time limits, what stops it for all, and what it tells."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.batch_runner import (
    BatchRunner,
    BatchSettled,
    BatchStarted,
    Event,
    Noticed,
    PassEnded,
    RunLimits,
)
from resources.core.errors import Failure, FailureKind
from resources.core.models import DomainTask, State
from resources.core.ports import Clock
from resources.core.rounds import RoundPolicy
from tests.support.passes import DONE, Answer, MemoryQueue, Outcome, Row, ScriptedWork
from tests.support.time import NOW
from tests.support.virtual_time import LoopClock, run_at_once

LIMITS = RunLimits(
    phase_timeout_s=3600, domain_timeout_s=150, batch_timeout_s=300, batch_size=50, beat_s=5
)


def _bug(error: Exception) -> Failure:
    return Failure(FailureKind.BUG, repr(error), stack="Traceback")


def _taking(seconds: float, outcome: Outcome = DONE) -> Answer:
    async def take(_task: DomainTask) -> Outcome:
        await asyncio.sleep(seconds)
        return outcome

    return take


@dataclass
class Timed:
    """A pass in virtual time, and when what happened in it, seconds after its start."""

    queue: MemoryQueue
    events: list[tuple[float, Event]]
    begun: dict[str, float]
    ended: dict[str, float]

    def row(self, domain: str) -> Row:
        return self.queue.rows[domain]

    def told(self, kind: type) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def settled(self) -> list[str]:
        return [event.key for event in self.told(BatchSettled)]

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.told(Noticed)]

    @property
    def end(self) -> PassEnded:
        event = self.events[-1][1]
        assert isinstance(event, PassEnded)
        return event


class _TimedWork(ScriptedWork):
    def __init__(self, answers: Mapping[str, Outcome | Answer], concurrency: int) -> None:
        super().__init__(answers, concurrency)
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    async def close(self) -> None:
        pass

    async def attempt(self, task: DomainTask) -> Outcome:
        time = asyncio.get_running_loop().time
        self.began[task.domain] = time()
        try:
            return await super().attempt(task)
        finally:
            self.ended[task.domain] = time()


def _pass(
    batches: dict[str, list[str]] | MemoryQueue,
    answers: Mapping[str, Outcome | Answer] | None = None,
    *,
    concurrency: int = 1,
    limits: RunLimits = LIMITS,
    notices: Callable[[], Sequence[str]] | None = None,
    clock: Clock | None = None,
) -> Timed:
    queue = batches if isinstance(batches, MemoryQueue) else MemoryQueue(batches)
    queue.clock = LoopClock()  # type: ignore[assignment]
    work = _TimedWork(answers or {}, concurrency)
    events: list[tuple[float, Event]] = []

    async def run() -> None:
        more: dict[str, Any] = {} if notices is None else {"notices": notices}
        policy = RoundPolicy(max_rounds=8, backoff_base_s=60)
        runner = BatchRunner(work, queue, clock or LoopClock(), policy, limits, _bug, **more)
        async for event in runner.run(list(queue.batches)):
            events.append((asyncio.get_running_loop().time(), event))

    run_at_once(run())
    return Timed(queue, events, work.began, work.ended)


def _all(batches: Mapping[str, Sequence[str]], answer: Outcome | Answer) -> dict[str, Any]:
    return {domain: answer for domains in batches.values() for domain in domains}


# -- the limit of a batch ---------------------------------------------------------------------


def test_at_a_batchs_limit_what_is_in_hand_is_cut_off_and_the_rest_waits() -> None:
    batches = {"a": ["a1", "a2", "a3", "a4"], "b": ["b1"]}
    timed = _pass(batches, _all(batches, _taking(120)))
    assert timed.begun == {"a1": 0, "a2": 120, "a3": 240, "b1": 300}
    assert timed.ended["a3"] == 300
    cut, left = timed.row("a3"), timed.row("a4")
    assert (cut.state, cut.kind, cut.rounds) == (State.WAITING, "timeout", 1)
    assert cut.not_before == NOW + 300 + 60
    assert cut.reason == (
        "the limit of 300 s for batch a was reached (batch_timeout) with this domain in hand"
    )
    assert (left.state, left.kind, left.rounds) == (State.WAITING, "cancelled", 0)
    assert left.reason == (
        "the limit of 300 s for batch a was reached (batch_timeout); "
        "what is left waits for the next run or retry"
    )
    assert timed.row("a1").state is timed.row("a2").state is State.SUCCEEDED


def test_the_other_batches_go_on_and_the_pass_is_not_stopped() -> None:
    batches = {"a": ["a1", "a2", "a3", "a4"], "b": ["b1", "b2"]}
    timed = _pass(batches, _all(batches, _taking(120)))
    assert timed.settled == ["b"]
    assert timed.end.stopped_by is None
    assert timed.end.unsettled["a"].waiting_kinds == {"timeout": 1, "cancelled": 1}
    assert timed.notices == [
        "the limit of 300 s for batch a was reached (batch_timeout); "
        "what is left waits for the next run or retry"
    ]


def test_a_batch_that_waits_in_line_does_not_lose_its_time() -> None:
    batches = {key: [f"{key}{number}" for number in range(2)] for key in "abcdef"}
    timed = _pass(batches, _all(batches, _taking(140)))
    assert timed.settled == list("abcdef")
    assert timed.begun["f0"] == 5 * 280


def test_a_batch_that_begins_beside_anothers_last_domains_has_its_whole_time() -> None:
    """The first one's hang as long as a domain may; the second one's still get done."""
    batches = {"a": ["a0", "a1", "a2"], "b": [f"b{number}" for number in range(4)]}
    answers = _all(batches, _taking(70)) | {d: _taking(9999) for d in batches["a"]}
    timed = _pass(batches, answers, concurrency=4)
    assert timed.settled == ["b"]
    assert timed.begun["b0"] == 0
    assert {timed.row(d).reason for d in batches["a"]} == {
        "the limit of 150 s for one domain was reached (domain_timeout)"
    }


def test_a_batch_of_twice_the_size_has_twice_the_time() -> None:
    batches = {"a": [f"a{number}" for number in range(4)]}
    limits = replace(LIMITS, batch_size=2)
    timed = _pass(batches, _all(batches, _taking(140)), limits=limits)
    assert timed.settled == ["a"]
    assert timed.ended["a3"] == 560


def test_domains_that_are_settled_already_count_for_the_size_of_their_batch() -> None:
    queue = MemoryQueue({"a": [f"a{number}" for number in range(4)]})
    queue.rows["a0"].state = queue.rows["a1"].state = State.SUCCEEDED
    slow = {"a2": _taking(400), "a3": _taking(150)}
    limits = replace(LIMITS, batch_size=2, domain_timeout_s=450)
    assert _pass(queue, slow, limits=limits).settled == ["a"]


def test_suspects_come_long_after_the_others_of_their_batch_and_still_have_time() -> None:
    queue = MemoryQueue({"a": ["a1", "a2"], "b": ["b1", "b2"], "c": ["c1", "c2"]})
    queue.rows["a2"].deaths = 4
    timed = _pass(queue, {domain: _taking(140) for domain in queue.rows})
    assert timed.begun["a2"] == 5 * 140
    assert timed.settled == ["b", "c", "a"]


def test_suspects_of_a_batch_whose_time_is_over_are_not_begun() -> None:
    queue = MemoryQueue({"a": ["a1", "a2", "a3"]})
    queue.rows["a3"].deaths = 4
    timed = _pass(queue, {"a1": _taking(140), "a2": _taking(200)}, limits=_domain_limit(200))
    assert list(timed.begun) == ["a1", "a2"]
    assert timed.row("a3").kind == "cancelled"


class _SlowQueue(MemoryQueue):
    async def claim(self, *arguments: Any, **more: Any) -> Sequence[DomainTask]:
        await asyncio.sleep(120)
        return await super().claim(*arguments, **more)


def test_what_was_claimed_too_late_for_its_batch_is_given_back_untried() -> None:
    queue = _SlowQueue({"a": ["a1", "a2", "a3"], "b": ["b1"]})
    answers = {"a1": _taking(90), "a2": _taking(10), "b1": _taking(10)}
    limits = replace(LIMITS, batch_timeout_s=100)
    timed = _pass(queue, answers, concurrency=2, limits=limits)
    assert timed.begun == {"a1": 120, "a2": 120, "b1": 370}
    assert queue.claimed == ["a1", "a2", "a3", "b1"]
    row = timed.row("a3")
    assert (row.state, row.kind, row.rounds) == (State.WAITING, "cancelled", 0)
    assert "limit of 100 s for batch a" in (row.reason or "")


def test_what_was_claimed_too_late_for_its_step_is_given_back_untried() -> None:
    timed = _pass(_SlowQueue({"a": ["a1", "a2"]}), limits=replace(LIMITS, phase_timeout_s=100))
    assert timed.begun == {}
    assert {(row.kind, row.rounds) for row in timed.queue.rows.values()} == {("cancelled", 0)}
    assert "phase_timeout" in (timed.row("a1").reason or "")


def test_a_clock_that_lags_behind_the_timer_lets_nothing_more_begin() -> None:
    class SlowClock(LoopClock):
        def now(self) -> float:
            return NOW + 0.99 * (super().now() - NOW)

    batches = {"a": ["a1", "a2", "a3", "a4"]}
    timed = _pass(batches, _all(batches, _taking(120)), clock=SlowClock())
    assert list(timed.begun) == ["a1", "a2", "a3"]
    assert (timed.row("a4").kind, timed.row("a4").rounds) == ("cancelled", 0)


def test_a_domain_of_two_lists_is_worked_on_for_the_one_whose_time_is_not_over() -> None:
    batches = {"a": ["a1", "a2", "shared"], "b": ["shared", "b1"]}
    answers = {"a1": _taking(149), "a2": _taking(9999), "shared": _taking(10)}
    timed = _pass(batches, answers, limits=replace(LIMITS, batch_timeout_s=200))
    assert timed.row("shared").state is State.SUCCEEDED
    assert timed.begun["shared"] == 200
    assert timed.settled == ["b"]


def test_what_waits_for_a_reason_of_its_own_keeps_it_when_the_time_is_over() -> None:
    queue = MemoryQueue({"a": ["a1", "a2", "a3", "a4"]})
    queue.rows["a4"] = Row(State.WAITING, "http_5xx", "503", rounds=2, not_before=NOW - 5)
    timed = _pass(queue, {domain: _taking(140) for domain in queue.rows})
    assert list(timed.begun) == ["a1", "a2", "a3"]
    assert (timed.row("a4").kind, timed.row("a4").reason) == ("http_5xx", "503")


# -- the limits of a domain and of a step -----------------------------------------------------


def _domain_limit(seconds: float) -> RunLimits:
    return replace(LIMITS, domain_timeout_s=seconds)


def test_a_domain_is_cut_off_at_its_own_limit_which_is_named() -> None:
    timed = _pass({"a": ["a1", "a2"]}, {"a1": _taking(9999)}, limits=_domain_limit(45))
    row = timed.row("a1")
    assert timed.ended["a1"] == 45
    assert (row.kind, row.rounds) == ("timeout", 1)
    assert row.reason == "the limit of 45 s for one domain was reached (domain_timeout)"
    assert timed.row("a2").state is State.SUCCEEDED


def test_what_is_in_hand_at_the_end_of_a_steps_time_is_finished_or_cut_off() -> None:
    batches = {"a": ["a1", "a2", "a3", "a4"]}
    answers = {"a1": _taking(40), "a2": _taking(9999), "a3": _taking(40), "a4": _taking(1)}
    limits = replace(LIMITS, phase_timeout_s=60)
    timed = _pass(batches, answers, concurrency=2, limits=limits)
    assert timed.begun == {"a1": 0, "a2": 0, "a3": 40}
    assert timed.row("a3").state is State.SUCCEEDED
    assert timed.ended["a2"] == 150
    assert timed.row("a2").kind == "timeout"
    assert "domain_timeout" in (timed.row("a2").reason or "")
    left = timed.row("a4")
    assert (left.kind, left.rounds) == ("cancelled", 0)
    assert left.reason == (
        "the limit of 60 s for one step was reached (phase_timeout); "
        "what is left waits for the next run"
    )
    assert timed.end.stopped_by == Failure(FailureKind.CANCELLED, left.reason)


def test_of_two_limits_each_batch_names_the_one_that_it_ran_into() -> None:
    batches = {"a": ["a1", "a2", "a3"], "b": ["b1", "b2", "b3"]}
    limits = replace(LIMITS, batch_timeout_s=200, phase_timeout_s=300)
    timed = _pass(batches, _all(batches, _taking(140)), limits=limits)
    assert "batch_timeout" in (timed.row("a3").reason or "")
    assert list(timed.begun) == ["a1", "a2", "b1"]
    assert "phase_timeout" in (timed.row("b2").reason or "")


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    seconds=st.lists(st.integers(0, 400), min_size=30, max_size=30),
    concurrency=st.integers(1, 5),
    batch_timeout=st.integers(50, 500),
    phase_timeout=st.integers(50, 1500),
    deadly=st.sets(st.integers(0, 29), max_size=3),
)
def test_no_limit_is_ever_exceeded_and_every_domain_is_accounted_for(
    sizes: list[int],
    seconds: list[int],
    concurrency: int,
    batch_timeout: int,
    phase_timeout: int,
    deadly: set[int],
) -> None:
    names = iter(range(30))
    batches = {f"k{n}": [str(next(names)) for _ in range(size)] for n, size in enumerate(sizes)}
    queue = MemoryQueue(batches)
    for number in deadly & set(map(int, queue.rows)):
        queue.rows[str(number)].deaths = 2
    limits = replace(LIMITS, batch_timeout_s=batch_timeout, phase_timeout_s=phase_timeout)
    answers = {str(number): _taking(s) for number, s in enumerate(seconds)}
    timed = _pass(queue, answers, concurrency=concurrency, limits=limits)
    spent: defaultdict[str, float] = defaultdict(float)
    for key, domains in batches.items():
        spans = sorted((timed.begun[d], timed.ended[d]) for d in domains if d in timed.begun)
        reached = 0.0
        for begin, end in spans:
            spent[key] += max(0.0, end - max(begin, reached))
            reached = max(reached, end)
        assert spent[key] <= batch_timeout + 1e-6
    for domain, begin in timed.begun.items():
        assert begin < phase_timeout
        assert timed.ended[domain] - begin <= LIMITS.domain_timeout_s + 1e-6
    for domain, row in queue.rows.items():
        if domain not in timed.begun:
            assert (row.state, row.kind, row.rounds) == (State.WAITING, "cancelled", 0)
        elif row.state is not State.SUCCEEDED:
            assert (row.kind, row.rounds) == ("timeout", 1)
    assert all(row.holder is None for row in queue.rows.values())
    assert set(timed.settled) | set(timed.end.unsettled) == set(batches)


# -- what stops a pass for all ----------------------------------------------------------------

OPEN = Failure(
    FailureKind.BREAKER_OPEN, "pdl is away", provider="pdl", retry_after_s=120, is_for_all=True
)


def test_what_every_domain_would_meet_stops_the_pass_and_the_rest_waits_for_it() -> None:
    batches = {"a": ["a1", "a2", "a3"], "b": ["b1", "b2"]}
    timed = _pass(batches, {"a1": _taking(10, OPEN), "a2": _taking(60)}, concurrency=2)
    assert timed.begun == {"a1": 0, "a2": 0}
    assert timed.row("a2").state is State.SUCCEEDED  # what is in hand is finished
    assert timed.queue.held == [(("a", "b"), OPEN)]
    for domain in ("a3", "b1", "b2"):
        row = timed.row(domain)
        assert (row.state, row.kind, row.rounds) == (State.WAITING, "breaker_open", 0)
        assert row.not_before == NOW + 60 + 120
    assert timed.end.stopped_by == OPEN
    assert list(timed.end.unsettled) == ["a", "b"]


def test_the_same_failure_of_one_domain_alone_stops_nothing() -> None:
    batches = {"a": ["a1", "a2"]}
    timed = _pass(batches, {"a1": replace(OPEN, is_for_all=False)})
    assert list(timed.begun) == ["a1", "a2"]
    assert timed.end.stopped_by is None
    assert timed.queue.held == []


def test_the_first_of_several_reasons_is_the_one_that_is_told() -> None:
    down = Failure(FailureKind.LOCAL_NETWORK, "down")
    batches = {"a": ["a1", "a2", "a3"]}
    timed = _pass(batches, {"a1": _taking(1, OPEN), "a2": _taking(2, down)}, concurrency=2)
    assert timed.end.stopped_by == OPEN
    assert timed.row("a3").kind == "breaker_open"


def test_deadly_domains_are_not_begun_once_a_pass_is_stopped_for_all() -> None:
    queue = MemoryQueue({"a": ["a1", "a2"]})
    queue.rows["a2"].deaths = 2
    assert list(_pass(queue, {"a1": OPEN}).begun) == ["a1"]


# -- what a pass tells ------------------------------------------------------------------------


def test_notices_are_told_as_they_come_and_before_the_end() -> None:
    pending = ["the breaker of pdl is open"]

    def drain() -> list[str]:
        found, pending[:] = list(pending), []
        return found

    async def more(_task: DomainTask) -> Outcome:
        pending.append("the breaker of pdl is closed")
        return DONE

    class LateQueue(MemoryQueue):
        async def tallies(self, batch_keys: Sequence[str]) -> Any:
            if list(batch_keys) == ["b"]:
                pending.append("too late for a turn")
            return await super().tallies(batch_keys)

    queue = LateQueue({"a": ["a1"], "b": ["b1"]})
    queue.rows["b1"].holder = "somebody else"
    timed = _pass(queue, {"a1": more}, notices=drain)
    assert [type(event) for _, event in timed.events] == [
        BatchStarted,
        Noticed,
        Noticed,
        BatchSettled,
        Noticed,
        PassEnded,
    ]
    assert timed.notices == [
        "the breaker of pdl is open",
        "the breaker of pdl is closed",
        "too late for a turn",
    ]


def test_beats_name_the_batch_that_was_begun_last() -> None:
    batches = {"a": ["a1", "a2"], "b": ["b1"]}
    timed = _pass(batches, _all(batches, _taking(12)))
    assert [started.sentence for started in timed.told(BatchStarted)] == [
        "Processing batch 1/2 (2 domains): a",
        "Processing batch 2/2 (1 domains): b",
    ]
    first, last = (started.sentence for started in timed.told(BatchStarted))
    assert timed.queue.doing == [first] * 5 + [last] * 3
    assert timed.queue.beats == [(0, 3)] * 3 + [(1, 3)] * 2 + [(2, 3)] * 3


def test_nothing_is_told_to_be_worked_on_where_nothing_is() -> None:
    queue = MemoryQueue({"a": ["a1"]})
    queue.rows["a1"].holder = "somebody else"
    timed = _pass(queue)
    assert timed.told(BatchStarted) == []
    assert not any(timed.queue.doing)


@pytest.mark.parametrize("seconds", [4, 5.5])
def test_a_beat_comes_at_once_and_then_at_most_every_five_seconds(seconds: float) -> None:
    timed = _pass({"a": ["a1"]}, {"a1": _taking(seconds)})
    assert len(timed.queue.beats) == 1 + int(seconds > 5)
