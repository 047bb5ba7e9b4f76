"""Hostile answers of a provider: the same limits as for pages, and no way inside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from resources.core.errors import FailureKind
from tests.support.attacked import ask_provider
from tests.support.attacks import Meter, attacker, bombs, breaks, floods, redirects
from tests.support.raw_server import Step

MOST_CPU_S = 2.0
MOST_MEMORY_BYTES = 100_000_000
_FLOODED = {FailureKind.TOO_LARGE, FailureKind.MALFORMED, FailureKind.TIMEOUT}
_BROKEN = {FailureKind.MALFORMED, FailureKind.CONNECT, FailureKind.TIMEOUT, FailureKind.HTTP_5XX}
_REFUSED = {FailureKind.BLOCKED_ADDRESS, FailureKind.MALFORMED, FailureKind.HTTP_5XX}


def _attacked_by(step: Step) -> tuple[FailureKind | None, int]:
    with attacker({"*": step}) as server, Meter() as meter:
        outcome = asyncio.run(ask_provider(server.port))
    assert meter.cost.cpu_s < MOST_CPU_S
    assert meter.cost.memory_bytes < MOST_MEMORY_BYTES
    return outcome, len(server.requests)


def _all(attacks: Mapping[str, Step]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("step", attacks.values(), ids=attacks.keys())


@_all(floods())
def test_an_answer_that_never_ends_is_cut_off(step: Step) -> None:
    assert _attacked_by(step)[0] in _FLOODED


@_all(bombs())
def test_a_bomb_does_not_go_off(step: Step) -> None:
    assert _attacked_by(step)[0] in _FLOODED


@_all(breaks())
def test_an_answer_that_breaks_off_or_is_none_ends_in_time(step: Step) -> None:
    assert _attacked_by(step)[0] in _BROKEN


@_all(redirects())
def test_no_redirect_of_a_provider_leads_inside(step: Step) -> None:
    outcome, requests = _attacked_by(step)
    assert outcome in _REFUSED
    assert requests <= 12
