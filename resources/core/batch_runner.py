"""Works through many batches of one phase as one stream of domains.

Claims unsettled domains in batch order, keeps as many in hand as the phase allows, writes each
outcome as it comes, and reports a batch as soon as the ledger says that all of it is settled. It
knows no network, database or Dagster: all of that is behind `PhaseWork` and `WorkQueue`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from resources.core.errors import RULES, Failure, FailureKind, LeaseLost
from resources.core.models import DomainTask, Settled
from resources.core.ports import Clock, PhaseWork, Sleep, WorkQueue
from resources.core.rounds import RoundPolicy, after_attempt
from resources.core.tallies import Tally


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits of one pass.

    Args:
        phase_timeout_s: No domain is begun later than this after the start.
        domain_timeout_s: Longest time for one domain.
        beat_s: Seconds between two beats.
    """

    phase_timeout_s: float
    domain_timeout_s: float
    beat_s: float


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """The first domain of a batch is in hand. `number` of `total` batches, from 1.

    Args:
        unsettled: Domains to work on; those that are refreshed are among them.
    """

    key: str
    number: int
    total: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """Every domain of a batch is settled. `is_new` is False when there was nothing to do."""

    key: str
    tally: Tally
    is_new: bool


@dataclass(frozen=True, slots=True)
class PassEnded:
    """Nothing more can be done now.

    Args:
        unsettled: Tallies of the batches that are not settled, by key.
        stopped_by: What ended the pass early, or None.
    """

    unsettled: dict[str, Tally]
    stopped_by: Failure | None


Event = BatchStarted | BatchSettled | PassEnded


class BatchRunner:
    """One pass of one worker over batches of a phase. Use once.

    Args:
        classify: Turns an unforeseen exception of the phase into a failure.
    """

    def __init__(
        self,
        work: PhaseWork,
        queue: WorkQueue,
        clock: Clock,
        policy: RoundPolicy,
        limits: RunLimits,
        classify: Callable[[Exception], Failure],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._work = work
        self._queue = queue
        self._clock = clock
        self._policy = policy
        self._limits = limits
        self._classify = classify
        self._sleep = sleep
        self._in_hand: dict[asyncio.Task[None], DomainTask] = {}
        self._started_at = 0.0
        # Domains finished here by batch, and the batches to look at because of them.
        self._finished: Counter[str] = Counter()
        self._touched: set[str] = set()
        self._stopped_by: Failure | None = None
        self._done = 0
        self._total = 0

    async def run(self, batch_keys: Sequence[str]) -> AsyncIterator[Event]:
        """Work through the batches; the last event is always `PassEnded`.

        Settled batches are reported first, without work: Dagster forgets them otherwise when a
        later run over the same range fails (docs/adr/0002).

        Raises:
            LeaseLost: another worker has taken over; what was written before is kept.
        """
        tallies = await self._queue.tallies(batch_keys)
        for key in batch_keys:
            if tallies[key].open == 0:
                yield BatchSettled(key, tallies[key], is_new=False)
        open_batches = {key: tallies[key] for key in batch_keys if tallies[key].open}
        reason = "interrupted"
        beats = asyncio.ensure_future(self._beat())
        try:
            self._total = sum(tally.open for tally in open_batches.values())
            async for event in self._work_through(open_batches, beats):
                yield event
            reason = "finished"
        except LeaseLost:
            reason = "lease_lost"
            raise
        finally:
            beats.cancel()
            await self._drop_all()
            await asyncio.shield(self._queue.end(reason))

    async def _work_through(
        self, open_batches: dict[str, Tally], beats: asyncio.Future[None]
    ) -> AsyncIterator[Event]:
        self._started_at = self._clock.now()
        claimable = list(open_batches)
        numbers = {key: number for number, key in enumerate(claimable, 1)}
        begun: set[str] = set()
        settled: set[str] = set()
        while True:
            self._check_time()
            for key in await self._claim_more(claimable, open_batches):
                if key not in begun:
                    begun.add(key)
                    yield BatchStarted(key, numbers[key], len(numbers), open_batches[key].open)
            for key in self._worked_off(claimable, open_batches):
                tally = (await self._queue.tallies([key]))[key]
                # What is left to refresh may still come, as domains that are worked on alone do;
                # a batch is reported once, so it then waits for the end of the pass.
                if tally.open == 0:
                    settled.add(key)
                    yield BatchSettled(key, tally, is_new=True)
            if not self._in_hand:
                break
            await self._next_finished(beats)
        if self._stopped_by is not None:
            left = [key for key in open_batches if key not in settled]
            await self._queue.hold(left, self._stopped_by)
        async for event in self._conclude([key for key in open_batches if key not in settled]):
            yield event

    async def _conclude(self, left: Sequence[str]) -> AsyncIterator[Event]:
        """Report what is left.

        What is open by our count may have been settled by somebody else meanwhile; and a batch in
        which only a refresh waits, or was not due, is settled all the same.
        """
        tallies = await self._queue.tallies(left)
        for key in left:
            if tallies[key].unsettled == 0:
                yield BatchSettled(key, tallies[key], is_new=True)
        unsettled = {key: tally for key, tally in tallies.items() if tally.unsettled}
        yield PassEnded(unsettled, self._stopped_by)

    async def _claim_more(self, claimable: list[str], open_batches: dict[str, Tally]) -> list[str]:
        """Fill the free places. Returns the batches of the domains taken.

        Suspects, in whose hands workers died, come only when nothing else is in hand, so that they
        put nothing else at risk: one group of them at a time, which the queue makes ever smaller
        the more deaths they have.
        """
        taken: list[str] = []
        due_before = self._started_at
        while claimable and self._stopped_by is None:
            free = self._work.concurrency - len(self._in_hand)
            if free < max(1, self._work.concurrency // 8):
                break
            window = _window(claimable, open_batches, 2 * free)
            tasks = await self._queue.claim(window, free, due_before)
            for task in tasks:
                self._begin(task)
                taken.append(task.batch_key)
            if len(tasks) < free:
                del claimable[: len(window)]
        if not self._in_hand and self._stopped_by is None:
            keys, most = list(open_batches), self._work.concurrency
            for task in await self._queue.claim(keys, most, due_before, alone=True):
                self._begin(task)
                taken.append(task.batch_key)
        return taken

    def _begin(self, task: DomainTask) -> None:
        running = asyncio.ensure_future(self._attempt(task))
        self._in_hand[running] = task

    async def _attempt(self, task: DomainTask) -> None:
        limit = self._limits.domain_timeout_s
        outcome: Settled | Failure
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                outcome = await self._work.attempt(task)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  # one bad domain never ends a batch
            if isinstance(error, TimeoutError) and timer.expired():
                message = f"the limit of {limit:g} s for one domain was reached (domain_timeout)"
                outcome = Failure(FailureKind.TIMEOUT, message)
            else:
                outcome = self._classify(error)
        if isinstance(outcome, Failure) and RULES[outcome.kind].stops_run:
            self._stopped_by = outcome
        # A clock set back must not make the domain due again in this very pass.
        now = max(self._clock.now(), self._started_at)
        change = after_attempt(task, outcome, now, self._policy)
        await self._queue.settle(change)
        self._done += 1

    async def _next_finished(self, beats: asyncio.Future[None]) -> None:
        """Wait for domains to finish."""
        done, _ = await asyncio.wait({beats, *self._in_hand}, return_when=asyncio.FIRST_COMPLETED)
        if beats in done:
            beats.result()
        for running in done:
            if running is beats:
                continue
            task = self._in_hand.pop(running)  # type: ignore[call-overload]
            self._finished[task.batch_key] += 1
            self._touched.add(task.batch_key)
            running.result()

    def _worked_off(self, claimable: Sequence[str], open_batches: dict[str, Tally]) -> list[str]:
        """Batches that were worked on and have nothing left to do here, each once."""
        in_hand = {task.batch_key for task in self._in_hand.values()}
        done = [
            key
            for key in open_batches
            if key in self._touched
            and key not in in_hand
            and (key not in claimable or self._finished[key] >= open_batches[key].open)
        ]
        self._touched.difference_update(done)
        return done

    async def _beat(self) -> None:
        while True:
            await self._queue.beat(self._done, self._total)
            await self._sleep(self._limits.beat_s)

    def _check_time(self) -> None:
        limit = self._limits.phase_timeout_s
        if self._stopped_by is None and self._clock.now() - self._started_at > limit:
            self._stopped_by = Failure(
                FailureKind.CANCELLED,
                f"the limit of {limit:g} s for one step was reached (phase_timeout); "
                "what is left waits for the next run",
            )

    async def _drop_all(self) -> None:
        for running in self._in_hand:
            running.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)
        self._in_hand.clear()


def _window(claimable: Sequence[str], tallies: dict[str, Tally], domains: int) -> list[str]:
    """The first batches that hold so many domains together; at least one."""
    window: list[str] = []
    size = 0
    for key in claimable:
        window.append(key)
        size += tallies[key].open
        if size >= domains:
            break
    return window
