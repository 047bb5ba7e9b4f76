"""Hostile answers to the fetch of one page: each ends within its limits, and none gets through."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random

import pytest

from resources.adapters.connector import guarded_session
from resources.adapters.fetcher import Fetcher
from resources.core.config import FetchSettings
from resources.core.errors import CallError, FailureKind
from tests.support.attacks import Meter, attacker, bombs, breaks, floods
from tests.support.gates import open_gate
from tests.support.raw_server import Step
from tests.support.time import ManualClock, ManualSleep

MOST_CPU_S = 2.0
MOST_MEMORY_BYTES = 100_000_000
MOST_WALL_S = 8.0
MOST_BYTES = 5_000_000
# What each of these may be called, beside what all others are called.
# On a busy machine the time of a call may be over before its bytes are counted.
_FLOODED = {FailureKind.TOO_LARGE, FailureKind.MALFORMED, FailureKind.TIMEOUT}
_BROKEN = {FailureKind.MALFORMED, FailureKind.CONNECT, FailureKind.TIMEOUT}


async def _fetch(address: str) -> FailureKind | int:
    settings = FetchSettings(
        connect_to=address,
        allow_networks=("127.0.0.0/8",),
        attempts=1,
        read_timeout=0.5,
        total_timeout=3,
        max_body_bytes=MOST_BYTES,
    )
    clock = ManualClock()
    sleep = ManualSleep(clock)
    async with (
        guarded_session(settings, "x") as session,
        open_gate(clock=clock, sleep=sleep) as gate,
    ):
        fetcher = Fetcher(session, gate, settings, clock, Random(7), sleep)
        try:
            answer = await fetcher.fetch("http://acme.example/")
            answer.body(MOST_BYTES)
            return answer.status
        except CallError as error:
            return error.failure.kind


def _attacked_by(step: Step) -> FailureKind | int:
    with attacker({"*": step}) as server, Meter() as meter:
        outcome = asyncio.run(_fetch(server.address))
    assert meter.cost.cpu_s < MOST_CPU_S
    assert meter.cost.memory_bytes < MOST_MEMORY_BYTES
    assert meter.cost.wall_s < MOST_WALL_S
    return outcome


def _all(attacks: Mapping[str, Step]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("step", attacks.values(), ids=attacks.keys())


@_all(floods())
def test_an_answer_that_never_ends_is_cut_off(step: Step) -> None:
    assert _attacked_by(step) in _FLOODED


@_all(bombs())
def test_a_bomb_does_not_go_off(step: Step) -> None:
    assert _attacked_by(step) in _FLOODED


@_all(breaks())
def test_an_answer_that_breaks_off_or_is_none_ends_in_time(step: Step) -> None:
    outcome = _attacked_by(step)
    assert outcome in _BROKEN
