"""Calls that are paused for long, as troubles: each provider by itself, all sites together."""

from __future__ import annotations

from collections.abc import Mapping

from resources.adapters.permit import SITE_PREFIX
from resources.core.alerting import Topic, Trouble
from resources.core.breaker import Breaker
from resources.core.errors import FailureKind
from resources.core.models import Phase
from resources.phase_run import breaker_policy
from resources.platform import Platform

SITES = "sites"
_EXAMPLES = 3


def long_paused(platform: Platform, now: float) -> list[Trouble]:
    """Find what has been paused for `breaker_alert_after` and is in use.

    In use is a provider of the chain, whether domains wait for it or do without, and a site for
    which a domain waits.

    Args:
        now: Epoch seconds.
    """
    breakers = platform.ledger.breakers
    until = now - platform.settings.breaker_alert_after
    since = breakers.stopped_before(until)
    paused = {
        key: one
        for key, one in breakers.not_closed(breaker_policy(platform.settings)).items()
        if key in since
    }
    providers = {
        key: one
        for key, one in paused.items()
        if key.partition("/")[0] in platform.settings.chain and not key.startswith(SITE_PREFIX)
    }
    troubles = [
        Trouble(
            Topic.BREAKER_OPEN,
            key,
            f"Calls to {key} are paused for "
            f"{(now - since[key]) / 60:.0f} minutes so far: "
            f"{one.reason.rstrip('.')}. It is tried again by itself.",
        )
        for key, one in providers.items()
    ]
    return troubles + _of_sites(platform, paused)


def _of_sites(platform: Platform, paused: Mapping[str, Breaker]) -> list[Trouble]:
    hosts = [key.removeprefix(SITE_PREFIX) for key in paused if key.startswith(SITE_PREFIX)]
    if not hosts:
        return []
    waiting = platform.ledger.work.waiting_for(Phase.PAGE_SCRAPING, FailureKind.BREAKER_OPEN)
    wanted = [host for host in hosts if _is_of(host, waiting)]
    if not wanted:
        return []
    examples = ", ".join(wanted[:_EXAMPLES]) + (", …" if len(wanted) > _EXAMPLES else "")
    minutes = platform.settings.breaker_alert_after / 60
    sentence = (
        f"Calls to sites are paused for more than {minutes:.0f} minutes, and domains wait for them "
        f"({examples}). They are tried again by themselves."
    )
    return [Trouble(Topic.BREAKER_OPEN, SITES, sentence, len(wanted))]


def _is_of(host: str, domains: set[str]) -> bool:
    """Whether a host is one of these domains, or lies under one."""
    labels = host.split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))
