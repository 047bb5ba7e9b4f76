"""What a pass over batches works with, in memory: a queue with the ledger's rules, and the work."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from resources.core.errors import Failure, LeaseLost
from resources.core.models import DomainTask, Phase, Settled, State
from resources.core.ports import Clock
from tests.support import memory_work
from tests.support.memory_work import MemoryWork, Row

__all__ = ["DONE", "Answer", "Gate", "MemoryQueue", "Outcome", "Row", "ScriptedWork"]

Outcome = Settled | Failure
Answer = Callable[[DomainTask], Awaitable[Outcome]]
DONE = Settled(State.SUCCEEDED, payload=b"{}")


class MemoryQueue(memory_work.MemoryQueue):
    """The queue of one worker, "me", that remembers what a pass asked of it."""

    def __init__(self, batches: dict[str, list[str]]) -> None:
        super().__init__(MemoryWork(batches), "me")
        self.work.begin(self.name)
        self.claims: list[tuple[str, ...]] = []
        self.claimed: list[str] = []
        self.ended: str | None = None
        self.beats: list[tuple[int, int]] = []
        self.doing: list[str | None] = []
        self.waits_until: list[float] = []
        self.held: list[tuple[tuple[str, ...], Failure]] = []
        self.is_taken_over = False

    @property
    def clock(self) -> Clock:
        return self.work.clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self.work.clock = clock

    @property
    def batches(self) -> dict[str, list[str]]:
        return self.work.batches

    @property
    def rows(self) -> dict[str, Row]:
        return self.work.rows

    async def claim(
        self, batch_keys: Sequence[str], limit: int, due_before: float, *, alone: bool = False
    ) -> Sequence[DomainTask]:
        tasks = await super().claim(batch_keys, limit, due_before, alone=alone)
        self.claims.append(tuple(task.domain for task in tasks))
        self.claimed += [task.domain for task in tasks]
        return tasks

    async def hold(self, batch_keys: Sequence[str], failure: Failure) -> None:
        self.held.append((tuple(batch_keys), failure))
        await super().hold(batch_keys, failure)

    async def beat(
        self, done: int, total: int, doing: str | None = None, waits_until: float = 0.0
    ) -> None:
        if self.is_taken_over:
            raise LeaseLost("declared dead")
        self.beats.append((done, total))
        self.doing.append(doing)
        self.waits_until.append(waits_until)
        await super().beat(done, total, doing, waits_until)

    async def end(self, reason: str) -> None:
        self.ended = reason
        await super().end(reason)


class ScriptedWork:
    """`PhaseWork` that answers by script and counts what is in hand."""

    phase = Phase.PAGE_SCRAPING

    def __init__(
        self, answers: Mapping[str, Outcome | Answer] | None = None, concurrency: int = 4
    ) -> None:
        self._answers = dict(answers or {})
        self.concurrency = concurrency
        self.in_hand: list[str] = []
        self.most_in_hand = 0
        self.begun: list[DomainTask] = []
        self.together: defaultdict[str, set[str]] = defaultdict(set)

    async def close(self) -> None:
        pass

    async def attempt(self, task: DomainTask) -> Outcome:
        self.begun.append(task)
        self.in_hand.append(task.domain)
        self.most_in_hand = max(self.most_in_hand, len(self.in_hand))
        for domain in self.in_hand:
            self.together[domain].update(self.in_hand)
        try:
            await asyncio.sleep(0)
            answer = self._answers.get(task.domain, DONE)
            return answer if isinstance(answer, Settled | Failure) else await answer(task)
        finally:
            self.in_hand.remove(task.domain)


class Gate:
    """An answer that comes when the test says so."""

    def __init__(self, outcome: Outcome = DONE) -> None:
        self._event = asyncio.Event()
        self._outcome = outcome

    def open(self) -> None:
        self._event.set()

    async def __call__(self, task: DomainTask) -> Outcome:
        await self._event.wait()
        return self._outcome
