"""What a worker may rely on when it takes work and writes results: in memory and on databases."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import pytest

from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import DomainTask, State
from resources.core.ports import WorkQueue
from resources.core.rounds import Change
from resources.core.tallies import Tally
from tests.support.ledgers import LEASE_S
from tests.support.places import Place, SharedWork, rows_of
from tests.support.time import NOW, ManualClock

T = TypeVar("T")
A = [f"a{number:02d}.example" for number in range(22)]
FIRST, SECOND, OTHER = "a-00001", "a-00002", "b-00001"
KEYS = [FIRST, SECOND, OTHER]
SHARED = [A[1], "b.example"]
DOWN = Failure(FailureKind.LOCAL_NETWORK, "no network", retry_after_s=30.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shared(place: Place, clock: ManualClock) -> Iterator[SharedWork]:
    """Two lists, the first of two batches, that have one domain in common."""
    shared = place.work({"a": A, "b": SHARED}, 20, clock)
    yield shared
    shared.close()


def _run(doing: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(doing)


def _claim(
    queue: WorkQueue,
    limit: int = 100,
    *,
    keys: Sequence[str] = KEYS,
    due_before: float = NOW + 1,
    alone: bool = False,
) -> list[str]:
    return [task.domain for task in _tasks(queue, limit, keys, due_before, alone=alone)]


def _tasks(
    queue: WorkQueue,
    limit: int = 100,
    keys: Sequence[str] = KEYS,
    due_before: float = NOW + 1,
    *,
    alone: bool = False,
) -> Sequence[DomainTask]:
    return _run(queue.claim(keys, limit, due_before, alone=alone))


def _settle(queue: WorkQueue, domain: str, state: State, **values: Any) -> None:
    _run(queue.settle(Change(domain, state, **{"rounds": 0, **values})))


def _tally(queue: WorkQueue, key: str = FIRST) -> Tally:
    return _run(queue.tallies([key]))[key]


def _die(shared: SharedWork, clock: ManualClock) -> None:
    """Let all workers that have begun die, and be found."""
    clock.advance(LEASE_S + 1)
    shared.bury_dead()


# -- what is claimed --------------------------------------------------------------------------


def test_domains_come_in_the_order_of_the_batches_and_up_to_the_limit(shared: SharedWork) -> None:
    queue = shared.begin("one")
    assert _claim(queue, 3) == A[:3]
    tasks = _tasks(queue)
    assert [task.domain for task in tasks] == [*A[3:], "b.example"]
    assert [task.batch_key for task in tasks] == [FIRST] * 17 + [SECOND] * 2 + [OTHER]
    assert _claim(queue) == []


def test_only_the_batches_asked_for_are_claimed(shared: SharedWork) -> None:
    queue = shared.begin("one")
    assert _claim(queue, keys=[SECOND]) == A[20:]
    assert _claim(queue, keys=["nowhere-00001"]) == []
    assert _claim(queue, keys=[]) == []


def test_a_domain_of_two_batches_is_claimed_once_and_does_not_use_up_the_limit(
    shared: SharedWork,
) -> None:
    queue = shared.begin("one")
    assert _claim(queue, 2, keys=[OTHER]) == SHARED
    assert _claim(queue, 2, keys=[FIRST, OTHER]) == [A[0], A[2]]


def test_a_claim_tells_what_the_attempt_must_know(shared: SharedWork) -> None:
    queue = shared.begin("one")
    (task,) = _tasks(queue, 1)
    assert (task.rounds, task.is_alone, task.last_settled_at) == (0, False, 0.0)
    _settle(queue, A[0], State.WAITING, rounds=3, kind=FailureKind.TIMEOUT)
    assert _tasks(queue, 1)[0].rounds == 3


def test_no_two_workers_hold_one_domain(shared: SharedWork) -> None:
    queues = [shared.begin(f"worker-{number}") for number in range(3)]

    async def take(queue: WorkQueue) -> list[str]:
        mine: list[str] = []
        while tasks := await queue.claim(KEYS, 2, NOW + 1):
            mine += [task.domain for task in tasks]
        return mine

    async def take_all() -> list[list[str]]:
        return await asyncio.gather(*(take(queue) for queue in queues))

    taken = [domain for mine in _run(take_all()) for domain in mine]
    assert sorted(taken) == sorted({*A, *SHARED})


def test_what_is_not_due_is_left(shared: SharedWork) -> None:
    queue = shared.begin("one")
    _claim(queue, 2)
    waiting = {"kind": FailureKind.TIMEOUT, "rounds": 1}
    _settle(queue, A[0], State.WAITING, not_before=NOW + 60, **waiting)
    _settle(queue, A[1], State.WAITING, not_before=NOW, **waiting)
    assert _claim(queue, 1, due_before=NOW) == [A[2]]
    assert _claim(queue, 1, due_before=NOW + 1) == [A[1]]
    assert _claim(queue, 1, due_before=NOW + 60) == [A[3]]
    assert _claim(queue, 1, due_before=NOW + 61) == [A[0]]


def test_running_again_by_hand_skips_our_own_waits_only(shared: SharedWork) -> None:
    queue = shared.begin("one")
    _claim(queue, 2)
    waiting = {"kind": FailureKind.RATE_LIMITED, "rounds": 1, "not_before": NOW + 600}
    _settle(queue, A[0], State.WAITING, **waiting)
    _settle(queue, A[1], State.WAITING, asked_to_wait_until=NOW + 300, **waiting)
    shared.make_due([FIRST])
    assert _claim(queue, 2, keys=[FIRST]) == [A[0], A[2]]


def test_what_is_settled_is_left_until_somebody_asks_for_it_again(
    shared: SharedWork, clock: ManualClock
) -> None:
    queue = shared.begin("one")
    _claim(queue, 2)
    _settle(queue, A[0], State.SUCCEEDED, payload=b"one")
    _settle(queue, A[1], State.REFUSED, kind=FailureKind.ROBOTS)
    assert _claim(queue, 1) == [A[2]]
    clock.advance(10)
    assert shared.refresh(KEYS) == 2
    assert shared.refresh(KEYS) == 0
    tasks = _tasks(queue, 2)
    assert [(task.domain, task.last_settled_at) for task in tasks] == [(A[0], NOW), (A[1], NOW)]


# -- suspects ---------------------------------------------------------------------------------


def _kill_with_all_in_hand(shared: SharedWork, clock: ManualClock, times: int) -> None:
    for number in range(times):
        assert len(_claim(shared.begin(f"dead-{number}"))) == 23
        _die(shared, clock)


def test_after_two_deaths_domains_are_claimed_apart_from_the_others(
    shared: SharedWork, clock: ManualClock
) -> None:
    for number in range(2):
        assert _claim(shared.begin(f"dead-{number}"), 2) == A[:2]
        _die(shared, clock)
    queue = shared.begin("one")
    assert _claim(queue) == [*A[2:], "b.example"]
    tasks = _tasks(queue, alone=True)
    assert [(task.domain, task.is_alone) for task in tasks] == [(A[0], False), (A[1], False)]


def test_suspects_come_in_ever_smaller_groups_and_in_the_end_alone(
    shared: SharedWork, clock: ManualClock
) -> None:
    _kill_with_all_in_hand(shared, clock, 2)
    sizes = []
    for number in range(2 + 6 + 1):
        tasks = _tasks(shared.begin(f"suspects-{number}"), alone=True)
        sizes.append(len(tasks))
        assert {task.is_alone for task in tasks} == {number == 8}
        _die(shared, clock)
    assert sizes == [16, 7] + [4] * 5 + [3] + [1]


def test_a_group_of_suspects_is_no_larger_than_the_worker_can_hold(
    shared: SharedWork, clock: ManualClock
) -> None:
    _kill_with_all_in_hand(shared, clock, 2)
    assert _claim(shared.begin("one"), 3, alone=True) == A[:3]


def test_while_others_hold_the_suspects_with_fewest_deaths_those_with_more_come(
    shared: SharedWork, clock: ManualClock
) -> None:
    _kill_with_all_in_hand(shared, clock, 2)
    _claim(shared.begin("dead"), 1, alone=True)
    _die(shared, clock)
    busy = shared.begin("busy")
    assert _claim(busy, alone=True) + _claim(busy, alone=True) == [*A[1:], "b.example"]
    assert _claim(shared.begin("one"), alone=True) == [A[0]]


def test_a_domain_that_kills_every_worker_is_quarantined_and_its_neighbours_are_not(
    shared: SharedWork, clock: ManualClock
) -> None:
    # Four until it is alone; two alone, and one more for each two of those four.
    for number in range(8):
        assert rows_of(shared)[A[0]].state is State.PENDING
        assert _claim(shared.begin(f"dead-{number}"), 1, alone=number > 1) == [A[0]]
        _die(shared, clock)
    row = rows_of(shared)[A[0]]
    assert (row.state, row.kind, row.deaths, row.deaths_alone) == (
        State.QUARANTINED,
        FailureKind.BUG,
        8,
        4,
    )
    queue = shared.begin("one")
    assert _claim(queue, alone=True) == []
    assert _claim(queue) == [*A[1:], "b.example"]


# -- what is written --------------------------------------------------------------------------


def test_only_the_holder_settles_a_domain_and_only_once(shared: SharedWork) -> None:
    holder, other = shared.begin("holder"), shared.begin("other")
    _claim(holder, 1)
    with pytest.raises(LeaseLost):
        _settle(other, A[0], State.SUCCEEDED, payload=b"other")
    with pytest.raises(LeaseLost):
        _settle(holder, A[1], State.SUCCEEDED, payload=b"never claimed")
    _settle(holder, A[0], State.SUCCEEDED, payload=b"mine")
    with pytest.raises(LeaseLost):
        _settle(holder, A[0], State.NOT_FOUND)
    row = rows_of(shared)[A[0]]
    assert (row.state, row.payload, row.holder, row.revision) == (
        State.SUCCEEDED,
        b"mine",
        None,
        1,
    )
    assert rows_of(shared)[A[1]].state is State.PENDING


def test_outcomes_that_come_together_are_all_written(shared: SharedWork) -> None:
    queue = shared.begin("one")
    claimed = _claim(queue, 20)

    async def settle_all() -> None:
        changes = [Change(d, State.SUCCEEDED, 0, payload=d.encode()) for d in claimed]
        await asyncio.gather(*(queue.settle(change) for change in changes))

    _run(settle_all())
    rows = rows_of(shared)
    assert [rows[domain].payload for domain in claimed] == [d.encode() for d in claimed]
    assert _tally(queue).settled == 20


def test_of_outcomes_that_come_together_only_those_of_others_domains_are_refused(
    shared: SharedWork,
) -> None:
    queue, other = shared.begin("one"), shared.begin("other")
    _claim(queue, 2)
    _claim(other, 1)

    async def settle_all() -> list[object]:
        changes = [Change(domain, State.NOT_FOUND, 0) for domain in A[:4]]
        settling = (queue.settle(change) for change in changes)
        return await asyncio.gather(*settling, return_exceptions=True)

    found = _run(settle_all())
    assert [type(one) for one in found] == [type(None), type(None), LeaseLost, LeaseLost]
    states = [rows_of(shared)[domain].state for domain in A[:4]]
    assert states == [State.NOT_FOUND] * 2 + [State.PENDING] * 2


def test_of_two_outcomes_of_one_claim_that_come_together_one_is_refused(
    shared: SharedWork,
) -> None:
    queue = shared.begin("one")
    _claim(queue, 1)

    async def settle_twice() -> list[object]:
        outcomes = [Change(A[0], State.SUCCEEDED, 0, payload=b"x"), Change(A[0], State.REFUSED, 0)]
        settling = (queue.settle(change) for change in outcomes)
        return await asyncio.gather(*settling, return_exceptions=True)

    assert [type(one) for one in _run(settle_twice())] == [type(None), LeaseLost]
    row = rows_of(shared)[A[0]]
    assert (row.state, row.payload, row.revision) == (State.SUCCEEDED, b"x", 1)


def test_a_failed_attempt_waits_with_its_reason(shared: SharedWork) -> None:
    queue = shared.begin("one")
    _claim(queue, 1)
    waiting = {"kind": FailureKind.TIMEOUT, "reason": "slow", "not_before": NOW + 60}
    _settle(queue, A[0], State.WAITING, rounds=2, **waiting)
    row = rows_of(shared)[A[0]]
    assert (row.state, row.kind, row.reason) == (State.WAITING, "timeout", "slow")
    assert (row.rounds, row.not_before, row.holder) == (2, NOW + 60, None)


def test_a_refresh_keeps_the_older_result_until_it_has_a_newer_one(shared: SharedWork) -> None:
    queue = shared.begin("one")
    _claim(queue, 1)
    _settle(queue, A[0], State.SUCCEEDED, payload=b"old")
    shared.refresh(KEYS)
    _claim(queue, 1)
    _settle(queue, A[0], State.WAITING, rounds=1, kind=FailureKind.TIMEOUT)
    row = rows_of(shared)[A[0]]
    assert (row.state, row.payload, row.rounds, row.revision) == (State.SUCCEEDED, b"old", 1, 1)
    assert _tally(queue).refreshing_kinds == {"timeout": 1}
    _claim(queue, 1)
    _settle(queue, A[0], State.SUCCEEDED, payload=b"new")
    row = rows_of(shared)[A[0]]
    assert (row.payload, row.refresh_asked, row.revision) == (b"new", False, 2)
    shared.refresh(KEYS)
    _claim(queue, 1)
    _settle(queue, A[0], State.NOT_FOUND)
    assert rows_of(shared)[A[0]].payload is None


# -- leases -----------------------------------------------------------------------------------


def test_a_buried_worker_can_neither_take_nor_write_nor_beat(
    shared: SharedWork, clock: ManualClock
) -> None:
    buried = shared.begin("buried")
    _claim(buried, 2)
    _die(shared, clock)
    heir = shared.begin("heir")
    assert _claim(heir, 1) == [A[0]]
    before = repr(sorted(rows_of(shared).items()))
    for doing in (
        buried.claim(KEYS, 5, clock.now() + 1),
        buried.settle(Change(A[0], State.SUCCEEDED, 0, payload=b"late")),
        buried.settle(Change(A[1], State.SUCCEEDED, 0, payload=b"late")),
        buried.hold(KEYS, DOWN),
        buried.beat(1, 2),
    ):
        with pytest.raises(LeaseLost):
            _run(doing)
    _run(buried.end("woke up"))
    assert repr(sorted(rows_of(shared).items())) == before
    _settle(heir, A[0], State.SUCCEEDED, payload=b"heir")
    assert rows_of(shared)[A[0]].payload == b"heir"


def test_a_burial_counts_a_death_for_what_was_in_hand_and_for_nothing_else(
    shared: SharedWork, clock: ManualClock
) -> None:
    buried = shared.begin("buried")
    _claim(buried, 3)
    _settle(buried, A[0], State.SUCCEEDED, payload=b"done")
    _die(shared, clock)
    rows = rows_of(shared)
    assert [rows[domain].deaths for domain in A[:4]] == [0, 1, 1, 0]
    assert {row.holder for row in rows.values()} == {None}
    assert rows[A[0]].payload == b"done"


def test_a_beat_renews_the_lease_of_all_claims(shared: SharedWork, clock: ManualClock) -> None:
    queue = shared.begin("one")
    _claim(queue, 2)
    for _ in range(4):
        clock.advance(LEASE_S - 1)
        _run(queue.beat(0, 2, "a-00001"))
        shared.bury_dead()
    _settle(queue, A[0], State.NOT_FOUND)
    clock.advance(LEASE_S)
    shared.bury_dead()
    assert rows_of(shared)[A[1]].holder == "one"
    clock.advance(1)
    shared.bury_dead()
    assert rows_of(shared)[A[1]].holder is None


def test_a_worker_that_ends_gives_its_claims_back_without_any_mark(shared: SharedWork) -> None:
    queue, other = shared.begin("one"), shared.begin("other")
    _claim(queue, 2)
    _claim(other, 1)
    _run(queue.end("finished"))
    _run(queue.end("finished"))
    rows = rows_of(shared)
    assert [rows[domain].holder for domain in A[:3]] == [None, None, "other"]
    assert {row.deaths for row in rows.values()} == {0}
    assert _claim(other, 2) == A[:2]


def test_a_worker_that_has_ended_takes_nothing_and_writes_no_result(shared: SharedWork) -> None:
    queue = shared.begin("one")
    _claim(queue, 1)
    _run(queue.end("finished"))
    for doing in (
        queue.claim(KEYS, 5, NOW + 1),
        queue.settle(Change(A[0], State.SUCCEEDED, 0, payload=b"late")),
        queue.beat(1, 2),
    ):
        with pytest.raises(LeaseLost):
            _run(doing)
    row = rows_of(shared)[A[0]]
    assert (row.state, row.holder, row.payload) == (State.PENDING, None, None)


# -- waits and counts -------------------------------------------------------------------------


def test_a_hold_lets_the_rest_wait_and_leaves_claims_and_own_reasons_alone(
    shared: SharedWork,
) -> None:
    queue = shared.begin("one")
    _claim(queue, 3)
    _settle(queue, A[0], State.SUCCEEDED, payload=b"x")
    _settle(queue, A[1], State.WAITING, kind=FailureKind.TIMEOUT, rounds=1)
    _run(queue.hold([FIRST], DOWN))
    counted = _tally(queue)
    assert counted.waiting_kinds == {"local_network": 17, "timeout": 1, "pending": 1}
    row = rows_of(shared)[A[5]]
    assert (row.state, row.rounds, row.reason) == (State.WAITING, 0, "no network")
    assert row.not_before == NOW + 30
    assert rows_of(shared)[A[20]].state is State.PENDING
    assert rows_of(shared)[A[2]].holder == "one"


def test_the_counts_say_where_each_batch_stands(shared: SharedWork) -> None:
    queue = shared.begin("one")
    _claim(queue, 5)
    _settle(queue, A[0], State.SUCCEEDED, payload=b"x")
    _settle(queue, A[1], State.REFUSED, kind=FailureKind.ROBOTS)
    _settle(queue, A[2], State.WAITING, kind=FailureKind.TIMEOUT, rounds=1, not_before=NOW + 60)
    found = _run(queue.tallies([FIRST, OTHER, "nowhere-00001"]))
    first, other, nowhere = found[FIRST], found[OTHER], found["nowhere-00001"]
    assert first.states == {
        State.SUCCEEDED: 1,
        State.REFUSED: 1,
        State.WAITING: 1,
        State.PENDING: 17,
    }
    assert first.kinds == {"robots": 1, "timeout": 1}
    assert (first.claimed, first.next_round_at) == (2, NOW + 60)
    assert (other.total, other.settled, other.unsettled) == (2, 1, 1)
    assert (nowhere.total, nowhere.unsettled) == (0, 0)


def test_the_fingerprint_changes_whenever_something_has_settled_anew_and_only_then(
    shared: SharedWork,
) -> None:
    queue = shared.begin("one")
    prints = [_tally(queue).fingerprint]
    _claim(queue, 2)
    _settle(queue, A[0], State.WAITING, kind=FailureKind.TIMEOUT, rounds=1)
    assert _tally(queue).fingerprint == prints[0]
    _settle(queue, A[1], State.SUCCEEDED, payload=b"one")
    prints.append(_tally(queue).fingerprint)
    shared.refresh(KEYS)
    assert _tally(queue).fingerprint == prints[1]
    _claim(queue, 2)
    _settle(queue, A[1], State.SUCCEEDED, payload=b"two")
    prints.append(_tally(queue).fingerprint)
    assert len(set(prints)) == 3
