"""One worker's view of a phase in the ledger, through group commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from resources.adapters.ledger import Ledger
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.settling import Attempt
from resources.core.errors import Failure, LeaseLost
from resources.core.models import DomainTask, Phase
from resources.core.ports import Clock
from resources.core.rounds import Change
from resources.core.tallies import Tally


class LedgerWorkQueue:
    """`core.ports.WorkQueue` on the ledger, for a worker that has begun."""

    def __init__(
        self,
        ledger: Ledger,
        commits: CommitQueue,
        clock: Clock,
        phase: Phase,
        worker_id: str,
        code_version: str,
    ) -> None:
        self._ledger = ledger
        self._commits = commits
        self._clock = clock
        self._phase = phase
        self._worker_id = worker_id
        self._code_version = code_version

    async def tallies(self, batch_keys: Sequence[str]) -> Mapping[str, Tally]:
        return await self._commits.commit(
            lambda: self._ledger.work.tallies(self._phase, batch_keys)
        )

    async def claim(
        self, batch_keys: Sequence[str], limit: int, due_before: float, *, alone: bool = False
    ) -> Sequence[DomainTask]:
        return await self._commits.commit(
            lambda: self._ledger.work.claim(
                self._worker_id,
                self._phase,
                batch_keys,
                limit,
                due_before,
                self._clock.now(),
                alone=alone,
            )
        )

    async def settle(self, change: Change) -> None:
        attempt = Attempt(
            self._worker_id, self._phase, change, self._code_version, self._clock.now()
        )
        await self._commits.commit_one_of(self._ledger.work.settle_many, attempt, is_progress=True)

    async def hold(self, batch_keys: Sequence[str], failure: Failure) -> None:
        await self._commits.commit(
            lambda: self._ledger.work.hold(self._phase, batch_keys, failure, self._clock.now()),
            is_progress=True,
        )

    async def beat(
        self, done: int, total: int, doing: str | None = None, waits_until: float = 0.0
    ) -> None:
        await self._commits.commit(
            lambda: self._ledger.workers.beat(
                self._worker_id, self._clock.now(), done, total, doing, waits_until
            )
        )

    async def end(self, reason: str) -> None:
        # Whoever has ended it before has given its claims away: there is nothing left to do.
        with suppress(LeaseLost):
            await self._commits.commit(
                lambda: self._ledger.workers.end(self._worker_id, self._clock.now(), reason)
            )
