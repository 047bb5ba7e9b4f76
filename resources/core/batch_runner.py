"""Works through many batches of one phase as one stream of domains.

Claims unsettled domains in batch order, keeps as many in hand as the phase allows, writes each
outcome as it comes, and reports a batch as soon as the ledger says that all of it is settled. It
knows no network, database or Dagster: all of that is behind `PhaseWork` and `WorkQueue`. What the
time limits allow is in `run_limits`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

from resources.core.errors import RULES, Failure, LeaseLost
from resources.core.models import DomainTask, Settled
from resources.core.ports import Clock, PhaseWork, Sleep, WorkQueue
from resources.core.rounds import RoundPolicy, after_attempt
from resources.core.run_events import (
    BROKEN_OFF,
    BatchSettled,
    BatchStarted,
    Event,
    Noticed,
    PassEnded,
)
from resources.core.run_limits import PassTimes, RunLimits
from resources.core.tallies import Tally

# Whoever drives a runner finds all that it needs for that here.
__all__ = [
    "BatchRunner",
    "BatchSettled",
    "BatchStarted",
    "Event",
    "Noticed",
    "PassEnded",
    "RunLimits",
]


def _nothing_noticed() -> Sequence[str]:
    return ()


def _no_wait() -> float:
    return 0.0


class BatchRunner:
    """One pass of one worker over batches of a phase. Use once.

    Args:
        classify: Turns an unforeseen exception of the phase into a failure.
        notices: Gives, and forgets, what happened outside of the batches since it was asked last.
        waits_until: Until when the work waits on purpose, epoch seconds; 0.0 for no such wait.
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
        notices: Callable[[], Sequence[str]] = _nothing_noticed,
        waits_until: Callable[[], float] = _no_wait,
    ) -> None:
        self._work = work
        self._queue = queue
        self._clock = clock
        self._policy = policy
        self._limits = limits
        self._classify = classify
        self._sleep = sleep
        self._notices = notices
        self._waits_until = waits_until
        self._in_hand: dict[asyncio.Task[None], DomainTask] = {}
        self._ended: list[asyncio.Task[None]] = []
        self._has_ended = asyncio.Event()
        self._started_at = 0.0
        self._times = PassTimes(limits, {}, 0.0)
        # Domains finished here by batch, and the batches to look at because of them.
        self._finished: Counter[str] = Counter()
        self._touched: set[str] = set()
        self._stopped_by: Failure | None = None
        self._is_under_way = asyncio.Event()
        self._done = 0
        self._total = 0
        self._doing: str | None = None

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
        reason = BROKEN_OFF
        beats = asyncio.ensure_future(self._beat())
        beats.add_done_callback(lambda _: self._has_ended.set())
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
            await self._work.close()
            await asyncio.shield(self._queue.end(reason))

    async def _work_through(
        self, open_batches: dict[str, Tally], beats: asyncio.Future[None]
    ) -> AsyncIterator[Event]:
        self._started_at = self._clock.now()
        sizes = {key: tally.total for key, tally in open_batches.items()}
        self._times = PassTimes(self._limits, sizes, self._started_at)
        claimable = list(open_batches)
        numbers = {key: number for number, key in enumerate(claimable, 1)}
        begun: set[str] = set()
        settled: set[str] = set()
        while True:
            for key in await self._claim_more(claimable, open_batches):
                if key not in begun:
                    begun.add(key)
                    started = BatchStarted(key, numbers[key], len(numbers), open_batches[key].open)
                    self._doing = started.sentence
                    yield started
            self._is_under_way.set()
            for notice in self._news():
                yield notice
            worked_off = self._worked_off(claimable, open_batches)
            tallies = await self._queue.tallies(worked_off) if worked_off else {}
            for key, tally in tallies.items():
                # What is left to refresh may still come, as domains that are worked on alone do;
                # a batch is reported once, so it then waits for the end of the pass.
                if tally.open == 0:
                    settled.add(key)
                    yield BatchSettled(key, tally, is_new=True)
            if not self._in_hand:
                break
            await self._next_finished(beats)
        left = [key for key in open_batches if key not in settled]
        await self._let_wait(left)
        async for event in self._conclude(left):
            yield event

    async def _let_wait(self, left: Sequence[str]) -> None:
        """Write down what the domains wait for that were not begun."""
        now = self._clock.now()
        over = [key for key in left if self._times.is_over(key, now)]
        for key in over:
            await self._queue.hold([key], self._times.rest_of(key))
        if self._stopped_by is not None:
            rest = [key for key in left if key not in over]
            await self._queue.hold(rest, self._stopped_by)

    async def _conclude(self, left: Sequence[str]) -> AsyncIterator[Event]:
        """Report what is left.

        What is open by our count may have been settled by somebody else meanwhile; and a batch in
        which only a refresh waits, or was not due, is settled all the same.
        """
        tallies = await self._queue.tallies(left)
        for key in left:
            if tallies[key].unsettled == 0:
                yield BatchSettled(key, tallies[key], is_new=True)
        for notice in self._news():
            yield notice
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
        while True:
            claimable[:] = self._may_begin(claimable)
            free = self._work.concurrency - len(self._in_hand)
            if not claimable or free < max(1, self._work.concurrency // 8):
                break
            window = _window(claimable, open_batches, 2 * free)
            tasks = await self._queue.claim(window, free, due_before)
            for task in tasks:
                self._begin(task)
                taken.append(task.batch_key)
            if len(tasks) < free:
                del claimable[: len(window)]
        if not self._in_hand and (keys := self._may_begin(list(open_batches))):
            most = self._work.concurrency
            for task in await self._queue.claim(keys, most, due_before, alone=True):
                self._begin(task)
                taken.append(task.batch_key)
        return taken

    def _begin(self, task: DomainTask) -> None:
        self._times.take(task.batch_key, self._clock.now())
        running = asyncio.create_task(self._attempt(task))
        self._in_hand[running] = task
        running.add_done_callback(self._note_end)

    def _note_end(self, running: asyncio.Task[None]) -> None:
        self._ended.append(running)
        self._has_ended.set()

    def _may_begin(self, batch_keys: Sequence[str]) -> list[str]:
        """Those of the batches of which more may be begun now."""
        now = self._clock.now()
        self._stopped_by = self._stopped_by or self._times.pass_is_over(now)
        if self._stopped_by is not None:
            return []
        return self._times.not_over(batch_keys, now)

    async def _attempt(self, task: DomainTask) -> None:
        # The claim itself may have taken so long that the time is over.
        refusal = self._times.refusal(task.batch_key, self._clock.now())
        outcome = refusal or await self._try(task)
        if isinstance(outcome, Failure) and (RULES[outcome.kind].stops_run or outcome.is_for_all):
            self._stopped_by = self._stopped_by or outcome
        # A clock set back must not make the domain due again in this very pass.
        now = max(self._clock.now(), self._started_at)
        change = after_attempt(task, outcome, now, self._policy)
        await self._queue.settle(change)
        self._done += 1

    async def _try(self, task: DomainTask) -> Settled | Failure:
        allowed = self._times.allowance(task.batch_key, self._clock.now())
        timer = asyncio.timeout(allowed.seconds)
        try:
            async with timer:
                return await self._work.attempt(task)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  # one bad domain never ends a batch
            if not (isinstance(error, TimeoutError) and timer.expired()):
                return self._classify(error)
            if allowed.is_of_batch:
                self._times.end_batch(task.batch_key)
            return allowed.failure

    async def _next_finished(self, beats: asyncio.Future[None]) -> None:
        """Wait for domains to finish."""
        await self._has_ended.wait()
        self._has_ended.clear()
        if beats.done():
            beats.result()
        ended, self._ended = self._ended, []
        for running in ended:
            task = self._in_hand.pop(running)
            self._times.let_go(task.batch_key, self._clock.now())
            self._finished[task.batch_key] += 1
            self._touched.add(task.batch_key)
            running.result()

    def _worked_off(self, claimable: Sequence[str], open_batches: dict[str, Tally]) -> list[str]:
        """Batches that were worked on and have nothing left to do here, each once."""
        in_hand = {task.batch_key for task in self._in_hand.values()}
        done = [
            key
            for key in sorted(self._touched - in_hand)
            if self._finished[key] >= open_batches[key].open or key not in claimable
        ]
        self._touched.difference_update(done)
        return done

    async def _beat(self) -> None:
        # The first one tells already what is being worked on; until then the lease is new.
        await self._is_under_way.wait()
        while True:
            await self._queue.beat(self._done, self._total, self._doing, self._waits_until())
            await self._sleep(self._limits.beat_s)

    def _news(self) -> list[Noticed]:
        over = self._times.newly_over(self._clock.now())
        messages = [self._times.rest_of(key).message for key in over]
        return [Noticed(message) for message in (*messages, *self._notices())]

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
