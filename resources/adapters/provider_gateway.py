"""The one way to a provider: kept answers first, then bulk calls, noted before they are sent.

Many domains ask at once; the gateway fills calls up to the provider's bulk size. An answer that
was received is never bought again; a provider that needs a person (key, quota, budget) is not
asked again in this run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from resources.adapters.calling import call_with_retries
from resources.adapters.classify import classify
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.calls import Budget
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.network import NetworkCheck
from resources.core.errors import RULES, CallError, Failure, FailureKind
from resources.core.models import CompanyQuery, RawAnswer
from resources.core.ports import Clock, Provider
from resources.core.retry import RetryPolicy

# How long a half-filled bulk call waits for more domains.
FILL_S = 0.1


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How calls to one provider are made.

    Args:
        concurrency: Calls in flight at a time.
        retry: The request tier.
        fresh_s: Seconds for which a kept answer is as good as a new one.
        credits_each: Credits that one match costs at most, for the budget.
    """

    concurrency: int
    retry: RetryPolicy
    fresh_s: float
    credits_each: float


class ProviderGateway:
    """Asks one provider for many domains. Used by one event loop."""

    def __init__(
        self,
        provider: Provider,
        ledger: Ledger,
        commits: CommitQueue,
        network: NetworkCheck,
        clock: Clock,
        policy: CallPolicy,
        budget: Budget,
        worker_id: str | None,
        random: Random,
    ) -> None:
        self.provider = provider
        self._ledger = ledger
        self._commits = commits
        self._network = network
        self._clock = clock
        self._policy = policy
        self._budget = budget
        self._worker_id = worker_id
        self._random = random
        self._room = asyncio.Semaphore(policy.concurrency)
        self._waiting: dict[str, tuple[CompanyQuery, asyncio.Future[RawAnswer | Failure]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed: Failure | None = None
        self._calls_under_way = 0
        self._calls_ended = 0
        self._call_ended = asyncio.Condition()

    async def answer(self, query: CompanyQuery) -> RawAnswer | Failure:
        """The provider's answer for one domain, kept or new."""
        loop = asyncio.get_running_loop()
        entry = self._waiting.get(query.domain)
        if entry is None:
            entry = (query, loop.create_future())
            self._waiting[query.domain] = entry
            if len(self._waiting) >= self.provider.bulk_size:
                self._flush()
            elif self._timer is None:
                self._timer = loop.call_later(FILL_S, self._flush)
        return await asyncio.shield(entry[1])

    async def close(self) -> None:
        """Stop calls that are still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked, self._waiting = self._waiting, {}
        if asked:
            task = asyncio.get_running_loop().create_task(self._serve(asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, asked: Mapping[str, tuple[CompanyQuery, asyncio.Future[RawAnswer | Failure]]]
    ) -> None:
        futures = {domain: future for domain, (_, future) in asked.items() if not future.done()}
        try:
            async with self._room:
                received = await self._obtain([query for query, _ in asked.values()])
        except asyncio.CancelledError:
            for future in futures.values():
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # handed on to everybody who waits for it
            for future in futures.values():
                future.set_exception(error)
            return
        for domain, future in futures.items():
            future.set_result(received.get(domain) or self._left_out(domain))

    def _left_out(self, domain: str) -> Failure:
        name = self.provider.name
        return Failure(
            FailureKind.MALFORMED, f"{name}: the answer leaves out {domain}.", provider=name
        )

    async def _obtain(self, queries: Sequence[CompanyQuery]) -> dict[str, RawAnswer | Failure]:
        name = self.provider.name
        fresh_after = self._clock.now() - self._policy.fresh_s
        kept = self._ledger.calls.find(name, [q.domain for q in queries], fresh_after)
        received: dict[str, RawAnswer | Failure] = dict(kept)
        missing = [query for query in queries if query.domain not in kept]
        if not missing:
            return received
        return received | await self._ask(missing)

    async def _ask(self, queries: Sequence[CompanyQuery]) -> dict[str, RawAnswer | Failure]:
        """Ask within the budget, which is used up to its last credit.

        A call reserves the most it may cost, and most cost less. So one that finds no room waits
        for those under way, and only then is made smaller, or in the end given up.
        """
        while self._closed is None:
            ended = self._calls_ended
            try:
                answers = await call_with_retries(
                    lambda: self._call(queries),
                    policy=self._policy.retry,
                    random=self._random,
                    provider=self.provider.name,
                )
            except CallError as error:
                failure = (await self._network.explain(error)).failure
                if failure.kind is FailureKind.BUDGET_EXHAUSTED:
                    if self._calls_under_way or ended != self._calls_ended:
                        await self._one_has_ended_since(ended)
                        continue
                    if len(queries) > 1:
                        half = len(queries) // 2
                        return await self._ask(queries[:half]) | await self._ask(queries[half:])
                answers = {query.domain: failure for query in queries}
            for answer in answers.values():
                if isinstance(answer, Failure) and RULES[answer.kind].needs_person:
                    self._closed = answer
            return dict(answers)
        return {query.domain: self._closed for query in queries}

    async def _one_has_ended_since(self, ended: int) -> None:
        async with self._call_ended:
            await self._call_ended.wait_for(lambda: ended != self._calls_ended)

    async def _call(self, queries: Sequence[CompanyQuery]) -> Mapping[str, RawAnswer | Failure]:
        """One call: its row is committed before it is sent, its answer before it counts."""
        name = self.provider.name
        domains = [query.domain for query in queries]
        reserve = self._policy.credits_each * len(domains) if self.provider.is_paid else 0.0
        calls = self._ledger.calls
        call_id = await self._commits.commit(
            lambda: calls.begin(
                name, domains, self._worker_id, self._budget, reserve, self._clock.now()
            )
        )
        self._calls_under_way += 1
        try:
            try:
                answers = await self.provider.ask(queries)
            except Exception as error:
                failure = classify(error, provider=name)
                await self._commits.commit(lambda: calls.fail(call_id, failure, self._clock.now()))
                raise CallError(failure) from error
            await self._commits.commit(
                lambda: calls.finish(call_id, name, answers, self._clock.now())
            )
        finally:
            self._calls_under_way -= 1
            self._calls_ended += 1
            async with self._call_ended:
                self._call_ended.notify_all()
        return answers
