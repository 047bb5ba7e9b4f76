"""Hostile channels: each message ends in time, within its limits, and never where it must not."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Mapping

import pytest

from resources.adapters.notifier import Delivery, channels, deliver
from resources.core.alert_text import Message, Tone
from resources.core.config import load_settings
from tests.support.attacks import attacker, bombs, breaks, floods, redirects
from tests.support.raw_server import Step, reply

MESSAGE = Message("title", "body", Tone.TROUBLE)
LIMIT_S = 10.0
SHORT_LIMIT_S = 2.0
"""For servers that never come to an end."""
MOST_CPU_S = 4.0
"""Two seconds, and what it takes to start the process."""
MOST_MEMORY_KIB = 300_000


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def _tell(url: str, limit_s: float = LIMIT_S, **settings: object) -> Delivery:
    (channel,) = channels(load_settings(alert_urls=[url], **settings))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    delivery = deliver({channel: [MESSAGE]}, limit_s=limit_s)[channel]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert time.monotonic() - began < limit_s + 4
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST_CPU_S
    # The system tells the most that any child has ever had, and counts this process's own memory
    # as a child's until that has begun its program.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after.ru_maxrss <= max(MOST_MEMORY_KIB, before.ru_maxrss, own)
    return delivery


def _all(*attacks: Mapping[str, Step]) -> pytest.MarkDecorator:
    every = {name: step for group in attacks for name, step in group.items()}
    return pytest.mark.parametrize("step", every.values(), ids=every.keys())


@_all(floods(), bombs(), breaks())
def test_an_answer_that_hurts_ends_with_the_process_that_reads_it(step: Step) -> None:
    with attacker({"*": step}) as server:
        delivery = _tell(f"json://{server.address}/hook", SHORT_LIMIT_S)
        # What is answered with 200 was taken, however the rest of the answer looks.
        assert delivery.sent == (0,) or delivery.problem
        assert len(server.requests) <= 2


@_all(redirects())
def test_a_channel_that_redirects_is_not_followed(step: Step) -> None:
    with attacker({"*": step, "/circle": reply()}) as server:
        delivery = _tell(f"json://{server.address}/hook")
        assert delivery.sent == ()
        assert "302" in (delivery.problem or "")
        assert len(server.requests) == 1


def test_a_name_that_leads_inside_is_not_told_anything() -> None:
    with attacker({"*": reply()}) as server:
        # The machine's own name leads to itself, whatever kind of name it is.
        name = socket.gethostname()
        inner = socket.gethostbyname(name)
        delivery = _tell(f"json://{name}:{server.port}/hook")
        assert delivery.sent == ()
        assert inner in (delivery.problem or "")
        assert "not on the public internet" in (delivery.problem or "")
        assert server.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"])
def test_an_odd_address_is_refused_though_it_stands_in_the_url(host: str) -> None:
    with attacker({"*": reply()}) as server:
        delivery = _tell(f"json://{host}:{server.port}/hook")
        assert delivery.sent == ()
        assert delivery.problem
        assert server.connections == 0


def test_what_the_setting_opens_is_not_refused() -> None:
    name = socket.gethostname()
    inner = socket.gethostbyname(name)
    with attacker({"*": reply(b"{}")}) as server:
        opened = {"alert_allow_networks": [f"{inner}/32"]}
        delivery = _tell(f"json://{name}:{server.port}/hook", **opened)
        # Nobody need listen there.
        assert "not on the public internet" not in (delivery.problem or "")
        closed = _tell(f"json://{name}:{server.port}/hook", alert_allow_networks=["192.0.2.0/24"])
        assert "not on the public internet" in (closed.problem or "")
