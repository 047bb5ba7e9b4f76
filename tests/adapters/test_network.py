"""Our own outage is told from the other side's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resources.adapters.network import KEPT_S, NetworkCheck
from resources.core.config import FetchSettings
from resources.core.errors import CallError, Failure, FailureKind
from tests.support.time import ManualClock

SUSPICIOUS = [
    FailureKind.NO_SUCH_HOST,
    FailureKind.DNS,
    FailureKind.CONNECT,
    FailureKind.TIMEOUT,
]


def _explained(kind: FailureKind, **settings: Any) -> FailureKind:
    async def run() -> FailureKind:
        check = NetworkCheck(FetchSettings(**settings), ManualClock())
        error = await check.explain(CallError(Failure(kind, "why", "https://a.example/", "pdl")))
        assert (error.failure.url, error.failure.provider) == ("https://a.example/", "pdl")
        return error.failure.kind

    return asyncio.run(run())


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_where_no_name_resolves_at_all_the_fault_is_ours(kind: FailureKind) -> None:
    names = ("one.invalid", "two.invalid")
    assert _explained(kind, control_names=names) is FailureKind.LOCAL_NETWORK


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_where_any_name_resolves_the_fault_is_theirs(kind: FailureKind) -> None:
    assert _explained(kind, control_names=("one.invalid", "localhost")) is kind


@pytest.mark.parametrize("kind", [FailureKind.HTTP_5XX, FailureKind.ROBOTS, FailureKind.TLS])
def test_who_has_answered_was_reached(kind: FailureKind) -> None:
    assert _explained(kind, control_names=("one.invalid",)) is kind


def test_without_names_or_with_one_address_for_everything_nothing_is_checked() -> None:
    kind = FailureKind.NO_SUCH_HOST
    assert _explained(kind, control_names=()) is kind
    assert _explained(kind, control_names=("one.invalid",), connect_to="127.0.0.1:9") is kind


def test_a_finding_is_kept_for_a_while_and_then_looked_at_again() -> None:
    async def run() -> None:
        clock = ManualClock()
        error = CallError(Failure(FailureKind.DNS, "why"))
        check = NetworkCheck(FetchSettings(control_names=("localhost",)), clock)
        down = NetworkCheck(FetchSettings(control_names=("one.invalid",)), clock)
        for _ in range(2):
            assert (await check.explain(error)).failure.kind is FailureKind.DNS
            found = await asyncio.gather(*(down.explain(error) for _ in range(5)))
            assert {one.failure.kind for one in found} == {FailureKind.LOCAL_NETWORK}
            clock.advance(KEPT_S + 1)

    asyncio.run(run())
