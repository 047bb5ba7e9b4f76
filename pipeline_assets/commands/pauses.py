"""What `status` tells about calls that are held back: by a breaker, or because somebody asked.

A provider is told one by one. Of sites a long list has many that are away at any time: they are one
count, with examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from pipeline_assets.commands.wording import iso, many, safe, span, until
from resources.adapters.permit import SITE_PREFIX
from resources.core.breaker import Breaker, BreakerPolicy, Status, sentence
from resources.platform import Platform

EXAMPLES = 5
MOST_CHANGES = 10
# Of one endpoint, to find when it was last well: a failed probe is two changes.
_MOST_CHARS = 500


@dataclass(frozen=True, slots=True)
class _Paused:
    """A provider's endpoint whose breaker is not closed, and since when, epoch seconds."""

    endpoint: str
    breaker: Breaker
    since: float

    def sentence(self, now: float) -> str:
        said = sentence(self.endpoint, self.breaker)
        if self.breaker.status is Status.OPEN and self.breaker.retry_at <= now:
            said += " That time has come: the next run makes this call."
        return said


def pauses_json(platform: Platform) -> dict[str, Any]:
    """Breakers that are not closed, their newest changes, and waits that were asked for."""
    now = platform.clock.now()
    providers, sites = _not_closed(platform)
    return {
        "breakers": {
            "providers": [
                {
                    "endpoint": paused.endpoint,
                    "status": paused.breaker.status,
                    "sentence": paused.sentence(now),
                    "reason": paused.breaker.reason,
                    "since": iso(paused.since),
                    "retry_at": iso(paused.breaker.blocked_until(now)),
                    "openings": paused.breaker.openings,
                }
                for paused in providers
            ],
            "sites": {"paused": len(sites), "examples": list(sites)[:EXAMPLES]},
            "changes": [
                {
                    "endpoint": change.endpoint,
                    "at": iso(change.at),
                    "old": change.old,
                    "new": change.new,
                    "reason": change.reason,
                }
                for change in platform.ledger.breakers.changes(limit=MOST_CHANGES)
            ],
        },
        "paces": [
            {
                "endpoint": row["endpoint"],
                "not_before": iso(row["not_before"]),
                "calls_a_second": row["rate"],
                "reason": row["reason"],
            }
            for row in _asked_to_wait(platform, now)
        ],
    }


def show_pauses(out: Console, platform: Platform) -> None:
    """The same for a person; nothing where nothing is held back."""
    now = platform.clock.now()
    providers, sites = _not_closed(platform)
    for paused in providers:
        out.print(
            f"[bold]Breaker[/]  {safe(paused.sentence(now), _MOST_CHARS)} "
            f"(for {span(now - paused.since)} so far)",
            soft_wrap=True,
        )
    if sites:
        examples = ", ".join(safe(name) for name in list(sites)[:EXAMPLES])
        more = ", …" if len(sites) > EXAMPLES else ""
        out.print(
            f"[bold]Breakers[/] Calls to {many(len(sites), 'site')} are paused because too many "
            f"of them failed: {examples}{more}",
            soft_wrap=True,
        )
    for row in _asked_to_wait(platform, now):
        out.print(
            f"[bold]Pace[/]     {safe(row['endpoint'])} asked for a pause and is called again "
            f"{until(row['not_before'], now)}: {safe(row['reason'], _MOST_CHARS)}",
            soft_wrap=True,
        )


def _not_closed(platform: Platform) -> tuple[list[_Paused], dict[str, Breaker]]:
    """Providers' endpoints one by one, and sites by host."""
    ledger = platform.ledger.breakers
    policy = BreakerPolicy(window_s=platform.settings.circuit_breaker_window)
    found = ledger.not_closed(policy)
    sites = {
        key.removeprefix(SITE_PREFIX): breaker
        for key, breaker in found.items()
        if key.startswith(SITE_PREFIX)
    }
    providers = [
        _Paused(key, breaker, ledger.open_since(key, breaker.opened_at))
        for key, breaker in found.items()
        if not key.startswith(SITE_PREFIX)
    ]
    return providers, sites


def _asked_to_wait(platform: Platform, now: float) -> list[Mapping[str, Any]]:
    """Providers' endpoints that asked for a wait, and must not be called now."""
    return [
        row
        for row in platform.ledger.paces.slow_ones(now)
        if not str(row["endpoint"]).startswith(SITE_PREFIX)
    ]
