"""The work of a phase that workers share, in memory, with the rules of the ledger.

The contract tests (tests/contract) run on this and on the ledger alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import UNSETTLED, CompanyQuery, DomainTask, State
from resources.core.ports import Clock
from resources.core.rounds import OTHER_DEATHS_WITHIN_S, Change, is_cause_of_deaths
from resources.core.tallies import Tally, TallyRow, tally
from tests.support.time import ManualClock


@dataclass
class Row:
    """A domain in a phase, as the ledger holds it."""

    state: State = State.PENDING
    kind: str | None = None
    reason: str | None = None
    payload: bytes | None = None
    rounds: int = 0
    not_before: float = 0.0
    asked_to_wait_until: float = 0.0
    deaths: int = 0
    deaths_alone: int = 0
    holder: str | None = None
    is_held_alone: bool = False
    revision: int = 0
    refresh_asked: bool = False
    refresh_waits_for: str | None = None
    settled_at: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.state in UNSETTLED or self.refresh_asked

    def tally_row(self) -> TallyRow:
        return TallyRow(
            self.state,
            self.kind,
            1,
            int(self.holder is not None),
            self.revision,
            self.not_before if self.holder is None else None,
            int(self.refresh_asked),
            self.refresh_waits_for if self.holder is None else None,
            self.rounds,
            self.deaths,
        )

    def settle(self, change: Change, now: float) -> None:
        """Take an attempt's outcome in; a refresh keeps the older result until it is settled."""
        is_given_up = change.state is State.QUARANTINED and self.state is not State.QUARANTINED
        is_anew = change.state.is_settled and not is_given_up
        keeps_older = self.refresh_asked and not is_anew
        self.rounds, self.not_before = change.rounds, change.not_before
        self.asked_to_wait_until = change.asked_to_wait_until
        self.refresh_asked = self.refresh_asked and not change.state.is_settled
        self.refresh_waits_for = change.kind if self.refresh_asked else None
        if keeps_older:
            return
        self.state, self.kind, self.reason = change.state, change.kind, change.reason
        if change.state.is_settled:
            self.revision += 1
            self.settled_at = now
            is_empty = change.state in {State.NOT_FOUND, State.REFUSED}
            self.payload = change.payload if change.payload or is_empty else self.payload

    def lose_worker(self, now: float, died_before: int) -> None:
        """Count that a worker died with it in hand, and judge whether that was its doing."""
        self.deaths += 1
        self.deaths_alone += self.is_held_alone
        self.refresh_waits_for = None
        if not is_cause_of_deaths(self.deaths_alone, died_before - (self.deaths_alone - 1)):
            return
        if not self.refresh_asked or self.state is State.QUARANTINED:
            self.state, self.kind = State.QUARANTINED, FailureKind.BUG
            self.reason, self.settled_at = "its workers died", now
            self.revision += 1
        self.refresh_asked = False

    def let_go(self) -> None:
        self.holder, self.is_held_alone = None, False


@dataclass
class MemoryWork:
    """The work of a phase that several workers share. `batches` may share domains.

    Args:
        leases: Until when each living worker's lease runs, by name.
        buried: Workers that were declared dead.
        deaths_at: When that was, for each of them.
    """

    batches: dict[str, list[str]]
    clock: Clock = field(default_factory=ManualClock)
    lease_s: float = 60.0
    rows: dict[str, Row] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)
    buried: set[str] = field(default_factory=set)
    deaths_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        for domains in self.batches.values():
            for domain in domains:
                self.rows.setdefault(domain, Row())

    def begin(self, name: str) -> MemoryQueue:
        """Let a worker begin."""
        self.leases[name] = self.clock.now() + self.lease_s
        return MemoryQueue(self, name)

    def bury_dead(self) -> None:
        """Declare all workers dead whose lease has run out."""
        now = self.clock.now()
        died_before = sum(now - OTHER_DEATHS_WITHIN_S <= at < now for at in self.deaths_at)
        for name in [name for name, until in self.leases.items() if until < now]:
            del self.leases[name]
            self.buried.add(name)
            self.deaths_at.append(now)
            for row in self.held_by(name):
                if row.is_open:
                    row.lose_worker(now, died_before)
                row.let_go()

    def make_due(self, batch_keys: Sequence[str]) -> None:
        """Let waiting domains be tried at once, but for waits that the other side asked for."""
        for _, row in self.members(batch_keys):
            if row.state is State.WAITING or row.refresh_asked:
                row.not_before = min(row.not_before, row.asked_to_wait_until)

    def refresh(self, batch_keys: Sequence[str]) -> int:
        """Let everything that is settled be worked on again. Returns how many were not yet."""
        asked = 0
        for _, row in self.members(batch_keys):
            if not row.is_open:
                asked += 1
                row.refresh_asked, row.refresh_waits_for = True, None
                row.rounds = row.deaths = row.deaths_alone = 0
                row.not_before = row.asked_to_wait_until = 0.0
        return asked

    def close(self) -> None:
        """There is nothing to close in memory."""

    def members(self, batch_keys: Iterable[str]) -> Iterator[tuple[str, Row]]:
        domains = {domain for key in batch_keys for domain in self.batches.get(key, ())}
        return ((domain, self.rows[domain]) for domain in domains)

    def held_by(self, name: str) -> list[Row]:
        return [row for row in self.rows.values() if row.holder == name]


@dataclass
class MemoryQueue:
    """`WorkQueue` in memory, for one worker."""

    work: MemoryWork
    name: str

    async def tallies(self, batch_keys: Sequence[str]) -> Mapping[str, Tally]:
        await self._turn()
        return {
            key: tally(row.tally_row() for _, row in self.work.members([key])) for key in batch_keys
        }

    async def claim(
        self, batch_keys: Sequence[str], limit: int, due_before: float, *, alone: bool = False
    ) -> Sequence[DomainTask]:
        await self._turn()
        if self.name not in self.work.leases:
            raise LeaseLost(f"{self.name} has ended")
        found = [
            (key, domain, self.work.rows[domain])
            for key in sorted(batch_keys)
            for domain in self.work.batches.get(key, ())
        ]
        due = [one for one in found if self._is_claimable(one[2], due_before, alone=alone)]
        is_alone = False
        if alone and due:
            fewest = min(row.deaths for _, _, row in due)
            due = [one for one in due if one[2].deaths == fewest]
            most = {2: 16, 3: 4}.get(fewest, 1)
            limit, is_alone = min(limit, most), most == 1
        tasks: list[DomainTask] = []
        for key, domain, row in due:
            # A domain of two batches comes twice.
            if row.holder is not None or len(tasks) == limit:
                continue
            row.holder, row.is_held_alone = self.name, is_alone
            query = CompanyQuery(domain)
            tasks.append(DomainTask(query, key, row.rounds, is_alone, row.settled_at))
        return tasks

    async def settle(self, change: Change) -> None:
        await self._turn()
        row = self.work.rows[change.domain]
        if row.holder != self.name:
            raise LeaseLost(f"{change.domain} was taken over")
        row.settle(change, self.work.clock.now())
        row.let_go()

    async def hold(self, batch_keys: Sequence[str], failure: Failure) -> None:
        await self._turn()
        for _, row in self.work.members(batch_keys):
            has_own_reason = row.kind not in {None, failure.kind}
            if row.state in UNSETTLED and row.holder is None and not has_own_reason:
                row.state, row.kind, row.reason = State.WAITING, failure.kind, failure.message
                row.not_before = self.work.clock.now() + (failure.retry_after_s or 0.0)

    async def beat(
        self, done: int, total: int, doing: str | None = None, waits_until: float = 0.0
    ) -> None:
        await self._turn()
        if self.name not in self.work.leases:
            raise LeaseLost(f"{self.name} has ended")
        self.work.leases[self.name] = self.work.clock.now() + self.work.lease_s

    async def end(self, reason: str) -> None:
        with suppress(LeaseLost):
            await self._turn()
            self.work.leases.pop(self.name, None)
            for row in self.work.held_by(self.name):
                row.let_go()

    async def _turn(self) -> None:
        """As a commit does: let the others run, and stop here if somebody has buried us."""
        await asyncio.sleep(0)
        if self.name in self.work.buried:
            raise LeaseLost(f"{self.name} was declared dead")

    def _is_claimable(self, row: Row, due_before: float, *, alone: bool) -> bool:
        is_due = row.is_open and row.not_before < due_before
        return is_due and row.holder is None and (row.deaths >= 2) == alone
