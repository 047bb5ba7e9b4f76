"""The process that sends one channel its messages through Apprise; `notifier` starts it.

A channel's server may be anybody's: it may answer without end, unpack to gigabytes, redirect, or
never come to an end. Apprise and what it builds on have no limits for that, so this process has:
of memory, processor time and time, and it connects to no address that alerts may not go to.

Lines of JSON come on stdin: first `url`, `networks` (that are open) and `limit_s`, then each
message with `title`, `body` and `tone`. Each is answered by a line: `ready` or `unusable`, then
`sent` or what kept the message from being sent. It ends with stdin.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import resource
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from resources.core.addresses import AddressPolicy
from resources.core.alert_doors import alert_policy
from resources.core.alert_text import Tone
from resources.core.redaction import MASK, redact

if TYPE_CHECKING:
    import apprise

MEMORY_BYTES = 160 * 1024 * 1024
CPU_S = 1.5
READY, UNUSABLE, SENT = "ready", "unusable", "sent"
_CONNECTING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_SCHEME = re.compile(r"[a-z][a-z0-9]{0,20}://", re.IGNORECASE)
_PART_OF_URL = re.compile(r"[/?&=:@#+]+")
_SHORTEST_PART = 4
_OVERFLOW = "overflow="


class _Guard:
    """Sees every connection of this process before it is made: Python's own audit events, which no
    library goes around.

    Args:
        policy: What may be connected to.
    """

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self.refusal: str | None = None

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CONNECTING:
            return
        target = arguments[1]
        if not isinstance(target, tuple):
            return  # a socket of this machine, or one that is connected already
        refusal = self._refusal_of(str(target[0]), int(target[1]))
        if refusal is not None:
            self.refusal = refusal
            raise PermissionError(refusal)

    def _refusal_of(self, host: str, port: int) -> str | None:
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return "it is connected to by name, which cannot be checked"
        return self._policy.refusal(host, port)


def send(work: Mapping[str, Any], messages: Iterable[str], guard: _Guard) -> None:
    """Send messages as they come, and say what became of each."""
    service = service_of(work["url"])
    if service is None:
        _say(UNUSABLE)
        return
    _say(READY)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    # Ends the process, as a limit of whole seconds (RLIMIT_CPU) would later.
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    for line in messages:
        guard.refusal = None
        problem = _send(service, json.loads(line))
        _say(SENT if problem is None else guard.refusal or _without_parts(work["url"], problem))


def _send(service: apprise.NotifyBase, message: Mapping[str, str]) -> str | None:
    """Send one message. Returns why that failed."""
    import apprise  # noqa: PLC0415  # heavy, and wanted only where there is something to say

    tones = {
        Tone.TROUBLE: apprise.NotifyType.WARNING,
        Tone.OVER: apprise.NotifyType.SUCCESS,
        Tone.NOTE: apprise.NotifyType.INFO,
    }
    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    result = sender.notify(
        title=message["title"],
        body=message["body"],
        notify_type=tones[Tone(message["tone"])],
        body_format=apprise.NotifyFormat.TEXT,
    )
    if result:
        return None
    said = [entry.message for entry in result.logs()]
    return said[-1] if said else "it did not take the message"


def service_of(url: str) -> apprise.NotifyBase | None:
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


def _without_parts(url: str, text: str) -> str:
    """A text without any piece of a URL: which of them are secret differs from service to service.

    Whoever reads it knows the channel by its name.
    """
    parts = {part for part in _PART_OF_URL.split(url)[1:] if len(part) >= _SHORTEST_PART}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, MASK)
    return redact(" ".join(text.split()))


def _say(what: str) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Do what stdin says."""
    work = json.loads(sys.stdin.readline())
    # Whoever started this may be gone, and nobody else would end it.
    signal.alarm(math.ceil(work["limit_s"]) + 1)
    guard = _Guard(alert_policy(work["networks"]))
    sys.addaudithook(guard)
    send(work, iter(sys.stdin.readline, ""), guard)


if __name__ == "__main__":
    main()
