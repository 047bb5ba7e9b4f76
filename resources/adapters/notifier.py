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
from dataclasses import asdict, dataclass, field
from functools import lru_cache

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
    """Starts the process that sends one channel its messages, and waits for it."""

    def __init__(self, channel: Channel, messages: Sequence[Message], limit_s: float) -> None:
        super().__init__(name=f"alerts to {channel.name}")
        self._limit_s = limit_s
        self._count = len(messages)
        self._work = json.dumps(
            {
                "url": channel.url,
                "networks": channel.networks,
                "limit_s": limit_s,
                "messages": [asdict(message) for message in messages],
            }
        )
        self.delivery = Delivery(problem="sending did not begin")

    def run(self) -> None:
        child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", alert_sender.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What a library complains of may hold the URL.
            stderr=subprocess.DEVNULL,
            text=True,
            # Its own group: Ctrl-C ends whoever sends, and this is ended by its time.
            process_group=0,
        )
        try:
            said, _ = child.communicate(self._work, timeout=self._limit_s)
            is_late = False
        except subprocess.TimeoutExpired:
            child.kill()
            said, _ = child.communicate()
            is_late = True
        self.delivery = self._delivery(said, is_late=is_late)

    def _delivery(self, said: str, *, is_late: bool) -> Delivery:
        first, *lines = [json.loads(line) for line in said.splitlines()] or [[None]]
        if first == [alert_sender.UNUSABLE]:
            return Delivery(problem=UNUSABLE)
        sent = tuple(place for place, problem in lines if problem is None)
        problems = [problem for _, problem in lines if problem is not None]
        if is_late:
            problems.append(f"it did not answer within {self._limit_s:g} s")
        elif len(lines) < self._count:
            problems.append("sending ended without an answer")
        return Delivery(sent, problems[-1] if problems else None)


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
