"""Workers claim, settle, beat and die in any order: what holds whatever they do."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from resources.adapters.ledger.schema import work
from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import CompanyQuery, DomainTask, Phase, Settled, State
from resources.core.rounds import RoundPolicy, after_attempt
from tests.support.ledgers import CODE, LEASE_S, add_list, open_at, sqlite_url
from tests.support.time import NOW

PHASE = Phase.PAGE_SCRAPING
DOMAINS = [f"d{number}.example" for number in range(6)]
KEYS = ["a-00001", "a-00002", "b-00001"]
POLICY = RoundPolicy(max_rounds=3, backoff_base_s=1)
OUTCOMES = st.sampled_from(
    [
        Settled(State.SUCCEEDED, payload=b"{}"),
        Settled(State.NOT_FOUND),
        Failure(FailureKind.TIMEOUT, "slow"),
        Failure(FailureKind.LIMITER, "no room"),
        Failure(FailureKind.ROBOTS, "not allowed"),
        Failure(FailureKind.BUG, "oops"),
    ]
)
WHO = st.integers(0, 3)


class Claims(RuleBasedStateMachine):
    """Four places for workers on one ledger; a model of who holds what beside it."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="claims-"))
        self.ledger = open_at(sqlite_url(self.folder))
        add_list(self.ledger, "a", DOMAINS, batch_size=4)
        add_list(self.ledger, "b", DOMAINS[3:])
        self.now = NOW
        self.ids: dict[int, str] = {}
        self.hands: dict[int, dict[str, DomainTask]] = {}
        self.leases: dict[int, float] = {}
        self.declared_dead: set[int] = set()
        self.settled: dict[str, tuple[object, ...]] = {}
        self.refreshing: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            shutil.rmtree(self.folder)

    # -- what workers do ------------------------------------------------------------------------

    @rule(who=WHO)
    def begin(self, who: int) -> None:
        if who not in self.ids:
            self.ids[who] = self.ledger.workers.begin(PHASE, f"run-{who}", self.now)
            self.hands[who] = {}
            self.leases[who] = self.now + LEASE_S

    @rule(who=WHO, limit=st.integers(1, 4), alone=st.booleans())
    def claim(self, who: int, limit: int, alone: bool) -> None:
        if who not in self.ids:
            return
        if who in self.declared_dead:
            before = self._rows()
            try:
                self.ledger.work.claim(
                    self.ids[who], PHASE, KEYS, limit, self.now + 1, self.now, alone=alone
                )
            except LeaseLost:
                assert self._rows() == before
                return
            raise AssertionError("a worker that was declared dead took something")
        tasks = self.ledger.work.claim(
            self.ids[who], PHASE, KEYS, limit, self.now + 1, self.now, alone=alone
        )
        assert len(tasks) <= limit
        assert len(tasks) == 1 or not any(task.is_alone for task in tasks)
        held = {domain for other in self.hands.values() for domain in other}
        for task in tasks:
            assert task.domain not in held, "two workers hold one domain"
            assert task.domain not in self.settled or task.domain in self.refreshing
            self.hands[who][task.domain] = task

    @rule(who=WHO, outcome=OUTCOMES, which=st.integers(0, 5))
    def settle_own(self, who: int, outcome: Settled | Failure, which: int) -> None:
        mine = sorted(self.hands.get(who, {}))
        if not mine:
            return
        task = self.hands[who].pop(mine[which % len(mine)])
        change = after_attempt(task, outcome, self.now, POLICY)
        self.ledger.work.settle(self.ids[who], PHASE, change, CODE, self.now)
        if change.state is State.QUARANTINED and task.domain in self.refreshing:
            self.refreshing.discard(task.domain)
        elif change.state.is_settled:
            self.settled[task.domain] = (change.state, change.kind, change.payload)
            self.refreshing.discard(task.domain)

    @rule(who=WHO, domain=st.sampled_from(DOMAINS))
    def write_without_holding(self, who: int, domain: str) -> None:
        if who not in self.ids or domain in self.hands[who]:
            return
        before = self._rows()
        change = after_attempt(
            _task(domain),
            Settled(State.SUCCEEDED, payload=b"stolen"),
            self.now,
            POLICY,
        )
        try:
            self.ledger.work.settle(self.ids[who], PHASE, change, CODE, self.now)
        except LeaseLost:
            assert self._rows() == before
            return
        raise AssertionError("somebody who did not hold the domain wrote its result")

    @rule(who=WHO)
    def beat(self, who: int) -> None:
        if who not in self.ids:
            return
        try:
            self.ledger.workers.beat(self.ids[who], self.now, 0, 0)
        except LeaseLost:
            assert who in self.declared_dead
        else:
            assert who not in self.declared_dead
            self.leases[who] = self.now + LEASE_S

    @rule(who=WHO)
    def end(self, who: int) -> None:
        if who in self.ids:
            self.ledger.workers.end(self.ids[who], self.now, "finished")
            self._forget(who)

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def bury(self) -> None:
        self.ledger.workers.bury_dead(self.now)
        for who, lease in self.leases.items():
            if lease < self.now and who not in self.declared_dead:
                self.declared_dead.add(who)
                self.hands[who] = {}
        for row in self._rows():
            if row["domain"] in self.refreshing and not row["refresh_asked"]:
                assert row["deaths_alone"] >= 2
                self.refreshing.discard(row["domain"])
            if row["state"] == State.QUARANTINED and row["domain"] not in self.settled:
                assert row["deaths_alone"] >= 2
                self.settled[row["domain"]] = (row["state"], row["kind"], None)

    @rule(who=WHO)
    def die_and_come_back_as_another(self, who: int) -> None:
        """The worker's place is free for a new one; what it held stays behind until its lease."""
        if who in self.ids and who in self.declared_dead:
            self._forget(who)

    @rule()
    def stop_for_our_own_trouble(self) -> None:
        failure = Failure(FailureKind.LOCAL_NETWORK, "down")
        self.ledger.work.hold(PHASE, KEYS, failure, self.now)

    @rule()
    def run_again_by_hand(self) -> None:
        self.ledger.work.make_due(PHASE, KEYS)

    @rule()
    def ask_for_a_refresh(self) -> None:
        asked = self.ledger.work.expire(PHASE, KEYS, self.now + 1, self.now)
        before, self.refreshing = self.refreshing, set(self.settled)
        assert asked == len(self.refreshing - before)

    # -- what holds always ----------------------------------------------------------------------

    @invariant()
    def no_domain_is_held_by_two_and_everybody_holds_what_they_think(self) -> None:
        holders = {row["domain"]: row["claimed_by"] for row in self._rows()}
        for who, hand in self.hands.items():
            for domain in hand:
                assert holders[domain] == self.ids[who]
        model = {domain for hand in self.hands.values() for domain in hand}
        live = {self.ids[who] for who in self.ids if who not in self.declared_dead}
        assert {domain for domain, holder in holders.items() if holder in live} == model

    @invariant()
    def what_is_settled_stays_as_it_was(self) -> None:
        found = {result.domain: result for key in KEYS for result in self._results(key)}
        for domain, (state, kind, payload) in self.settled.items():
            assert (found[domain].state, found[domain].kind) == (state, kind)
            assert found[domain].payload == payload
        for row in self._rows():
            assert State(row["state"]).is_settled == (row["domain"] in self.settled)
            assert bool(row["refresh_asked"]) == (row["domain"] in self.refreshing)

    @invariant()
    def counts_add_up(self) -> None:
        tallies = self.ledger.work.tallies(PHASE, KEYS)
        assert [tallies[key].total for key in KEYS] == [4, 2, 3]

    # -- -----------------------------------------------------------------------------------------

    def _rows(self) -> list[dict[str, object]]:
        with self.ledger.database.read() as connection:
            query = select(work).where(work.c.phase == PHASE).order_by(work.c.domain)
            return [dict(row._mapping) for row in connection.execute(query)]

    def _results(self, key: str):  # type: ignore[no-untyped-def]
        return self.ledger.work.results(PHASE, key)

    def _forget(self, who: int) -> None:
        del self.ids[who], self.hands[who], self.leases[who]
        self.declared_dead.discard(who)


def _task(domain: str) -> DomainTask:
    return DomainTask(CompanyQuery(domain), KEYS[0])


Claims.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestClaims = Claims.TestCase
