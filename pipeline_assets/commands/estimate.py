"""`pipeline run --dry-run`: domains, calls and credits per provider, before anything is spent."""

from __future__ import annotations

import math

import httpx
import orjson

from resources.adapters.clock import SystemClock
from resources.adapters.ledger import open_ledger
from resources.adapters.providers.registry import build_providers
from resources.core.config import Settings
from resources.ingest import ListContent

_PART = 5_000


def show(settings: Settings, content: ListContent, *, as_json: bool) -> int:
    """Print what a run would ask for. Nothing is written, sent or spent."""
    domains = sorted(set(content.members) | _earlier(settings, content.name))
    clock = SystemClock()
    client = httpx.AsyncClient()  # never used for a call: it only completes the providers
    rows = []
    for provider in build_providers(settings, client, clock, None):
        missing = len(domains) - _kept(settings, provider.name, domains, clock.now())
        rows.append(
            {
                "provider": provider.name,
                "domains": missing,
                "calls": math.ceil(missing / provider.bulk_size),
                "max_credits": missing if provider.is_paid else 0,
            }
        )
    if as_json:
        print(orjson.dumps({"domains": len(domains), "providers": rows}).decode())
        return 0
    print(f"{len(domains)} domains. At most, if every provider of the chain is needed:")
    for row in rows:
        print(
            f"  {row['provider']}: {row['domains']} domains in {row['calls']} calls, "
            f"at most {row['max_credits']} credits"
        )
    return 0


def _earlier(settings: Settings, name: str) -> set[str]:
    """Domains that the list holds from earlier files: a run works on them too."""
    if settings.database_url is None and not (settings.home / "ledger.db").exists():
        return set()
    ledger = open_ledger(settings)
    try:
        return ledger.lists.known_domains(name)
    finally:
        ledger.close()


def _kept(settings: Settings, provider: str, domains: list[str], now: float) -> int:
    """How many answers are here already and will not be bought again."""
    if settings.database_url is None and not (settings.home / "ledger.db").exists():
        return 0
    ledger = open_ledger(settings)
    try:
        parts = (domains[i : i + _PART] for i in range(0, len(domains), _PART))
        fresh_after = now - settings.refresh_after
        return sum(len(ledger.calls.find(provider, part, fresh_after)) for part in parts)
    finally:
        ledger.close()
