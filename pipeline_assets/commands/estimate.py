"""`pipeline run --dry-run`: domains, calls and credits per provider, before anything is spent.

Domains are counted in parts, so that a list may be longer than memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import orjson

from resources.adapters.api_client import ApiClient, Question, Reply
from resources.adapters.clock import SystemClock
from resources.adapters.ledger import Ledger, open_ledger
from resources.adapters.providers.registry import build_providers
from resources.core.config import Settings
from resources.core.ports import Provider
from resources.ingest import ListContent


def show(settings: Settings, content: ListContent, *, as_json: bool) -> int:
    """Print what a run would ask for. Nothing is written, sent or spent."""
    clock = SystemClock()
    providers = build_providers(settings, ApiClient(_ask_nobody), clock, None)
    with _present_ledger(settings) as ledger:
        fresh_after = clock.now() - settings.refresh_after
        domains, kept = _counted(ledger, content, providers, fresh_after)
    rows = [_row(provider, domains - kept[provider.name]) for provider in providers]
    if as_json:
        print(orjson.dumps({"domains": domains, "providers": rows}).decode())
        return 0
    print(f"{domains} domains. At most, if every provider of the chain is needed:")
    for row in rows:
        print(
            f"  {row['provider']}: {row['domains']} domains in {row['calls']} calls, "
            f"at most {row['max_credits']} credits"
        )
    return 0


async def _ask_nobody(question: Question) -> Reply:
    raise RuntimeError(f"an estimate asks nobody, and {question.url} was asked")


def _row(provider: Provider, missing: int) -> dict[str, str | int]:
    return {
        "provider": provider.name,
        "domains": missing,
        "calls": math.ceil(missing / provider.bulk_size),
        "max_credits": missing if provider.is_paid else 0,
    }


@contextmanager
def _present_ledger(settings: Settings) -> Iterator[Ledger | None]:
    """The ledger, or None where there is none yet: asking must not make one."""
    if settings.database_url is None and not (settings.home / "ledger.db").exists():
        yield None
        return
    ledger = open_ledger(settings)
    try:
        yield ledger
    finally:
        ledger.close()


def _counted(
    ledger: Ledger | None, content: ListContent, providers: Sequence[Provider], fresh_after: float
) -> tuple[int, Counter[str]]:
    """Return how many domains a run works on, and of how many a provider's answer is here."""
    total = 0
    kept: Counter[str] = Counter()
    for part in _domains(ledger, content):
        total += len(part)
        if ledger is not None:
            for provider in providers:
                kept[provider.name] += len(ledger.calls.find(provider.name, part, fresh_after))
    return total, kept


def _domains(ledger: Ledger | None, content: ListContent) -> Iterator[list[str]]:
    """Yield the file's domains, then those that the list holds from earlier files."""
    yield from content.domains()
    if ledger is not None:
        for part in ledger.lists.known_domains(content.name):
            yield content.lacks(part)
