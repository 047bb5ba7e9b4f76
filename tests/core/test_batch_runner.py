"""One pass over batches: what is claimed, written and reported, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.batch_runner import (
    BatchRunner,
    BatchSettled,
    BatchStarted,
    Event,
    PassEnded,
    RunLimits,
)
from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import DomainTask, State
from resources.core.rounds import RoundPolicy
from resources.core.run_events import BROKEN_OFF
from tests.support.passes import DONE, Answer, Gate, MemoryQueue, Outcome, Row, ScriptedWork
from tests.support.time import NOW, ManualClock, ManualSleep, until

POLICY = RoundPolicy(max_rounds=8, backoff_base_s=60)
LIMITS = RunLimits(
    phase_timeout_s=3600, domain_timeout_s=60, batch_timeout_s=1800, batch_size=50, beat_s=5
)


def _bug(error: Exception) -> Failure:
    return Failure(FailureKind.BUG, repr(error), stack="Traceback")


def _runner(
    queue: MemoryQueue,
    work: ScriptedWork,
    clock: ManualClock | None = None,
    limits: RunLimits = LIMITS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> BatchRunner:
    return BatchRunner(work, queue, clock or ManualClock(), POLICY, limits, _bug, sleep)


def _pass(
    queue: MemoryQueue, work: ScriptedWork | None = None, clock: ManualClock | None = None
) -> list[Event]:
    async def run() -> list[Event]:
        runner = _runner(queue, work or ScriptedWork(), clock)
        return [event async for event in runner.run(list(queue.batches))]

    return asyncio.run(run())


def _settled_keys(events: Iterable[Event]) -> list[str]:
    return [event.key for event in events if isinstance(event, BatchSettled)]


def _ended(events: Sequence[Event]) -> PassEnded:
    assert isinstance(events[-1], PassEnded)
    return events[-1]


def _two_batches() -> dict[str, list[str]]:
    return {"a": ["a1", "a2", "a3"], "b": ["b1", "b2"]}


# -- what is reported, and when ---------------------------------------------------------------


def test_a_pass_settles_all_and_ends_with_nothing_left() -> None:
    queue = MemoryQueue(_two_batches())
    events = _pass(queue)
    assert {row.state for row in queue.rows.values()} == {State.SUCCEEDED}
    assert sorted(_settled_keys(events)) == ["a", "b"]
    assert _ended(events) == PassEnded({}, None)
    assert queue.ended == "finished"


def test_settled_batches_are_reported_first_and_without_work() -> None:
    queue = MemoryQueue({"a": ["a1"], "b": ["b1"], "c": ["c1"]})
    queue.rows["b1"].state = queue.rows["c1"].state = State.NOT_FOUND
    work = ScriptedWork()
    events = _pass(queue, work)
    settled = [event for event in events if isinstance(event, BatchSettled)]
    assert [(event.key, event.is_new) for event in settled] == [
        ("b", False),
        ("c", False),
        ("a", True),
    ]
    assert isinstance(events[2], BatchStarted)
    assert [task.domain for task in work.begun] == ["a1"]


def test_a_batch_to_refresh_is_worked_on_and_reported_when_it_is_worked_off() -> None:
    queue = MemoryQueue({"a": ["a1", "a2"], "b": ["b1"]})
    for domain in ("a1", "a2"):
        queue.rows[domain] = Row(State.SUCCEEDED, revision=1, refresh_asked=domain == "a2")
    queue.rows["b1"] = Row(State.SUCCEEDED, revision=1)
    events = _pass(queue)
    assert [(event.key, event.is_new) for event in events if isinstance(event, BatchSettled)] == [
        ("b", False),
        ("a", True),
    ]
    assert BatchStarted("a", 1, 1, 1) in events
    assert queue.claimed == ["a2"]
    assert _ended(events).unsettled == {}


@pytest.mark.parametrize("not_before", [0.0, NOW + 60])
def test_a_refresh_that_fails_or_is_not_due_leaves_its_batch_settled(not_before: float) -> None:
    queue = MemoryQueue({"a": ["a1"]})
    queue.rows["a1"] = Row(State.SUCCEEDED, revision=1, refresh_asked=True, not_before=not_before)
    events = _pass(queue, ScriptedWork({"a1": Failure(FailureKind.TIMEOUT, "slow")}))
    (settled,) = [event for event in events if isinstance(event, BatchSettled)]
    assert (settled.key, settled.is_new, settled.tally.refreshing) == ("a", True, 1)
    assert _ended(events) == PassEnded({}, None)


def test_a_batch_is_reported_once_also_when_its_last_refresh_is_worked_on_alone() -> None:
    queue = MemoryQueue({"a": ["a1", "a2"]})
    for domain in ("a1", "a2"):
        queue.rows[domain] = Row(State.SUCCEEDED, revision=1, refresh_asked=True)
    queue.rows["a2"].deaths = 2
    events = _pass(queue)
    assert queue.claimed == ["a1", "a2"]
    (settled,) = [event for event in events if isinstance(event, BatchSettled)]
    assert settled.tally.fingerprint == "2.4"


def test_a_batch_is_announced_once_with_its_number_and_what_is_left_of_it() -> None:
    queue = MemoryQueue(_two_batches() | {"c": ["c1"]})
    queue.rows["c1"].state = State.SUCCEEDED
    queue.rows["a1"].state = State.SUCCEEDED
    started = [event for event in _pass(queue) if isinstance(event, BatchStarted)]
    assert started == [BatchStarted("a", 1, 2, 2), BatchStarted("b", 2, 2, 2)]


@pytest.mark.parametrize("concurrency", [1, 2, 3, 4, 8, 64])
def test_a_batch_is_reported_as_soon_as_its_last_domain_is_settled(concurrency: int) -> None:
    async def run() -> None:
        batches = {key: [f"{key}{n}" for n in range(4)] for key in "abcd"}
        gate = Gate()
        queue = MemoryQueue(batches)
        work = ScriptedWork({"d3": gate}, concurrency)
        keys = []
        async for event in _runner(queue, work).run(list(batches)):
            if isinstance(event, BatchSettled):
                keys.append(event.key)
            if keys == ["a", "b", "c"]:
                gate.open()  # the last domain of all is held back until the others are reported
        assert keys == ["a", "b", "c", "d"]

    asyncio.run(asyncio.wait_for(run(), 20))


@given(
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    concurrency=st.integers(1, 9),
)
def test_with_one_domain_at_a_time_batches_are_reported_in_order(
    sizes: list[int], concurrency: int
) -> None:
    batches = {f"k{n}": [f"k{n}-{m}" for m in range(size)] for n, size in enumerate(sizes)}
    queue = MemoryQueue(batches)
    events = _pass(queue, ScriptedWork(concurrency=concurrency))
    assert sorted(_settled_keys(events)) == sorted(batches)
    if concurrency == 1:
        assert _settled_keys(events) == list(batches)


def test_one_slow_domain_does_not_hold_up_the_reports_of_other_batches() -> None:
    async def run() -> list[str]:
        gate = Gate()
        queue = MemoryQueue(_two_batches())
        keys = []
        async for event in _runner(queue, ScriptedWork({"a2": gate})).run(["a", "b"]):
            if isinstance(event, BatchSettled):
                keys.append(event.key)
                gate.open()
        return keys

    assert asyncio.run(asyncio.wait_for(run(), 20)) == ["b", "a"]


def test_a_batch_that_somebody_else_finished_meanwhile_is_reported() -> None:
    async def elsewhere(task: DomainTask) -> Outcome:
        queue.rows["b1"] = Row(State.SUCCEEDED, revision=1)
        return DONE

    queue = MemoryQueue({"a": ["a1"], "b": ["b1"]})
    queue.rows["b1"].holder = "somebody else"
    events = _pass(queue, ScriptedWork({"a1": elsewhere}))
    assert _settled_keys(events) == ["a", "b"]
    assert _ended(events).unsettled == {}


def test_what_another_worker_holds_is_left_to_it_and_counted_as_unsettled() -> None:
    queue = MemoryQueue(_two_batches())
    queue.rows["a2"].holder = "somebody else"
    events = _pass(queue)
    assert _settled_keys(events) == ["b"]
    assert _ended(events).unsettled["a"].claimed == 1
    assert "a2" not in queue.claimed
    assert queue.rows["a2"].holder == "somebody else"


def test_a_domain_of_two_batches_settles_both() -> None:
    queue = MemoryQueue({"a": ["shared", "a1"], "b": ["shared"]})
    events = _pass(queue)
    assert sorted(_settled_keys(events)) == ["a", "b"]
    assert queue.claimed.count("shared") == 1


def test_no_batches_at_all_end_at_once() -> None:
    assert _pass(MemoryQueue({})) == [PassEnded({}, None)]


# -- what is claimed --------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    concurrency=st.integers(1, 40),
    failing=st.sets(st.integers(0, 200), max_size=40),
    deadly=st.sets(st.integers(0, 200), max_size=4),
)
def test_nothing_is_claimed_twice_in_a_pass_and_concurrency_is_never_exceeded(
    sizes: list[int], concurrency: int, failing: set[int], deadly: set[int]
) -> None:
    names = iter(range(1000))
    batches = {f"k{n}": [str(next(names)) for _ in range(size)] for n, size in enumerate(sizes)}
    kinds = [kind for kind in FailureKind if kind not in {"store", "local_network"}]
    queue = MemoryQueue(batches)
    for number in deadly:
        if str(number) in queue.rows:
            queue.rows[str(number)].deaths = 2 + number % 3
    answers: dict[str, Outcome | Answer] = {
        str(number): Failure(kinds[number % len(kinds)], "why") for number in failing
    }
    work = ScriptedWork(answers, concurrency)
    _pass(queue, work)
    assert sorted(queue.claimed) == sorted(queue.rows)
    assert work.most_in_hand <= concurrency


def test_domains_are_begun_in_the_order_of_the_batches() -> None:
    work = ScriptedWork(concurrency=2)
    _pass(MemoryQueue(_two_batches()), work)
    assert [task.domain for task in work.begun] == ["a1", "a2", "a3", "b1", "b2"]


def test_free_places_are_filled_while_others_are_still_busy() -> None:
    async def run() -> None:
        gate = Gate()
        queue = MemoryQueue({"a": [f"a{n}" for n in range(20)]})
        work = ScriptedWork({"a0": gate}, concurrency=4)
        runner = _runner(queue, work)

        async def consume() -> None:
            async for _ in runner.run(["a"]):
                pass

        running = asyncio.ensure_future(consume())
        await until(lambda: sum(row.state.is_settled for row in queue.rows.values()) == 19)
        assert work.in_hand == ["a0"]
        gate.open()
        await running

    asyncio.run(run())


def test_domains_that_are_not_due_are_left_and_the_batch_stays_unsettled() -> None:
    queue = MemoryQueue(_two_batches())
    queue.rows["a2"] = Row(State.WAITING, "timeout", rounds=1, not_before=NOW + 60)
    events = _pass(queue)
    assert "a2" not in queue.claimed
    assert _ended(events).unsettled["a"].waiting_kinds == {"timeout": 1}


@pytest.mark.parametrize("kind", [FailureKind.BREAKER_OPEN, FailureKind.TIMEOUT])
def test_a_clock_set_back_does_not_make_a_failed_domain_due_again_in_the_same_pass(
    kind: FailureKind,
) -> None:
    clock = ManualClock()

    async def fail(task: DomainTask) -> Outcome:
        clock.advance(-7200)
        return Failure(kind, "why")

    queue = MemoryQueue({"a": ["a1", "a2"]})
    _pass(queue, ScriptedWork({"a1": fail}), clock)
    assert sorted(queue.claimed) == ["a1", "a2"]


def test_domains_in_whose_hands_workers_died_are_worked_on_alone_and_last() -> None:
    queue = MemoryQueue({"a": ["a1", "a2", "a3"], "b": ["b1", "b2", "b3"]})
    queue.rows["a1"].deaths = queue.rows["b2"].deaths = 4
    queue.rows["a2"].deaths = 1  # one death is nobody's fault yet
    work = ScriptedWork()
    events = _pass(queue, work)
    assert [task.domain for task in work.begun][-2:] == ["a1", "b2"]
    assert {task.domain for task in work.begun if task.is_alone} == {"a1", "b2"}
    assert work.together["a1"] == {"a1"}
    assert work.together["b2"] == {"b2"}
    assert _ended(events).unsettled == {}
    assert sorted(_settled_keys(events)) == ["a", "b"]


def test_suspects_are_worked_on_in_groups_with_nothing_else_in_hand() -> None:
    queue = MemoryQueue({"a": [f"a{n:02d}" for n in range(30)]})
    suspects = {f"a{n:02d}": 2 for n in range(5)} | {f"a{n:02d}": 3 for n in range(5, 11)}
    for domain, deaths in suspects.items():
        queue.rows[domain].deaths = deaths
    work = ScriptedWork(concurrency=3)
    _pass(queue, work)
    assert [task.domain for task in work.begun][-11:] == list(suspects)
    groups = [claim for claim in queue.claims if set(claim) & set(suspects)]
    assert [len(group) for group in groups] == [3, 2, 3, 3]
    assert all(work.together[domain] <= set(group) for group in groups for domain in group)
    assert not any(task.is_alone for task in work.begun)


# -- failures ---------------------------------------------------------------------------------


def test_one_failing_domain_does_not_hold_the_others_back() -> None:
    queue = MemoryQueue(_two_batches())
    events = _pass(queue, ScriptedWork({"a1": Failure(FailureKind.TIMEOUT, "too slow")}))
    assert _settled_keys(events) == ["b"]
    ended = _ended(events)
    assert ended.stopped_by is None
    assert ended.unsettled["a"].waiting_kinds == {"timeout": 1}
    row = queue.rows["a1"]
    assert (row.state, row.rounds, row.not_before) == (State.WAITING, 1, NOW + 60)
    assert queue.rows["a2"].state is queue.rows["a3"].state is State.SUCCEEDED


def test_an_unforeseen_exception_is_a_bug_of_that_domain_alone() -> None:
    async def explode(task: DomainTask) -> Outcome:
        raise ZeroDivisionError("oops")

    queue = MemoryQueue(_two_batches())
    _pass(queue, ScriptedWork({"b1": explode}))
    row = queue.rows["b1"]
    assert (row.state, row.kind, row.rounds) == (State.WAITING, "bug", 1)
    assert "oops" in (row.reason or "")
    assert queue.rows["b2"].state is State.SUCCEEDED


def test_a_domain_that_takes_too_long_is_cut_off_and_uses_a_round() -> None:
    cut_off = []

    async def hang(task: DomainTask) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut_off.append(task.domain)
            raise
        return DONE

    async def run() -> list[Event]:
        limits = replace(LIMITS, domain_timeout_s=0.02)
        runner = _runner(queue, ScriptedWork({"a1": hang}), limits=limits)
        return [event async for event in runner.run(["a", "b"])]

    queue = MemoryQueue(_two_batches())
    events = asyncio.run(run())
    row = queue.rows["a1"]
    assert cut_off == ["a1"]
    assert (row.kind, row.rounds) == ("timeout", 1)
    assert "domain_timeout" in (row.reason or "")
    assert _settled_keys(events) == ["b"]


def test_a_timeout_of_the_work_itself_is_not_taken_for_the_domain_limit() -> None:
    async def own_timeout(task: DomainTask) -> Outcome:
        raise TimeoutError("inner")

    queue = MemoryQueue({"a": ["a1"]})
    _pass(queue, ScriptedWork({"a1": own_timeout}))
    assert "inner" in (queue.rows["a1"].reason or "")
    assert "domain_timeout" not in (queue.rows["a1"].reason or "")


@pytest.mark.parametrize("kind", [FailureKind.LOCAL_NETWORK, FailureKind.STORE])
def test_our_own_trouble_stops_claiming_and_holds_the_rest_without_a_round(
    kind: FailureKind,
) -> None:
    queue = MemoryQueue({"a": ["a1", "a2"], "b": ["b1", "b2"]})
    failure = Failure(kind, "it is ours")
    work = ScriptedWork({"a1": failure}, concurrency=1)
    events = _pass(queue, work)
    assert [task.domain for task in work.begun] == ["a1"]
    assert {(row.state, row.kind, row.rounds) for row in queue.rows.values()} == {
        (State.WAITING, kind, 0)
    }
    ended = _ended(events)
    assert ended.stopped_by == failure
    assert list(ended.unsettled) == ["a", "b"]


def test_what_is_in_hand_when_a_run_stops_is_still_finished() -> None:
    async def run() -> list[Event]:
        gate = Gate()
        queue.batches["a"] = ["a1", "a2"]
        work = ScriptedWork(
            {"a1": Failure(FailureKind.LOCAL_NETWORK, "down"), "a2": gate}, concurrency=2
        )
        runner = _runner(queue, work)
        asyncio.get_running_loop().call_later(0.02, gate.open)
        return [event async for event in runner.run(["a"])]

    queue = MemoryQueue({"a": ["a1", "a2"]})
    events = asyncio.run(run())
    assert queue.rows["a2"].state is State.SUCCEEDED
    assert _ended(events).unsettled["a"].waiting_kinds == {"local_network": 1}


def test_deadly_domains_are_not_begun_once_a_run_is_stopped() -> None:
    queue = MemoryQueue({"a": ["a1", "a2"]})
    queue.rows["a2"].deaths = 2
    work = ScriptedWork({"a1": Failure(FailureKind.STORE, "disk full")})
    _pass(queue, work)
    assert [task.domain for task in work.begun] == ["a1"]


def test_after_the_time_of_a_phase_nothing_more_is_begun_and_the_rest_waits() -> None:
    clock = ManualClock()

    async def slow(task: DomainTask) -> Outcome:
        clock.advance(3601)
        return DONE

    queue = MemoryQueue({"a": ["a1", "a2", "a3"]})
    events = _pass(queue, ScriptedWork({"a1": slow}, concurrency=1), clock)
    assert queue.claimed == ["a1"]
    assert queue.rows["a1"].state is State.SUCCEEDED
    assert (queue.rows["a2"].kind, queue.rows["a2"].rounds) == ("cancelled", 0)
    stopped = _ended(events).stopped_by
    assert stopped is not None
    assert "phase_timeout" in stopped.message


# -- leases -----------------------------------------------------------------------------------


def test_a_domain_taken_over_by_another_worker_ends_the_pass() -> None:
    async def lose(task: DomainTask) -> Outcome:
        queue.rows[task.domain].holder = "somebody else"
        return DONE

    queue = MemoryQueue(_two_batches())
    with pytest.raises(LeaseLost):
        _pass(queue, ScriptedWork({"a2": lose}, concurrency=1))
    assert queue.rows["a1"].state is State.SUCCEEDED
    assert queue.rows["a2"].holder == "somebody else"
    assert queue.rows["a2"].state is State.PENDING
    assert queue.ended == "lease_lost"


def test_a_beat_that_finds_us_declared_dead_ends_the_pass_and_drops_what_is_in_hand() -> None:
    async def run() -> None:
        sleep = ManualSleep()
        queue = MemoryQueue(_two_batches())
        work = ScriptedWork({domain: Gate() for domain in queue.rows})
        runner = _runner(queue, work, sleep=sleep)

        async def take_over() -> None:
            await until(lambda: len(work.in_hand) == 4)
            queue.is_taken_over = True

        taking = asyncio.ensure_future(take_over())
        with pytest.raises(LeaseLost):
            async for _ in runner.run(["a", "b"]):
                pass
        await taking
        assert work.in_hand == []
        assert queue.ended == "lease_lost"
        assert {row.state for row in queue.rows.values()} == {State.PENDING}
        assert set(sleep.waits) == {LIMITS.beat_s}

    asyncio.run(run())


def test_a_lost_lease_raised_by_the_work_ends_the_pass() -> None:
    async def lose(task: DomainTask) -> Outcome:
        raise LeaseLost("gone")

    queue = MemoryQueue(_two_batches())
    with pytest.raises(LeaseLost):
        _pass(queue, ScriptedWork({"a1": lose}))
    assert queue.rows["a1"].rounds == 0


def test_beats_tell_how_far_the_pass_is() -> None:
    async def run() -> None:
        queue = MemoryQueue(_two_batches())
        gate = Gate()
        work = ScriptedWork({"b2": gate})

        async def sleep(_seconds: float) -> None:
            await asyncio.sleep(0)
            if queue.beats[-1] == (4, 5):
                gate.open()

        async for _ in _runner(queue, work, sleep=sleep).run(["a", "b"]):
            pass
        assert queue.beats[0] == (0, 5)
        assert (4, 5) in queue.beats

    asyncio.run(asyncio.wait_for(run(), 20))


def test_beats_tell_until_when_the_work_waits_on_purpose() -> None:
    async def run() -> None:
        queue = MemoryQueue({"a": ["a1"]})
        gate = Gate()
        waits = iter([0.0, NOW + 30, NOW + 30])

        def waits_until() -> float:
            return next(waits, 0.0)

        async def sleep(_seconds: float) -> None:
            await asyncio.sleep(0)
            if len(queue.beats) == 4:
                gate.open()

        runner = BatchRunner(
            ScriptedWork({"a1": gate}),
            queue,
            ManualClock(),
            POLICY,
            LIMITS,
            _bug,
            sleep,
            waits_until=waits_until,
        )
        async for _ in runner.run(["a"]):
            pass
        assert queue.waits_until[:4] == [0.0, NOW + 30, NOW + 30, 0.0]

    asyncio.run(asyncio.wait_for(run(), 20))


def test_closing_the_stream_early_stops_the_work_and_gives_the_claims_back() -> None:
    async def run() -> None:
        queue = MemoryQueue(_two_batches())
        work = ScriptedWork({domain: Gate() for domain in queue.rows})
        stream: AsyncIterator[Event] = _runner(queue, work).run(["a", "b"])
        async with aclosing(stream) as events:  # type: ignore[type-var]
            async for _event in events:
                break
            assert any(row.holder for row in queue.rows.values())
        assert work.in_hand == []
        assert queue.ended == BROKEN_OFF
        assert not any(row.holder for row in queue.rows.values())
        assert {row.state for row in queue.rows.values()} == {State.PENDING}

    asyncio.run(run())


def test_a_cancelled_pass_gives_its_claims_back_too() -> None:
    async def run() -> None:
        queue = MemoryQueue(_two_batches())
        work = ScriptedWork({domain: Gate() for domain in queue.rows})

        async def consume() -> None:
            async with aclosing(_runner(queue, work).run(["a", "b"])) as events:  # type: ignore[type-var]
                async for _ in events:
                    pass

        running = asyncio.ensure_future(consume())
        await until(lambda: len(work.in_hand) == 4)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert queue.ended == BROKEN_OFF
        assert not any(row.holder for row in queue.rows.values())

    asyncio.run(run())
