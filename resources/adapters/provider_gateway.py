"""The one way to a provider: kept answers first, then bulk calls, noted before they are sent.

Many domains ask at once; the gateway fills calls up to the provider's bulk size. An answer that
was received is never bought again; a provider that needs a person (key, quota, budget) is not
asked again in this run. While its breaker is not closed one domain alone is asked, to see whether
it is back: if not, that one has used up a round and the others have not. Nobody waits for ever: one
provider that hangs must not use up the time of a domain that others could settle, so a wait has an
end, and what nobody waits for any more is not sent.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from resources.adapters.call_gate import CallGate
from resources.adapters.calling import call_with_retries
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.calls import Budget, EndedCall, NewCall
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.permit import Endpoint
from resources.core.errors import RULES, CallError, Failure, FailureKind
from resources.core.models import CompanyQuery, RawAnswer
from resources.core.pacing import PaceLimits
from resources.core.ports import Clock, Provider
from resources.core.retry import RetryPolicy

# How long a half-filled bulk call waits for more domains.
FILL_S = 0.1
LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How calls to one provider are made.

    Args:
        limits: Its pace, for all processes together.
        retry: The request tier.
        fresh_s: Seconds for which a kept answer is as good as a new one.
        credits_each: Credits that one match costs at most, for the budget.
        patience_s: Seconds that one domain waits for its answer, our own queue included.
        is_required: Whether the domain cannot do without this provider.
        closing_s: Seconds that calls under way get to end by themselves at the end.
    """

    limits: PaceLimits
    retry: RetryPolicy
    fresh_s: float
    credits_each: float
    patience_s: float
    is_required: bool
    closing_s: float = 2.0


@dataclass(slots=True, eq=False)
class _Asked:
    """One domain's question, and who waits for the answer.

    Args:
        waiters: Those who wait; with none left the question is not sent.
        is_sent: Whether a call with it has been sent.
        is_answered: Whether those who waited have been told.
        missed_at: When no answer for it was kept, epoch seconds.
    """

    query: CompanyQuery
    waiters: list[asyncio.Future[RawAnswer | Failure]] = field(default_factory=list)
    is_sent: bool = False
    is_answered: bool = False
    missed_at: float = 0.0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits who was not told yet."""
        return bool(self.waiters) and not self.is_answered

    def tell(self, answer: RawAnswer | Failure) -> None:
        """Give everybody the answer."""
        self.is_answered = True
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(answer)

    def spoil(self, error: Exception) -> None:
        """Raise an error for everybody who was not told yet."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def cancel(self) -> None:
        """Let nobody wait any more."""
        for waiter in self.waiters:
            waiter.cancel()


class ProviderGateway:
    """Asks one provider for many domains. Used by one event loop."""

    def __init__(
        self,
        provider: Provider,
        ledger: Ledger,
        commits: CommitQueue,
        gate: CallGate,
        clock: Clock,
        policy: CallPolicy,
        budget: Budget,
        worker_id: str | None,
        random: Random,
    ) -> None:
        self.provider = provider
        self._ledger = ledger
        self._commits = commits
        self._gate = gate
        self._clock = clock
        self._policy = policy
        self._budget = budget
        self._worker_id = worker_id
        self._random = random
        # Just come, and those that wait for a call to be filled.
        self._arrived: dict[str, _Asked] = {}
        self._waiting: dict[str, _Asked] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Those of them that make a call just now.
        self._sending: set[asyncio.Task[Any]] = set()
        self._endpoints: dict[str, Endpoint] = {}
        self._closed: Failure | None = None
        self._is_closing = False
        self._calls_under_way = 0
        self._calls_ended = 0
        self._call_ended = asyncio.Event()

    async def answer(self, query: CompanyQuery) -> RawAnswer | Failure:
        """The provider's answer for one domain, kept or new; or why there was none in time."""
        if self._is_closing:
            return self._cancelled()
        loop = asyncio.get_running_loop()
        asked = self._arrived.get(query.domain) or self._waiting.get(query.domain)
        if asked is None:
            asked = _Asked(query)
            if not self._arrived:
                # Domains come in groups: one look-up serves all that came in the same moment.
                loop.call_soon(self._take_in)
            self._arrived[query.domain] = asked
        waiter: asyncio.Future[RawAnswer | Failure] = loop.create_future()
        asked.waiters.append(waiter)
        timer = loop.call_later(self._policy.patience_s, self._lose_patience, asked, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            asked.waiters.remove(waiter)

    async def close(self) -> None:
        """Send nothing more, and stop.

        A call under way may be billed already: it gets a moment to bring its answer, because one
        that is thrown away is bought again by the next run.
        """
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        for asked in (*self._arrived.values(), *self._waiting.values()):
            asked.cancel()
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._policy.closing_s)
        left = [*self._tasks, *self._sending]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _lose_patience(self, asked: _Asked, waiter: asyncio.Future[RawAnswer | Failure]) -> None:
        if not waiter.done():
            waiter.set_result(self._too_late(asked))

    def _too_late(self, asked: _Asked) -> Failure:
        """What a domain is told that has waited long enough.

        A query that never left our queue is not the provider's failure, so it uses up no round;
        but a domain can do without an optional provider, and is not held up by our queue to it.
        """
        name, limit = self.provider.name, self._policy.patience_s
        if asked.is_sent:
            return Failure(
                FailureKind.TIMEOUT, f"{name} did not answer within {limit:g} s.", provider=name
            )
        return Failure(
            FailureKind.LIMITER if self._policy.is_required else FailureKind.TIMEOUT,
            f"{name} could not be asked within {limit:g} s, because earlier calls to it take long.",
            provider=name,
        )

    def _cancelled(self) -> Failure:
        name = self.provider.name
        return Failure(
            FailureKind.CANCELLED, f"The run ended before {name} was asked.", provider=name
        )

    def _left_out(self, domain: str) -> Failure:
        name = self.provider.name
        return Failure(
            FailureKind.MALFORMED, f"{name}: the answer leaves out {domain}.", provider=name
        )

    def _take_in(self) -> None:
        arrived, self._arrived = self._arrived, {}
        self._start(self._look_up(list(arrived.values())), list(arrived.values()))

    async def _look_up(self, asked: Sequence[_Asked]) -> None:
        """Give what is kept, and let the rest wait until a call is filled, or long enough."""
        for one in await self._give_kept(asked):
            self._waiting[one.query.domain] = one
            if len(self._waiting) >= self.provider.bulk_size:
                self._flush()
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FILL_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked, self._waiting = list(self._waiting.values()), {}
        if asked:
            self._start(self._ask(asked), asked)

    def _start(self, work: Coroutine[None, None, None], asked: Sequence[_Asked]) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(work, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, work: Coroutine[None, None, None], asked: Sequence[_Asked]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            for one in asked:
                one.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # handed on to everybody who waits for it
            for one in asked:
                one.spoil(error)

    async def _give_kept(self, asked: Sequence[_Asked]) -> list[_Asked]:
        """Give the answers that are kept. Returns what has none."""
        now = self._clock.now()
        domains = [one.query.domain for one in asked]
        find = functools.partial(
            self._ledger.calls.find, self.provider.name, domains, now - self._policy.fresh_s
        )
        kept = await self._commits.commit(find)
        self._give([one for one in asked if one.query.domain in kept], kept)
        missing = [one for one in asked if one.query.domain not in kept]
        for one in missing:
            one.missed_at = now
        return missing

    async def _still_missing(self, asked: Sequence[_Asked]) -> Sequence[_Asked]:
        """The same again for what waited so long that somebody else may have asked meanwhile."""
        wanted = _wanted(asked)
        if wanted and self._clock.now() - min(one.missed_at for one in wanted) > LOOK_AGAIN_S:
            return await self._give_kept(wanted)
        return wanted

    def _give(self, asked: Sequence[_Asked], answers: Mapping[str, RawAnswer | Failure]) -> None:
        for one in asked:
            answer = answers.get(one.query.domain) or self._left_out(one.query.domain)
            if isinstance(answer, Failure) and RULES[answer.kind].needs_person:
                self._closed = answer
            one.tell(answer)

    async def _ask(self, asked: Sequence[_Asked]) -> None:
        """Ask within the budget, which is used up to its last credit.

        A call reserves the most it may cost, and most cost less. So one that finds no room waits
        for those under way, and only then is made smaller, or in the end given up.
        """
        endpoint: Endpoint | None = None

        async def call() -> None:
            nonlocal endpoint
            endpoint = await self._endpoint(asked)
            await self._call(endpoint, asked)

        async def may_retry() -> bool:
            if self._is_closing:
                return False
            return endpoint is None or await self._gate.breakers.take_retry(endpoint)

        while self._closed is None:
            ended = self._calls_ended
            asked = _wanted(asked)
            if not asked:
                return
            try:
                await call_with_retries(
                    call,
                    policy=self._policy.retry,
                    random=self._random,
                    may_retry=may_retry,
                    sleep=self._gate.sleep,
                )
            except CallError as error:
                if error.failure.kind is FailureKind.BUDGET_EXHAUSTED:
                    if self._calls_under_way or ended != self._calls_ended:
                        await self._one_has_ended_since(ended)
                        continue
                    if len(asked) > 1:
                        half = len(asked) // 2
                        await self._ask(asked[:half])
                        await self._ask(asked[half:])
                        return
                self._give_failure(asked, error.failure)
        if self._closed is not None:
            self._give_failure(asked, self._closed)

    async def _endpoint(self, asked: Sequence[_Asked]) -> Endpoint:
        key = await self.provider.endpoint([one.query for one in asked])
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = Endpoint(key, provider=self.provider.name, limits=self._policy.limits)
            self._endpoints[key] = endpoint
        return endpoint

    def _give_failure(self, asked: Sequence[_Asked], failure: Failure) -> None:
        """Tell everybody the same. A pause of a provider that nobody can do without is for all."""
        if failure.kind is FailureKind.LIMITER and not self._policy.is_required:
            # As in `_too_late`: nobody is held up by our queue to what he can do without.
            failure = replace(failure, kind=FailureKind.TIMEOUT)
        is_for_all = failure.kind is FailureKind.BREAKER_OPEN and self._policy.is_required
        if is_for_all:
            failure = replace(failure, is_for_all=True)
        self._give(asked, {one.query.domain: failure for one in asked})

    async def _one_has_ended_since(self, ended: int) -> None:
        while ended == self._calls_ended:
            self._call_ended.clear()
            await self._call_ended.wait()

    async def _call(self, endpoint: Endpoint, asked: Sequence[_Asked]) -> None:
        """One call; at the end of all it gets a moment to bring its answer."""
        if self._is_closing:
            raise CallError(self._cancelled())
        # Whoever waits for an answer is another task: giving up there stops nothing here.
        task = asyncio.current_task()
        assert task is not None
        self._sending.add(task)
        tried: list[_Asked] = []
        try:
            await self._ask_within(endpoint, asked, tried)
        except CallError as error:
            if not tried or error.failure.kind is FailureKind.BUDGET_EXHAUSTED:
                raise
            # The others were not asked: they are told what the breaker says next.
            self._give_failure(tried, error.failure)
        finally:
            self._sending.discard(task)

    async def _ask_within(
        self, endpoint: Endpoint, asked: Sequence[_Asked], tried: list[_Asked]
    ) -> None:
        """Ask under a permit; a probe asks for one domain alone, which is put into `tried`."""
        patience_s = self._policy.patience_s
        async with self._gate.call(endpoint, patience_s=patience_s) as permit:
            # Its turn may have come late: some have given up, some are answered by now.
            wanted = await self._still_missing(asked)
            if self._is_closing:
                raise CallError(self._cancelled())
            if not wanted:
                # Nothing is sent, so this says nothing about the provider.
                permit.is_unused = True
                return
            if permit.is_probe:
                wanted = [self._random.choice(wanted)]
                tried += wanted
            new = self._new_call(wanted)
            call_id = await self._begin(new)
            self._calls_under_way += 1
            try:
                answers = await self._send(new, call_id, wanted)
            except BaseException:
                self._one_ended()
                raise
            permit.failure = _complaint_in(answers)
        # The next call may begin while this one's answer is being written.
        try:
            await self._finish(new, call_id, answers)
        finally:
            self._one_ended()
        self._give(wanted, answers)

    def _new_call(self, asked: Sequence[_Asked]) -> NewCall:
        domains = [one.query.domain for one in asked]
        reserve = self._policy.credits_each * len(domains) if self.provider.is_paid else 0.0
        name, now = self.provider.name, self._clock.now()
        return NewCall(name, domains, self._worker_id, self._budget, reserve, now)

    async def _begin(self, new: NewCall) -> str | None:
        """Commit a paid call's row before it is sent; a free one's is written with its answer."""
        if not self.provider.is_paid:
            return None
        return await self._commits.commit_one_of(
            self._ledger.calls.begin_many, new, is_progress=True
        )

    async def _send(
        self, new: NewCall, call_id: str | None, asked: Sequence[_Asked]
    ) -> Mapping[str, RawAnswer | Failure]:
        """Make the call; a failure is written down at once."""
        calls = self._ledger.calls
        try:
            if self._is_closing:
                raise CallError(self._cancelled())
            for one in asked:
                one.is_sent = True
            return await self.provider.ask([one.query for one in asked])
        except Exception as error:
            failure = self._gate.describe(error, provider=self.provider.name)
            await self._commits.commit(
                lambda: calls.fail(call_id or calls.begin_one(new), failure, self._clock.now()),
                is_progress=True,
            )
            raise

    async def _finish(
        self, new: NewCall, call_id: str | None, answers: Mapping[str, RawAnswer | Failure]
    ) -> None:
        calls = self._ledger.calls
        ended = EndedCall(call_id or "", new.provider, answers, self._clock.now())
        if call_id is not None:
            await self._commits.commit_one_of(calls.finish_many, ended, is_progress=True)
        else:
            await self._commits.commit_one_of(calls.record_many, (new, ended), is_progress=True)

    def _one_ended(self) -> None:
        self._calls_under_way -= 1
        self._calls_ended += 1
        self._call_ended.set()


def _complaint_in(answers: Mapping[str, RawAnswer | Failure]) -> Failure | None:
    """What items of a bulk answer say about the provider's pace, the longest wait first."""
    complaints = [
        answer
        for answer in answers.values()
        if isinstance(answer, Failure) and answer.kind is FailureKind.RATE_LIMITED
    ]
    return max(complaints, key=lambda one: one.retry_after_s or 0.0, default=None)


def _wanted(asked: Sequence[_Asked]) -> list[_Asked]:
    """What still has no answer and somebody who waits for one."""
    return [one for one in asked if one.is_wanted]
