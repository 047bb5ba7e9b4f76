"""Alerts: what is wrong, and since when.

Which of it is new or over is decided in `core/alerting`; who is told of it is in `alert_channels`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Row,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from resources.adapters.ledger.alert_channels import LOCK, AlertChannels
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import alert_messages, alert_tellings, alerts
from resources.core.alerting import (
    ALL_TOPICS,
    Alert,
    Changes,
    Topic,
    Trouble,
    decide_alerts,
)

# What is over is kept so long, and with it what a channel that can't be reached has not heard.
KEPT_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class OpenTrouble:
    """What is wrong now, for a person to look at.

    Args:
        opened_at: Epoch seconds.
        told_at: When the first channel was told of it, epoch seconds; None where none was.
    """

    topic: Topic
    subject: str
    sentence: str
    count: int
    opened_at: float
    told_at: float | None

    @property
    def is_told(self) -> bool:
        return self.told_at is not None


class Alerts:
    """Rows of alerts, and the channels that are told of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.channels = AlertChannels(database)

    def note(
        self,
        troubles: Collection[Trouble],
        events: Collection[Trouble],
        now: float,
        *,
        about: Collection[Topic] = ALL_TOPICS,
        channels: Mapping[str, str],
    ) -> None:
        """Write down what one look has found: what is new, what goes on, and what is over.

        Args:
            troubles: All that is wrong now.
            events: What has happened since the last look.
            now: When it was looked, epoch seconds.
            about: Topics that were looked at; alerts of others stay open.
            channels: Names of all channels that there are, by id.

        Raises:
            ValueError: an event is among the troubles, or the other way round.
        """
        if any(not event.topic.is_event for event in events):
            raise ValueError("what lasts is no event")
        with self._database.write() as connection:
            self._database.lock(connection, LOCK)
            found = connection.execute(select(alerts).where(alerts.c.over_at.is_(None)))
            changes = decide_alerts([_alert(row) for row in found], troubles, now, about)
            new = [_new_row(event, now) | {"over_at": now} for event in events]
            _apply(connection, changes, new, now)
            self.channels.know(connection, channels, now)
            _forget(connection, now - KEPT_S)

    def happened(self, event: Trouble, now: float) -> None:
        """Write down what has happened to its subject; nothing where that is known already.

        Told by whoever tells next: so it can be written together with what was done.
        """
        is_known = select(alerts.c.id).where(
            alerts.c.topic == event.topic, alerts.c.subject == event.subject
        )
        with self._database.write() as connection:
            self._database.lock(connection, LOCK)
            if connection.execute(is_known.limit(1)).first() is None:
                connection.execute(insert(alerts), [_new_row(event, now) | {"over_at": now}])

    def open(self) -> list[OpenTrouble]:
        """All that is wrong now, oldest first."""
        told = (
            select(alert_tellings.c.alert_id, func.min(alert_tellings.c.told_at).label("told_at"))
            .group_by(alert_tellings.c.alert_id)
            .subquery()
        )
        with self._database.read() as connection:
            rows = connection.execute(
                select(alerts, told.c.told_at)
                .outerjoin(told, told.c.alert_id == alerts.c.id)
                .where(alerts.c.over_at.is_(None))
                .order_by(alerts.c.opened_at, alerts.c.id)
            ).all()
        return [
            OpenTrouble(
                Topic(row.topic), row.subject, row.sentence, row.hit, row.opened_at, row.told_at
            )
            for row in rows
        ]


def _alert(row: Row[Any]) -> Alert:
    return Alert(
        row.id,
        Topic(row.topic),
        row.subject,
        row.sentence,
        row.hit,
        row.most_hit,
        row.opened_at,
        row.seen_at,
    )


def _new_row(trouble: Trouble, now: float) -> dict[str, object]:
    return {
        "topic": trouble.topic,
        "subject": trouble.subject,
        "sentence": trouble.sentence,
        "hit": trouble.count,
        "most_hit": trouble.count,
        "opened_at": now,
        "seen_at": now,
        "over_at": None,
    }


def _apply(
    connection: Connection, changes: Changes, new: list[dict[str, object]], now: float
) -> None:
    new += [_new_row(trouble, now) for trouble in changes.open]
    if new:
        connection.execute(insert(alerts), new)
    if changes.update:
        hit = bindparam("now_hit", type_=Integer)
        connection.execute(
            update(alerts)
            .where(alerts.c.id == bindparam("alert_id"))
            .values(
                sentence=bindparam("now_sentence"),
                hit=hit,
                most_hit=case((alerts.c.most_hit < hit, hit), else_=alerts.c.most_hit),
                seen_at=now,
            ),
            [
                {"alert_id": key, "now_sentence": one.sentence, "now_hit": one.count}
                for key, one in changes.update.items()
            ],
        )
    if changes.close:
        over = update(alerts).where(alerts.c.id == bindparam("alert_id")).values(over_at=now)
        connection.execute(over, [{"alert_id": key} for key in changes.close])


def _forget(connection: Connection, before: float) -> None:
    """Delete what has been over for long."""
    old = select(alerts.c.id).where(alerts.c.over_at < before)
    connection.execute(delete(alert_tellings).where(alert_tellings.c.alert_id.in_(old)))
    connection.execute(delete(alerts).where(alerts.c.over_at < before))
    connection.execute(delete(alert_messages).where(alert_messages.c.at < before))
