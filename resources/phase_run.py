"""Puts one worker's run of a phase together: queue, network, providers, runner."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random

from aiohttp.abc import AbstractResolver

from resources.adapters.api_client import ApiClient
from resources.adapters.bodies import BodyReader, BodyWriter
from resources.adapters.call_gate import CallGate
from resources.adapters.classify import classify
from resources.adapters.connector import guarded_client, guarded_session, user_agent
from resources.adapters.extraction_pool import ExtractionPool
from resources.adapters.fetcher import Fetcher
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.calls import Budget
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.network import NetworkCheck
from resources.adapters.page_keeper import PageKeeper
from resources.adapters.provider_gateway import CallPolicy, ProviderGateway
from resources.adapters.providers.registry import build_providers, is_required, limits_of
from resources.adapters.robots import Robots
from resources.adapters.site_visit import CODE_VERSION as SCRAPING_VERSION
from resources.adapters.site_visit import SiteVisit
from resources.adapters.store import Store
from resources.adapters.work_queue import LedgerWorkQueue
from resources.collecting import collected_seldom
from resources.core.batch_runner import BatchRunner, Event, RunLimits
from resources.core.breaker import BreakerPolicy
from resources.core.config import Settings
from resources.core.enrichment import CODE_VERSION as ENRICHMENT_VERSION
from resources.core.enrichment import Enrichment
from resources.core.models import Phase
from resources.core.ports import Clock, PhaseWork
from resources.core.provider_chain import ChainLink
from resources.core.retry import RetryPolicy
from resources.core.rounds import RoundPolicy
from resources.core.run_events import BROKEN_OFF

CODE_VERSIONS = {
    Phase.COMPANY_ENRICHMENT: ENRICHMENT_VERSION,
    Phase.PAGE_SCRAPING: SCRAPING_VERSION,
}
# Enough domains in hand to fill two bulk calls of the largest provider.
ENRICHED_AT_A_TIME = 200
MOST_SECONDS_BETWEEN_BEATS = 5.0
# The longest wait for one provider: all three may hang, and the domain is still settled in time.
SHARE_OF_A_DOMAINS_TIME = 0.3
# A provider's call may be several requests: RDAP follows redirects.
CALLS_IN_A_PROBE = 3


@dataclass(frozen=True)
class Parts:
    """What every run of a phase works with.

    Args:
        resolver: Asked for addresses instead of the system.
    """

    settings: Settings
    ledger: Ledger
    store: Store
    clock: Clock
    version: str
    resolver: AbstractResolver | None = None


async def phase_events(
    parts: Parts, phase: Phase, batch_keys: Sequence[str], *, run_id: str, scope: str
) -> AsyncIterator[Event]:
    """Work through the batches on the running loop; see `BatchRunner.run`."""
    settings, ledger, clock = parts.settings, parts.ledger, parts.clock
    ledger.workers.end_of_process(clock.now(), BROKEN_OFF, run_id)
    ledger.workers.bury_dead(clock.now())
    worker_id = ledger.workers.begin(phase, run_id, clock.now())
    async with AsyncExitStack() as stack:
        stack.enter_context(collected_seldom())
        commits = CommitQueue(ledger.database, settings.checkpoint_interval, worker_id, clock)
        bodies = BodyWriter(parts.store.root, worker_id)
        # The writes that are still queued come before the files are closed.
        stack.callback(bodies.close)
        stack.callback(commits.close)
        agent = user_agent(settings.fetch, parts.version)
        session = await stack.enter_async_context(
            guarded_session(settings.fetch, agent, parts.resolver)
        )
        random = Random(worker_id)  # noqa: S311  # jitter
        gate = await stack.enter_async_context(_gate(parts, commits, worker_id))
        work: PhaseWork
        if phase is Phase.PAGE_SCRAPING:
            fetcher = Fetcher(session, gate, settings.fetch, clock, random)
            robots = Robots(fetcher, ledger, commits, clock, settings.fetch.robots_ttl)
            size = settings.fetch.extractors or os.cpu_count() or 1
            pool = await stack.enter_async_context(
                ExtractionPool(size, settings.fetch.max_body_bytes)
            )
            keeper = PageKeeper(ledger.pages, commits, bodies, BodyReader(parts.store.root))
            work = SiteVisit(
                fetcher,
                robots,
                pool,
                ledger,
                keeper,
                clock,
                settings.fetch,
                settings.refresh_after,
            )
        else:
            client = guarded_client(settings.fetch, session)
            # The limit is that of the invocation that began it, whoever goes on with its work.
            limit = ledger.budgets.limit_of(scope, settings.max_credits, clock.now())
            budget = Budget(scope, limit)
            work = _enrichment(parts, client, commits, gate, budget, worker_id, random)
        runner = BatchRunner(
            work,
            LedgerWorkQueue(ledger, commits, clock, phase, worker_id, CODE_VERSIONS[phase]),
            clock,
            RoundPolicy(settings.max_rounds, settings.retry_backoff_base),
            RunLimits(
                settings.phase_timeout,
                settings.fetch.domain_timeout,
                settings.batch_timeout,
                settings.batch_size,
                min(MOST_SECONDS_BETWEEN_BEATS, settings.lease / 3),
            ),
            classify,
            notices=gate.drain_notices,
            waits_until=gate.waits_until,
        )
        events = runner.run(batch_keys)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()  # type: ignore[attr-defined]


def breaker_policy(settings: Settings) -> BreakerPolicy:
    """When breakers open and for how long."""
    return BreakerPolicy(
        threshold=settings.circuit_breaker_threshold,
        timeout_s=settings.circuit_breaker_timeout,
        window_s=settings.circuit_breaker_window,
        failure_rate=settings.circuit_breaker_failure_rate,
        minimum_calls=settings.circuit_breaker_minimum_calls,
        probe_s=CALLS_IN_A_PROBE * settings.fetch.total_timeout,
    )


def _gate(parts: Parts, commits: CommitQueue, worker_id: str) -> CallGate:
    settings = parts.settings
    policy = breaker_policy(settings)
    network = NetworkCheck(settings.fetch, parts.clock)
    return CallGate(parts.ledger, commits, network, parts.clock, policy, worker_id, settings.fetch)


def _enrichment(
    parts: Parts,
    client: ApiClient,
    commits: CommitQueue,
    gate: CallGate,
    budget: Budget,
    worker_id: str,
    random: Random,
) -> Enrichment:
    settings = parts.settings
    gateways = {}
    links = []
    for provider in build_providers(settings, client, parts.clock, gate):
        own = getattr(settings.providers, provider.name)
        is_needed = is_required(settings, provider.name)
        gateway = ProviderGateway(
            provider,
            parts.ledger,
            commits,
            gate,
            parts.clock,
            CallPolicy(
                limits=limits_of(own),
                retry=RetryPolicy(attempts=settings.fetch.attempts),
                fresh_s=settings.refresh_after,
                credits_each=1.0 if provider.is_paid else 0.0,
                patience_s=SHARE_OF_A_DOMAINS_TIME * settings.fetch.domain_timeout,
                is_required=is_needed,
            ),
            budget,
            worker_id,
            random,
        )
        gateways[provider.name] = gateway
        links.append(ChainLink(provider.name, is_needed, is_paid=provider.is_paid))
    return Enrichment(links, gateways, frozenset(settings.wanted_fields), ENRICHED_AT_A_TIME)
