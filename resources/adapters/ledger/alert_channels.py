"""Which channel was told of which alert, and who is telling it something now.

A channel is claimed before it is told, and what it was told is written down after: whoever dies in
between has told nothing, and it is sent again once the claim is over.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import (
    alert_channels,
    alert_messages,
    alert_tellings,
    alerts,
)
from resources.core.alerting import LONGEST_PAUSE_S, Alert, News, Topic, pause_after

# Longer than it takes to tell a channel all there is.
CLAIM_S = 90.0
LOCK = "alerts"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to tell a channel something, and what is known of it.

    Args:
        alerts: All that are open, or of which it does not know yet that they are over.
        recent_messages: When it got messages lately, by topic, epoch seconds.
    """

    channel: str
    token: str
    alerts: Sequence[Alert]
    recent_messages: Mapping[Topic, Sequence[float]]


@dataclass(frozen=True, slots=True)
class ChannelProblem:
    """Why a channel could not be told something.

    Args:
        since: When that began, epoch seconds.
        next_try_at: When it is tried again at the earliest, epoch seconds; None for at once.
    """

    name: str
    sentence: str
    since: float
    next_try_at: float | None = None


class AlertChannels:
    """Rows of channels and of what they were told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def know(self, connection: Connection, channels: Mapping[str, str], now: float) -> None:
        """Write down new channels, and forget the problems of those that are none any more.

        Args:
            channels: Names of all that there are, by id.
        """
        for key, name in channels.items():
            connection.execute(
                self._database.insert(alert_channels)
                .values(channel=key, name=name, since=now)
                .on_conflict_do_update(
                    index_elements=["channel"],
                    set_={
                        "name": name,
                        # In the future where the clock was put back: it would miss all until then.
                        "since": case(
                            (alert_channels.c.since > now, now), else_=alert_channels.c.since
                        ),
                    },
                )
            )
        connection.execute(
            update(alert_channels)
            .where(
                alert_channels.c.channel.not_in(list(channels)),
                alert_channels.c.problem.is_not(None),
            )
            .values(problem=None, problem_since=None, failures=0, next_try_at=None)
        )

    def claim(self, channel: str, now: float, *, messages_since: float) -> Claim | None:
        """Take the right to tell a channel something, until it is settled or `CLAIM_S` are over.

        Args:
            messages_since: How far back its messages matter, epoch seconds.

        Returns: what is known of it; None where somebody else is telling it something, or where it
            could not be reached lately and is left alone for a while.
        """
        token = str(uuid.uuid4())
        known = alert_channels.c
        with self._database.write() as connection:
            self._database.lock(connection, LOCK)
            changed = connection.execute(
                update(alert_channels)
                .where(
                    known.channel == channel,
                    _is_past(known.claimed_until, now, CLAIM_S),
                    _is_past(known.next_try_at, now, LONGEST_PAUSE_S),
                )
                .values(claimed_by=token, claimed_until=now + CLAIM_S)
            ).rowcount
            if changed == 0:
                return None
            recent = _messages(connection, channel, messages_since)
            return Claim(channel, token, _unheard(connection, channel), recent)

    def settle(
        self,
        claim: Claim,
        now: float,
        *,
        told: Iterable[tuple[News, str]] = (),
        carried: Sequence[tuple[int, int]] = (),
        problem: str | None = None,
    ) -> None:
        """Write down what a channel was told, and give the claim back.

        Args:
            told: What was sent, with each message's title.
            carried: Alerts that are over or told without a message; see `Decisions.carried`.
            problem: What kept the rest from being sent, in words.
        """
        told = list(told)
        begun = [new for _, new in carried]
        ended = [old for old, _ in carried]
        for news, _ in told:
            first_heard = [alert.id for alert in (*news.new, *news.passed)]
            begun += first_heard
            ended += [alert.id for alert in (*news.over, *news.passed)]
            ended += first_heard if news.topic.is_event else []
        titles = [
            {"channel": claim.channel, "topic": news.topic, "at": now, "title": title}
            for news, title in told
        ]
        with self._database.write() as connection:
            self._database.lock(connection, LOCK)
            self._told(connection, claim.channel, begun, ended, now)
            if titles:
                connection.execute(insert(alert_messages), titles)
            if problem is not None:
                _note_problem(connection, claim.channel, problem, now, is_partial=bool(told))
            elif told:
                _note_success(connection, claim.channel)
            connection.execute(
                update(alert_channels)
                .where(
                    alert_channels.c.channel == claim.channel,
                    alert_channels.c.claimed_by == claim.token,
                )
                .values(claimed_by=None, claimed_until=None)
            )

    def _told(
        self,
        connection: Connection,
        channel: str,
        begun: Sequence[int],
        ended: Sequence[int],
        now: float,
    ) -> None:
        if begun:
            rows = [{"alert_id": each, "channel": channel, "told_at": now} for each in begun]
            connection.execute(self._database.insert_ignore(alert_tellings), rows)
        if ended:
            connection.execute(
                update(alert_tellings)
                .where(
                    alert_tellings.c.channel == channel,
                    alert_tellings.c.alert_id == bindparam("ended_id"),
                )
                .values(over_told_at=now),
                [{"ended_id": each} for each in ended],
            )

    def problems(self) -> list[ChannelProblem]:
        """Channels that could not be told something when that was last tried, by name."""
        known = alert_channels.c
        with self._database.read() as connection:
            rows = connection.execute(
                select(known.name, known.problem, known.problem_since, known.next_try_at)
                .where(known.problem.is_not(None))
                .order_by(known.name)
            ).all()
        return [
            ChannelProblem(row.name, row.problem, row.problem_since, row.next_try_at)
            for row in rows
        ]


def _messages(connection: Connection, channel: str, since: float) -> Mapping[Topic, list[float]]:
    found: dict[Topic, list[float]] = {}
    for row in connection.execute(
        select(alert_messages.c.topic, alert_messages.c.at).where(
            alert_messages.c.at >= since, alert_messages.c.channel == channel
        )
    ):
        found.setdefault(Topic(row.topic), []).append(row.at)
    return found


def _unheard(connection: Connection, channel: str) -> list[Alert]:
    """Alerts that are open, or of which a channel does not know that they are over.

    What was over before there was the channel is none of it.
    """
    since = select(alert_channels.c.since).where(alert_channels.c.channel == channel)
    told_at, over_told_at = alert_tellings.c.told_at, alert_tellings.c.over_told_at
    mine = and_(alert_tellings.c.alert_id == alerts.c.id, alert_tellings.c.channel == channel)
    rows = connection.execute(
        select(alerts, told_at)
        .outerjoin(alert_tellings, mine)
        .where(
            or_(
                alerts.c.over_at.is_(None),
                and_(told_at.is_not(None), over_told_at.is_(None)),
                and_(told_at.is_(None), alerts.c.opened_at >= since.scalar_subquery()),
            )
        )
    ).all()
    return [
        Alert(
            row.id,
            Topic(row.topic),
            row.subject,
            row.sentence,
            row.hit,
            row.most_hit,
            row.opened_at,
            row.seen_at,
            row.over_at,
            row.told_at,
        )
        for row in rows
    ]


def _is_past(until: ColumnElement[float], now: float, longest_s: float) -> ColumnElement[bool]:
    """Whether a time is over that is never further ahead than `longest_s`.

    What is further ahead was written before the clock was put back.
    """
    return or_(until.is_(None), until <= now, until > now + longest_s)


def _note_problem(
    connection: Connection, channel: str, problem: str, now: float, *, is_partial: bool
) -> None:
    known = alert_channels.c
    failures = (
        1 + connection.execute(select(known.failures).where(known.channel == channel)).scalar_one()
    )
    if is_partial:
        failures = 1
    connection.execute(
        update(alert_channels)
        .where(known.channel == channel)
        .values(
            problem=problem,
            problem_since=func.coalesce(known.problem_since, now),
            failures=failures,
            next_try_at=now + pause_after(failures),
        )
    )


def _note_success(connection: Connection, channel: str) -> None:
    connection.execute(
        update(alert_channels)
        .where(alert_channels.c.channel == channel)
        .values(problem=None, problem_since=None, failures=0, next_try_at=None)
    )
