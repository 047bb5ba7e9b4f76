"""Builds the providers of the chain that can be used; one without a key it needs is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resources.adapters.api_client import ApiClient
from resources.adapters.call_gate import CallGate
from resources.adapters.permit import Endpoint
from resources.adapters.providers import people_data_labs, wikidata
from resources.adapters.providers.people_data_labs import PeopleDataLabs
from resources.adapters.providers.rdap import Rdap
from resources.adapters.providers.wikidata import Wikidata
from resources.adapters.suffix_list import bundled_rules
from resources.core.config import ProviderSettings, Settings
from resources.core.pacing import PaceLimits
from resources.core.ports import Clock, Provider

Build = Callable[[ApiClient, ProviderSettings, Clock, CallGate | None], Provider | None]


def _pdl(
    client: ApiClient,
    own: ProviderSettings,
    clock: Clock,
    _gate: CallGate | None,
) -> Provider | None:
    if own.api_key is None:
        return None
    return PeopleDataLabs(
        client,
        api_key=own.api_key,
        clock=clock,
        suffixes=bundled_rules(),
        base_url=own.base_url or people_data_labs.BASE_URL,
    )


def _wikidata(
    client: ApiClient,
    own: ProviderSettings,
    clock: Clock,
    _gate: CallGate | None,
) -> Provider:
    return Wikidata(
        client, clock=clock, suffixes=bundled_rules(), base_url=own.base_url or wikidata.BASE_URL
    )


def _rdap(
    client: ApiClient,
    own: ProviderSettings,
    clock: Clock,
    gate: CallGate | None,
) -> Provider:
    if gate is None:
        return Rdap(client, clock=clock, base_url=own.base_url)
    registries = Endpoint("rdap/bootstrap", provider="rdap", limits=limits_of(own))
    return Rdap(
        client,
        clock=clock,
        base_url=own.base_url,
        bootstrap_call=lambda: gate.call(registries),
    )


def limits_of(own: ProviderSettings) -> PaceLimits:
    """A provider's pace, from its settings."""
    return PaceLimits(own.rate, own.burst, own.concurrency)


KNOWN: Mapping[str, Build] = {"pdl": _pdl, "wikidata": _wikidata, "rdap": _rdap}
PAID = frozenset({"pdl"})


def build_providers(
    settings: Settings, client: ApiClient, clock: Clock, gate: CallGate | None
) -> list[Provider]:
    """The chain's providers in order; without a gate they can be looked at, and not asked."""
    providers = []
    for name in settings.chain:
        provider = KNOWN[name](client, getattr(settings.providers, name), clock, gate)
        if provider is not None:
            providers.append(provider)
    return providers


def is_required(settings: Settings, name: str) -> bool:
    """Whether a domain waits until this provider has answered: paid ones unless said otherwise."""
    own: ProviderSettings = getattr(settings.providers, name)
    return name in PAID if own.is_required is None else own.is_required


def required_providers(settings: Settings) -> list[str]:
    """Providers of the chain that can be used, and that domains wait for."""
    return [
        name
        for name in settings.chain
        if is_required(settings, name)
        and (name not in PAID or getattr(settings.providers, name).api_key is not None)
    ]


def paid_providers(settings: Settings) -> list[str]:
    """Paid providers of the chain that have a key, and so may cost money."""
    return [
        name
        for name in settings.chain
        if name in PAID and getattr(settings.providers, name).api_key is not None
    ]
