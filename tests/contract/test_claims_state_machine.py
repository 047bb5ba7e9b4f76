"""Workers claim, settle, beat and die in any order: what holds whatever they do.

Beside them runs a model that knows who holds what and what became of it, and the same work in
memory, which must stand as the ledger's does after every step.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import CompanyQuery, DomainTask, Settled, State
from resources.core.ports import WorkQueue
from resources.core.rounds import Change, RoundPolicy, after_attempt
from tests.support.ledgers import LEASE_S
from tests.support.memory_work import MemoryWork, Row
from tests.support.places import Place, rows_of
from tests.support.time import ManualClock

T = TypeVar("T")
DOMAINS = [f"d{number}.example" for number in range(6)]
LISTS = {"a": DOMAINS, "b": DOMAINS[3:]}
BATCHES = {"a-00001": DOMAINS[:4], "a-00002": DOMAINS[4:], "b-00001": DOMAINS[3:]}
KEYS = list(BATCHES)
POLICY = RoundPolicy(max_rounds=3, backoff_base_s=1)
OUTCOMES = st.sampled_from(
    [
        Settled(State.SUCCEEDED, payload=b"{}"),
        Settled(State.NOT_FOUND),
        Failure(FailureKind.TIMEOUT, "slow"),
        Failure(FailureKind.RATE_LIMITED, "too fast", retry_after_s=90.0),
        Failure(FailureKind.LIMITER, "no room"),
        Failure(FailureKind.CANCELLED, "stopped"),
        Failure(FailureKind.ROBOTS, "not allowed"),
        Failure(FailureKind.BUG, "oops"),
    ]
)
WHO = st.integers(0, 3)


class Claims(RuleBasedStateMachine):
    """Four places for workers, some of which stand still until they are declared dead."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.work = place.work(LISTS, 4, self.clock)
        self.memory = MemoryWork({key: list(BATCHES[key]) for key in KEYS}, self.clock, LEASE_S)
        self.runner = asyncio.Runner()
        self.begun = self.looks = 0
        self.queues: dict[int, tuple[WorkQueue, WorkQueue]] = {}
        self.names: dict[int, str] = {}
        self.hands: dict[int, dict[str, DomainTask]] = {}
        self.leases: dict[int, float] = {}
        self.declared_dead: set[int] = set()
        self.deaths_at: list[float] = []
        self.died_before = 0
        self.settled: dict[str, tuple[State, str | None, bytes | None]] = {}
        self.refreshing: set[str] = set()
        self.deaths: Counter[str] = Counter()
        self.deaths_alone: Counter[str] = Counter()
        self.revisions: Counter[str] = Counter()

    def teardown(self) -> None:
        try:
            self._work_off()
        finally:
            self.work.close()
            self.runner.close()

    # -- what workers do ------------------------------------------------------------------------

    @rule(who=WHO)
    def begin(self, who: int) -> None:
        if who not in self.queues:
            self._begin(who)

    @rule(who=WHO, limit=st.integers(1, 4), alone=st.booleans(), ahead_s=st.sampled_from([1, 100]))
    def claim(self, who: int, limit: int, alone: bool, ahead_s: int) -> None:
        if who not in self.queues:
            self._begin(who)
        due_before = self.clock.now() + ahead_s
        found = self._both(who, lambda q: q.claim(KEYS, limit, due_before, alone=alone))
        if isinstance(found, LeaseLost):
            return
        assert len(found) <= limit
        assert len(found) == 1 or not any(task.is_alone for task in found)
        held = {domain for hand in self.hands.values() for domain in hand}
        for task in found:
            assert task.domain not in held, "two workers hold one domain"
            assert task.domain not in self.settled or task.domain in self.refreshing
            assert (self.deaths[task.domain] >= 2) == alone
            self.hands[who][task.domain] = task

    @rule(who=WHO, outcomes=st.lists(OUTCOMES, min_size=1, max_size=4))
    def settle_own(self, who: int, outcomes: list[Settled | Failure]) -> None:
        mine = self.hands.get(who, {})
        for domain, outcome in zip(sorted(mine), outcomes, strict=False):
            change = after_attempt(mine.pop(domain), outcome, self.clock.now(), POLICY)
            assert self._both(who, lambda queue, change=change: queue.settle(change)) is None
            self._note(domain, change)

    @rule(
        who=WHO,
        outcomes=st.lists(OUTCOMES, min_size=2, max_size=4),
        wait_s=st.sampled_from([0.0, 1.0, 89.0, 90.0]),
        again=st.sampled_from(["", "by hand", "refresh"]),
    )
    def try_and_try_again(
        self, who: int, outcomes: list[Settled | Failure], wait_s: float, again: str
    ) -> None:
        """A pass of one worker, and the next one, at once or when something is due again."""
        self.claim(who, len(outcomes), False, 1)
        self.settle_own(who, outcomes)
        self.time_passes(wait_s)
        match again:
            case "by hand":
                self.run_again_by_hand()
            case "refresh":
                self.ask_for_a_refresh()
        self.claim(who, len(outcomes), False, 1)

    @rule(who=WHO, domain=st.sampled_from(DOMAINS))
    def write_without_holding(self, who: int, domain: str) -> None:
        """A second outcome of one claim, or that of somebody who was taken over."""
        if who not in self.queues:
            self._begin(who)
        if domain in self.hands[who]:
            return
        task = DomainTask(CompanyQuery(domain), KEYS[0])
        stolen = Settled(State.SUCCEEDED, payload=b"stolen")
        change = after_attempt(task, stolen, self.clock.now(), POLICY)
        before = rows_of(self.work) if who in self.declared_dead else None
        assert isinstance(self._both(who, lambda queue: queue.settle(change)), LeaseLost)
        assert before is None or before == rows_of(self.work)

    @rule(who=WHO, times=st.integers(1, 3))
    def beat(self, who: int, times: int) -> None:
        """As long as it beats in time nobody takes anything from it."""
        if who not in self.queues:
            self._begin(who)
        for _ in range(times):
            if self._both(who, lambda queue: queue.beat(0, 0)) is None:
                self.leases[who] = self.clock.now() + LEASE_S
            self.time_passes(LEASE_S - 1)
            self.bury()

    @rule(who=WHO)
    def end(self, who: int) -> None:
        if who not in self.queues:
            return
        for queue in self.queues[who]:
            self.runner.run(queue.end("finished"))
        self._forget(who)

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def bury(self) -> None:
        self.work.bury_dead()
        self.memory.bury_dead()
        hour = (self.clock.now() - 3600.0, self.clock.now())
        self.died_before = sum(hour[0] <= at < hour[1] for at in self.deaths_at)
        for who, lease in self.leases.items():
            if lease < self.clock.now() and who not in self.declared_dead:
                self.declared_dead.add(who)
                self.deaths_at.append(self.clock.now())
                self._count_deaths(self.hands[who])
                self.hands[who] = {}

    @rule(who=WHO, times=st.integers(1, 6))
    def die_over_and_over(self, who: int, times: int) -> None:
        """Something that it works on kills it, and the one that comes after it."""
        for _ in range(times):
            self.die_and_come_back_as_another(who)
            self.claim(who, 1, max(self.deaths.values(), default=0) >= 2, 100)
            self.time_passes(61.0)
            self.bury()

    @rule(who=WHO)
    def die_and_come_back_as_another(self, who: int) -> None:
        """The worker's place is free for a new one; what it held stays behind until its lease."""
        if who in self.queues and who in self.declared_dead:
            self._forget(who)

    @rule(who=WHO)
    def stop_for_our_own_trouble(self, who: int) -> None:
        """It lets the rest wait; what somebody holds or waits for on its own stays as it is."""
        failure = Failure(FailureKind.LOCAL_NETWORK, "down", retry_after_s=20.0)
        if who not in self.queues:
            self._begin(who)
        self._both(who, lambda queue: queue.hold(KEYS, failure))

    @rule()
    def run_again_by_hand(self) -> None:
        self.work.make_due(KEYS)
        self.memory.make_due(KEYS)

    @rule()
    def ask_for_a_refresh(self) -> None:
        before, self.refreshing = self.refreshing, set(self.settled)
        new = self.refreshing - before
        assert self.work.refresh(KEYS) == self.memory.refresh(KEYS) == len(new)
        for domain in new:
            del self.deaths[domain], self.deaths_alone[domain]

    # -- what holds always ----------------------------------------------------------------------

    @invariant()
    def the_ledger_stands_as_the_model_and_the_memory_do(self) -> None:
        rows = rows_of(self.work)
        assert set(rows) == set(DOMAINS)
        self._check_holders(rows)
        for domain, row in rows.items():
            assert row.deaths == self.deaths[domain]
            assert row.revision == self.revisions[domain]
            assert row.refresh_asked == (domain in self.refreshing)
            assert row.state.is_settled == (domain in self.settled)
            if domain in self.settled:
                assert (row.state, row.kind, row.payload) == self.settled[domain]
            assert _comparable(row) == _comparable(self.memory.rows[domain])

    @invariant()
    def the_counts_add_up(self) -> None:
        living = [who for who in self.queues if who not in self.declared_dead]
        self.looks += 1
        if not living or self.looks % 3:
            return
        both = [self.runner.run(queue.tallies(KEYS)) for queue in self.queues[living[0]]]
        assert both[0] == both[1]
        assert [both[0][key].total for key in KEYS] == [4, 2, 3]

    def _check_holders(self, rows: Mapping[str, Row]) -> None:
        living = {self.names[who]: who for who in self.queues if who not in self.declared_dead}
        held = {domain: living[row.holder] for domain, row in rows.items() if row.holder in living}
        assert held == {domain: who for who, hand in self.hands.items() for domain in hand}

    # -- -----------------------------------------------------------------------------------------

    def _begin(self, who: int) -> None:
        self.begun += 1
        self.names[who] = f"worker-{self.begun}"
        self.queues[who] = (
            self.work.begin(self.names[who]),
            self.memory.begin(self.names[who]),
        )
        self.hands[who] = {}
        self.leases[who] = self.clock.now() + LEASE_S

    def _forget(self, who: int) -> None:
        del self.queues[who], self.names[who], self.hands[who], self.leases[who]
        self.declared_dead.discard(who)

    def _both(self, who: int, doing) -> Any:
        """Let a worker do the same here and in memory. Returns what came of it, or LeaseLost."""
        mine, memory = (self._outcome(doing(queue)) for queue in self.queues[who])
        is_refused = isinstance(mine, LeaseLost)
        assert is_refused == isinstance(memory, LeaseLost)
        assert is_refused or mine == memory
        assert is_refused or who not in self.declared_dead, "a dead worker changed something"
        return mine

    def _outcome(self, doing: Coroutine[Any, Any, T]) -> T | LeaseLost:
        try:
            return self.runner.run(doing)
        except LeaseLost as error:
            return error

    def _note(self, domain: str, change: Change) -> None:
        """What an outcome means: a refresh that is given up keeps what was there before."""
        if not change.state.is_settled:
            return
        was_refreshed = domain in self.refreshing
        self.refreshing.discard(domain)
        is_given_up = change.state is State.QUARANTINED
        older = self.settled.get(domain)
        if was_refreshed and older is not None and is_given_up and older[0] is not change.state:
            return
        payload = older[2] if is_given_up and older is not None else change.payload
        self.settled[domain] = (change.state, change.kind, payload)
        self.revisions[domain] += 1

    def _count_deaths(self, hand: Mapping[str, DomainTask]) -> None:
        """A worker died with these in hand; of two that held nothing else, the domain is guilty,
        unless many die anyway."""
        for domain, task in hand.items():
            self.deaths[domain] += 1
            self.deaths_alone[domain] += task.is_alone
            others = max(0, self.died_before - (self.deaths_alone[domain] - 1))
            if self.deaths_alone[domain] >= min(6, 2 + others // 2):
                self._note(domain, Change(domain, State.QUARANTINED, 0, kind=FailureKind.BUG))

    def _work_off(self) -> None:
        """Nothing is lost: whatever happened before, the next workers settle all there is."""
        self.clock.advance(LEASE_S + 1)
        self.work.bury_dead()
        queue = self.work.begin("last")
        due_before = self.clock.now() + 1e9

        async def work_off() -> None:
            for alone in (False, True):
                while tasks := await queue.claim(KEYS, 3, due_before, alone=alone):
                    for task in tasks:
                        await queue.settle(Change(task.domain, State.SUCCEEDED, 0, payload=b"end"))

        self.runner.run(work_off())
        tallies = self.runner.run(queue.tallies(KEYS))
        assert {tally.open for tally in tallies.values()} == {0}
        assert all(
            row.state.is_settled and row.holder is None for row in rows_of(self.work).values()
        )


def _comparable(row: Row) -> Row:
    """Without the words for a person, and what the ledger finds in a domain's history."""
    return replace(row, reason=None, refresh_waits_for=None)


def test_no_domain_is_lost_doubled_or_written_by_a_stranger(place: Place) -> None:
    # A step costs next to nothing in memory, and several commits on a database.
    examples = 15 if place.ledgers else 80
    run_state_machine_as_test(
        lambda: Claims(place), settings=settings(max_examples=examples, stateful_step_count=40)
    )
