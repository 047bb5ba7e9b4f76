"""Sends messages to people through Apprise: one URL per channel, each in a process of its own.

A channel that can't be reached keeps no other from being told, and never keeps a sensor waiting:
its process is ended after a time. What that process may do is in `alert_sender`. None of this goes
where `connect_to` points: channels are the operator's own addresses.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import IO, Any

from resources.adapters import alert_sender
from resources.core.alert_doors import named_addresses
from resources.core.alert_text import Message
from resources.core.config import Settings

UNUSABLE = "it is no address that Apprise knows (a comma inside of one is written %2C)"
# For all messages to all channels; who sends them has other things to do.
LIMIT_S = 10.0
_SCHEME = re.compile(r"([a-z][a-z0-9]{0,20})://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Channel:
    """Where alerts go.

    Args:
        id: The same for the same URL, always; tells nothing of it.
        name: Says which URL it is without giving it away.
        networks: Special-purpose networks that it may be sent through.
    """

    id: str
    name: str
    url: str = field(repr=False)
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of messages to one channel.

    Args:
        sent: Which of them were taken, by their places.
        problem: What kept one of the others from being sent, in words; None where nothing did.
    """

    sent: tuple[int, ...] = ()
    problem: str | None = None


def channels(settings: Settings) -> list[Channel]:
    """All that the settings name, whether they can be used or not."""
    urls = list(dict.fromkeys(url.get_secret_value() for url in settings.alert_urls))
    opened = tuple(settings.alert_allow_networks)
    return [
        Channel(_id(url), _name(url, n, len(urls)), url, opened + named_addresses(url))
        for n, url in enumerate(urls, 1)
    ]


def unusable_urls(settings: Settings) -> list[str]:
    """Names of channels in PIPELINE_ALERT_URLS that nothing can be sent to; without secrets.

    Takes seconds the first time, and sends nothing.
    """
    return [one.name for one in channels(settings) if alert_sender.service_of(one.url) is None]


def deliver(
    post: Mapping[Channel, Sequence[Message]], limit_s: float = LIMIT_S
) -> dict[Channel, Delivery]:
    """Send each channel its messages in order; one that is refused keeps none from being tried.

    Args:
        limit_s: Seconds for all of it. A message whose answer does not come in time may have been
            taken all the same.
    """
    sendings = {channel: _Sending(channel, messages, limit_s) for channel, messages in post.items()}
    for sending in sendings.values():
        sending.start()
    for sending in sendings.values():
        sending.join()
    return {channel: sending.delivery for channel, sending in sendings.items()}


class _Sending(threading.Thread):
    """Starts the process that sends one channel its messages, and hands them to it one by one: when
    this process is killed, that one begins nothing more."""

    def __init__(self, channel: Channel, messages: Sequence[Message], limit_s: float) -> None:
        super().__init__(name=f"alerts to {channel.name}")
        self._limit_s = limit_s
        self._messages = messages
        self._work = {"url": channel.url, "networks": channel.networks, "limit_s": limit_s}
        self._is_late = False
        self.delivery = Delivery(problem="sending did not begin")

    def run(self) -> None:
        child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", alert_sender.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What a library complains of may hold the URL.
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            # Its own group: Ctrl-C ends whoever sends, and this is ended by its time.
            process_group=0,
        )

        def give_up() -> None:
            self._is_late = True
            child.kill()

        timer = threading.Timer(self._limit_s, give_up)
        timer.start()
        assert child.stdin is not None
        assert child.stdout is not None
        with child, suppress(BrokenPipeError), closing(child.stdin):
            self.delivery = self._talk(child.stdin, child.stdout)
        timer.cancel()

    def _talk(self, asking: IO[str], answers: IO[str]) -> Delivery:
        """Hand over the messages; an answer that does not come says that the process has ended."""
        sent: tuple[int, ...] = ()
        problem: str | None = None
        if _answer(asking, answers, self._work) == alert_sender.UNUSABLE:
            return Delivery(problem=UNUSABLE)
        for place, message in enumerate(self._messages):
            said = _answer(asking, answers, asdict(message))
            if said is None:
                late = f"it did not answer within {self._limit_s:g} s"
                return Delivery(sent, late if self._is_late else "sending ended without an answer")
            if said == alert_sender.SENT:
                sent += (place,)
            else:
                problem = said
        return Delivery(sent, problem)


def _answer(asking: IO[str], answers: IO[str], what: Mapping[str, Any]) -> str | None:
    try:
        asking.write(json.dumps(what) + "\n")
        asking.flush()
    except BrokenPipeError:
        return None
    line = answers.readline()
    answer: str | None = json.loads(line) if line.endswith("\n") else None
    return answer


@lru_cache(maxsize=64)
def _id(url: str) -> str:
    """Slow on purpose: an address may hold a password, and the id stands in the ledger."""
    digest = hashlib.scrypt(
        url.encode("utf-8", "replace"), salt=b"pipeline alerts", n=2**14, r=8, p=1, dklen=16
    )
    return digest.hex()


def _name(url: str, number: int, count: int) -> str:
    scheme = _SCHEME.match(url)
    which = f"{scheme.group(1).lower()}://" if scheme else "address"
    return f"{which} ({number} of {count} in PIPELINE_ALERT_URLS)"
