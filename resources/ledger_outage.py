"""Tells people that the ledger itself is away: alerts are kept in it, so these must do without.

What is told is remembered in this process alone. Everything else that is wrong goes through
`alerts`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace

from resources.adapters import notifier
from resources.core.alert_text import message
from resources.core.alerting import Alert, News, Topic
from resources.core.config import Settings

# Databases are restarted, and fail over to another machine, in less.
ALERT_AFTER_S = 300.0


class LedgerOutage:
    """One outage after the other, as the channels know it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._alert: Alert | None = None
        self._told: set[str] = set()

    def away(self, reason: str, now: float) -> list[str]:
        """Note that the ledger could not be used. Once it is away for long, each channel is told.

        Args:
            reason: Why, in a sentence without secrets.
            now: Epoch seconds.

        Returns: what kept a message from being sent, a sentence for each channel.
        """
        began_at = self._alert.opened_at if self._alert else now
        self._alert = Alert(0, Topic.LOCAL_TROUBLE, "ledger", reason, 1, 1, began_at, now)
        if now - began_at < ALERT_AFTER_S:
            return []
        channels = [one for one in notifier.channels(self._settings) if one.id not in self._told]
        return self._send(channels, News(Topic.LOCAL_TROUBLE, new=[self._alert]), now)

    def back(self, now: float) -> list[str]:
        """Note that the ledger is there. Whoever was told that it was away is told, once."""
        alert, self._alert = self._alert, None
        told, self._told = self._told, set()
        if alert is None or not told:
            return []
        channels = [one for one in notifier.channels(self._settings) if one.id in told]
        news = News(Topic.LOCAL_TROUBLE, over=[replace(alert, over_at=now)])
        problems = self._send(channels, news, now)
        self._told = set()
        return problems

    def _send(self, channels: Sequence[notifier.Channel], news: News, now: float) -> list[str]:
        if not channels:
            return []
        said = message(news, now, link=self._settings.alert_link, place=socket.gethostname())
        problems = []
        for channel, delivery in notifier.deliver({one: [said] for one in channels}).items():
            if delivery.sent:
                self._told.add(channel.id)
            if delivery.problem is not None:
                problems.append(f"Alerts to {channel.name} could not be sent: {delivery.problem}.")
        return problems
