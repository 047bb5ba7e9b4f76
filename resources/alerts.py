"""Tells people what is wrong: from troubles to messages in their channels.

Level-triggered: call it with all that is wrong now, again and again. Which troubles there are is
found elsewhere (`troubles`); when a message goes out is decided in `core/alerting`.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass

from resources.adapters import notifier
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.alert_channels import ChannelProblem, Claim
from resources.adapters.ledger.alerts import OpenTrouble
from resources.adapters.notifier import Channel
from resources.core.alert_text import Message, message
from resources.core.alerting import ALL_TOPICS, Decisions, Topic, Trouble, decide_news
from resources.core.config import Settings

__all__ = ["ChannelProblem", "OpenTrouble", "channel_problems", "open_troubles", "tell"]


@dataclass(frozen=True, slots=True)
class _Post:
    """What one channel is sent."""

    claim: Claim
    decisions: Decisions
    messages: list[Message]


def tell(
    ledger: Ledger,
    settings: Settings,
    troubles: Collection[Trouble],
    events: Collection[Trouble],
    now: float,
    *,
    about: Collection[Topic] = ALL_TOPICS,
) -> list[str]:
    """Write down what is wrong now, and send what is new or over to all channels.

    Without any channel it is written down all the same, and `pipeline status` shows it. Whatever
    could not be sent is tried again at a later call: after a minute, then ever more seldom, so that
    a dead channel does not hold up whoever calls.

    Args:
        troubles: All that is wrong now, of the topics in `about`.
        events: What has happened since the last call; to be given once.
        now: When it was looked, epoch seconds.
        about: Topics that the caller has looked at; alerts of others stay as they are.

    Returns: what kept a message from being sent when that was last tried, a sentence a channel.

    Raises:
        ValueError: an event is among the troubles, or the other way round.
    """
    channels = {channel.id: channel for channel in notifier.channels(settings)}
    names = {channel.id: channel.name for channel in channels.values()}
    ledger.alerts.note(troubles, events, now, about=about, channels=names)
    posts: dict[Channel, _Post] = {}
    for channel in channels.values():
        post = _prepare(ledger, settings, channel, now)
        if post is not None:
            posts[channel] = post
    deliveries = notifier.deliver({channel: post.messages for channel, post in posts.items()})
    for channel, delivery in deliveries.items():
        post = posts[channel]
        told = [(post.decisions.send[n], post.messages[n].title) for n in delivery.sent]
        problem = None
        if delivery.problem is not None:
            problem = f"Alerts to {channel.name} could not be sent: {delivery.problem}."
        ledger.alerts.channels.settle(
            post.claim, now, told=told, carried=post.decisions.carried, problem=problem
        )
    return [one.sentence for one in channel_problems(ledger)]


def _prepare(ledger: Ledger, settings: Settings, channel: Channel, now: float) -> _Post | None:
    """Claim a channel and write what it is to be told; None where it is nothing."""
    interval_s = settings.alert_interval
    claim = ledger.alerts.channels.claim(channel.id, now, messages_since=now - 2 * interval_s)
    if claim is None:
        return None
    decisions = decide_news(claim.alerts, claim.recent_messages, now, interval_s)
    if not decisions.send:
        ledger.alerts.channels.settle(claim, now, carried=decisions.carried)
        return None
    place = f"{socket.gethostname()}, {settings.home}"
    messages = [
        message(news, now, link=settings.alert_link, place=place) for news in decisions.send
    ]
    return _Post(claim, decisions, messages)


def open_troubles(ledger: Ledger) -> list[OpenTrouble]:
    """All that is wrong now, oldest first: since when, and whether anybody was told."""
    return ledger.alerts.open()


def channel_problems(ledger: Ledger) -> list[ChannelProblem]:
    """Channels that could not be told something when that was last tried."""
    return ledger.alerts.channels.problems()
