"""A gate for adapter tests, on a ledger of its own: everything may pass until something fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from resources.adapters.call_gate import CallGate
from resources.adapters.clock import SystemClock
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.network import NetworkCheck
from resources.adapters.permit import Endpoint, Permit, holding
from resources.core.breaker import BreakerPolicy
from resources.core.config import FetchSettings
from resources.core.models import Phase
from resources.core.ports import Clock, Sleep
from tests.support.ledgers import open_at, sqlite_url

# Nothing is told apart from the other side's faults: no name is looked up.
NO_CHECK = FetchSettings(control_names=())
NEVER_OPENS = BreakerPolicy(threshold=1_000, minimum_calls=1_000)


def permitted() -> holding:
    """A permit for whatever is called in a block, for tests of what lies below the gate."""
    return holding(Permit(Endpoint("test")))


@asynccontextmanager
async def gate_on(
    ledger: Ledger,
    *,
    policy: BreakerPolicy = NEVER_OPENS,
    clock: Clock | None = None,
    sleep: Sleep = asyncio.sleep,
    settings: FetchSettings = NO_CHECK,
    refresh_s: float = 0.05,
) -> AsyncIterator[CallGate]:
    """An entered gate of a new worker on a ledger."""
    clock = clock or SystemClock()
    worker_id = ledger.workers.begin(Phase.PAGE_SCRAPING, None, clock.now())
    commits = CommitQueue(ledger.database, 100, worker_id, clock)
    network = NetworkCheck(settings, clock)
    try:
        async with CallGate(
            ledger, commits, network, clock, policy, worker_id, settings, refresh_s, sleep
        ) as gate:
            yield gate
    finally:
        commits.close()


@asynccontextmanager
async def open_gate(
    *, clock: Clock | None = None, sleep: Sleep = asyncio.sleep, policy: BreakerPolicy = NEVER_OPENS
) -> AsyncIterator[CallGate]:
    """A gate on a new ledger, for tests that need one to pass."""
    with TemporaryDirectory(prefix="gate-") as folder:
        ledger = open_at(sqlite_url(Path(folder)))
        try:
            async with gate_on(ledger, policy=policy, clock=clock, sleep=sleep) as gate:
                yield gate
        finally:
            ledger.close()
