"""Sends messages to people through Apprise: one URL per channel, each by itself.

A channel that can't be reached keeps no other from being told, and never keeps a sensor waiting:
each is told in a thread of its own, and given up after a time. None of this passes the guard for
pages and providers: channels are the operator's own addresses, wherever `connect_to` points.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from resources.core.alert_text import Message, Tone
from resources.core.config import Settings
from resources.core.redaction import MASK, redact

if TYPE_CHECKING:
    import apprise

UNUSABLE = "it is no address that Apprise knows (a comma inside of one is written %2C)"
# For all messages to all channels; who sends them has other things to do.
LIMIT_S = 10.0
_SCHEME = re.compile(r"([a-z][a-z0-9]{0,20})://", re.IGNORECASE)
_PART_OF_URL = re.compile(r"[/?&=:@#+]+")
_SHORTEST_PART = 4
_OVERFLOW = "overflow="
# Threads that did not come back in time, by channel: a second one would not either.
_under_way: dict[str, _Sending] = {}


@dataclass(frozen=True, slots=True)
class Channel:
    """Where alerts go.

    Args:
        id: The same for the same URL, always; tells nothing of it.
        name: Says which URL it is without giving it away.
    """

    id: str
    name: str
    url: str = field(repr=False)


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
    return [Channel(_id(url), _name(url, n, len(urls)), url) for n, url in enumerate(urls, 1)]


def unusable_urls(settings: Settings) -> list[str]:
    """Names of channels in PIPELINE_ALERT_URLS that nothing can be sent to; without secrets.

    Takes seconds the first time, and sends nothing.
    """
    return [one.name for one in channels(settings) if _service(one.url) is None]


def deliver(
    post: Mapping[Channel, Sequence[Message]], limit_s: float = LIMIT_S
) -> dict[Channel, Delivery]:
    """Send each channel its messages in order; one that is refused keeps none from being tried.

    Args:
        limit_s: Seconds for all of it. What is under way then may still arrive.
    """
    result: dict[Channel, Delivery] = {}
    begun: dict[Channel, _Sending] = {}
    for channel, messages in post.items():
        before = _under_way.get(channel.id)
        if before is not None and before.is_alive():
            result[channel] = Delivery(problem="an earlier message still keeps it busy")
            continue
        service = _service(channel.url)
        if service is None:
            result[channel] = Delivery(problem=UNUSABLE)
            continue
        begun[channel] = _under_way[channel.id] = _Sending(channel, service, messages)
    deadline = time.monotonic() + limit_s
    for sending in begun.values():
        sending.start()
    for channel, sending in begun.items():
        sending.join(max(0.0, deadline - time.monotonic()))
        result[channel] = sending.delivery(limit_s)
    return result


class _Sending(threading.Thread):
    """Sends one channel its messages.

    A daemon, so that a channel that never answers does not keep the process from ending; for the
    same reason none of Apprise's own threads is used.
    """

    def __init__(
        self, channel: Channel, service: apprise.NotifyBase, messages: Sequence[Message]
    ) -> None:
        super().__init__(name=f"alerts to {channel.name}", daemon=True)
        self._channel = channel
        self._service = service
        self._messages = messages
        self._is_given_up = threading.Event()
        self._sent: tuple[int, ...] = ()
        self._problem: str | None = None

    def run(self) -> None:
        for place, message in enumerate(self._messages):
            if self._is_given_up.is_set():
                return
            problem = _send(self._channel.url, self._service, message)
            if problem is None:
                self._sent += (place,)
            else:
                self._problem = problem

    def delivery(self, limit_s: float) -> Delivery:
        """What has become of it by now; nothing more is begun."""
        self._is_given_up.set()
        # In this order: what it says when it has ended is all that there is.
        is_alive = self.is_alive()
        sent, problem = self._sent, self._problem
        if is_alive:
            problem = f"it did not answer within {limit_s:g} s"
        elif problem is None and len(sent) < len(self._messages):
            problem = "sending ended without an answer"
        return Delivery(sent, problem)


def _send(url: str, service: apprise.NotifyBase, message: Message) -> str | None:
    """Send one message. Returns why that failed, in words without secrets."""
    import apprise  # noqa: PLC0415  # heavy, and wanted only where there is something to say

    tones = {
        Tone.TROUBLE: apprise.NotifyType.WARNING,
        Tone.OVER: apprise.NotifyType.SUCCESS,
        Tone.NOTE: apprise.NotifyType.INFO,
    }
    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    result = sender.notify(
        title=message.title,
        body=message.body,
        notify_type=tones[message.tone],
        body_format=apprise.NotifyFormat.TEXT,
    )
    if result:
        return None
    said = [entry.message for entry in result.logs()]
    return _without_parts(url, said[-1] if said else "it did not take the message")


def _service(url: str) -> apprise.NotifyBase | None:
    """What sends to a URL; None where nothing does."""
    if _SCHEME.match(url) is None:
        # Apprise would write it into the log.
        return None
    import apprise  # noqa: PLC0415  # as above

    asset = apprise.AppriseAsset(
        app_id="pipeline",
        app_desc="alerts",
        # Without a time limit of its own it sends in the thread that asks.
        service_timeout=0,
        async_mode=False,
        # A redirected message arrives as an empty request, and is lost.
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is not None and _OVERFLOW not in url.lower():
        # A channel that takes no more than some characters would refuse a longer message for ever.
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
    return service


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


def _without_parts(url: str, text: str) -> str:
    """A text without any piece of a URL: which of them are secret differs from service to service.

    Whoever reads it knows the channel by its name.
    """
    parts = {part for part in _PART_OF_URL.split(url)[1:] if len(part) >= _SHORTEST_PART}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, MASK)
    return redact(" ".join(text.split()))
