"""Alerts: which troubles are new or over, and when a message about them goes out.

Level-triggered: whoever looks says all that is wrong now, again and again. What is new is told
once, and what is over is told once, to each channel by itself: one that could not be reached for an
hour is told then what is wrong then. Messages of a topic are grouped and limited, so that an outage
is one message and one when it is over, and a trouble that comes and goes does not wake anybody
twice. Pure: who keeps alerts, sends messages and reads the clock is in the adapters; what a message
says is in `alert_text`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

# Between two tries of a channel that cannot be reached: doubled each time, up to the longest.
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 900.0
# Clocks of two machines differ by less. What is further ahead was written before one was put back.
CLOCK_TOLERANCE_S = 120.0


class Topic(StrEnum):
    """What an alert is about. Messages are grouped and limited by it."""

    NO_PROGRESS = "no_progress"
    """Automatic runs bring nothing and have ended."""
    NEEDS_PERSON = "needs_person"
    """A key, a quota or a limit of credits."""
    BREAKER_OPEN = "breaker_open"
    """A provider is away for long."""
    SILENT = "silent"
    """A sensor or the daemon has not ticked."""
    LOCAL_TROUBLE = "local_trouble"
    """Our own network, database or store is away for long."""
    NOT_LOOKED_AFTER = "not_looked_after"
    """A batch or a run that healing itself fails on."""
    TICK_FAILS = "tick_fails"
    """A sensor's ticks end with an error."""
    INBOX = "inbox"
    """The inbox, or a file in it, cannot be dealt with."""
    LIMIT_MISSING = "limit_missing"
    """Lists came by the inbox that may cost something, and nobody has said how much."""
    RUN_REPAIRED = "run_repaired"
    LIST_SET_ASIDE = "list_set_aside"

    @property
    def is_event(self) -> bool:
        """Whether it happens and is past: it is told, and never over."""
        return self in {Topic.RUN_REPAIRED, Topic.LIST_SET_ASIDE}


ALL_TOPICS = frozenset(Topic)
# Each topic has one owner, who looks at all of it; else one would end what another has found.
INBOX_TOPICS = frozenset({Topic.INBOX, Topic.LIMIT_MISSING, Topic.LIST_SET_ASIDE})
WATCH_TOPICS = frozenset({Topic.SILENT, Topic.TICK_FAILS})
HEALING_TOPICS = ALL_TOPICS - INBOX_TOPICS - WATCH_TOPICS


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong now, or that has happened.

    Args:
        subject: Tells troubles of one topic apart, such as a provider's or a sensor's name.
        sentence: What is wrong and what to do, for a person.
        count: Batches or domains that it hits.
    """

    topic: Topic
    subject: str
    sentence: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Alert:
    """A trouble as it is kept, and as one channel knows it.

    Args:
        count: What it hits now, or hit when it was last seen.
        most: The largest such count.
        opened_at, seen_at: When it was seen first and last, epoch seconds.
        over_at: When it was first not seen any more, epoch seconds; None while it is there.
        told_at: When the channel was told of it, epoch seconds; None for not yet.
    """

    id: int
    topic: Topic
    subject: str
    sentence: str
    count: int
    most: int
    opened_at: float
    seen_at: float
    over_at: float | None = None
    told_at: float | None = None

    @property
    def is_open(self) -> bool:
        return self.over_at is None


# -- what is wrong --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """What one look changes in what is kept.

    Args:
        open: Troubles that were not there.
        update: Alerts by id that are still there, as they look now.
        close: Ids of alerts that are over.
    """

    open: Sequence[Trouble]
    update: Mapping[int, Trouble]
    close: Sequence[int]


def decide_alerts(
    open_alerts: Collection[Alert],
    troubles: Collection[Trouble],
    now: float,
    about: Collection[Topic] = ALL_TOPICS,
) -> Changes:
    """Compare what is wrong now with what is open.

    An alert that somebody else has seen since `now` is left as it is: this look is the older one.
    One that was seen long after `now` was seen before the clock was put back, and counts.

    Args:
        open_alerts: All that are not over.
        troubles: All that is wrong; of equal ones the counts are added.
        now: When it was looked, epoch seconds.
        about: Topics that were looked at; alerts of others stay open.

    Raises:
        ValueError: a trouble's topic is that of an event.
    """
    present = _merged(troubles)
    known = {(alert.topic, alert.subject): alert for alert in open_alerts}
    older = {
        key: alert
        for key, alert in known.items()
        if not now < alert.seen_at <= now + CLOCK_TOLERANCE_S
    }
    return Changes(
        [trouble for key, trouble in present.items() if key not in known],
        {alert.id: present[key] for key, alert in older.items() if key in present},
        [alert.id for key, alert in older.items() if key not in present and alert.topic in about],
    )


def _merged(troubles: Collection[Trouble]) -> dict[tuple[Topic, str], Trouble]:
    present: dict[tuple[Topic, str], Trouble] = {}
    for trouble in troubles:
        if trouble.topic.is_event:
            raise ValueError(f"{trouble.topic} is an event, and never over")
        key = (trouble.topic, trouble.subject)
        before = present.get(key)
        present[key] = replace(before, count=before.count + trouble.count) if before else trouble
    return present


# -- what is told ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class News:
    """What one message tells a channel about a topic; each list oldest first.

    Args:
        new: Alerts that the channel was not told of: open ones, or events.
        over: Alerts that it was told of and that are over.
        passed: Alerts that came and went while messages were held back.
        still_open: How many others it was told of that are open.
    """

    topic: Topic
    new: Sequence[Alert] = ()
    over: Sequence[Alert] = ()
    passed: Sequence[Alert] = ()
    still_open: int = 0


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a channel is told now.

    Args:
        send: One message each; topics differ.
        carried: Pairs of ids: the first alert was told and is over, the second is the same trouble
            come back before that could be told. For the channel it was never away: nothing is sent,
            and the second counts as told in place of the first.
    """

    send: Sequence[News]
    carried: Sequence[tuple[int, int]]


def decide_news(
    alerts: Collection[Alert],
    recent_messages: Mapping[Topic, Sequence[float]],
    now: float,
    interval_s: float,
) -> Decisions:
    """Decide what one channel is told now.

    Args:
        alerts: All that are open, and those that are over and of which the channel does not know
            that yet.
        recent_messages: When the channel got its newest messages of a topic, epoch seconds; two are
            enough.
        interval_s: The least time between two messages of a topic in the long run; see `may_send`.
    """
    send: list[News] = []
    carried: list[tuple[int, int]] = []
    for topic in Topic:
        mine = sorted((one for one in alerts if one.topic is topic), key=_age)
        pairs = _carried(mine)
        carried += pairs
        news = _news(topic, mine, pairs)
        if _is_due(news, now, interval_s) and may_send(
            recent_messages.get(topic, ()), now, interval_s
        ):
            send.append(news)
    return Decisions(send, carried)


def may_send(sent_at: Sequence[float], now: float, interval_s: float) -> bool:
    """Whether another message of a topic may go out now.

    After a quiet time two may follow each other at once, so that the end of a short outage is told
    when it comes; after that there is one an interval. So there are never more than two within any
    interval, and nothing waits for longer than one.

    Args:
        sent_at: When earlier ones went out; times to come are those of a clock that was wrong.
    """
    earlier = sorted(at for at in sent_at if at <= now)
    if interval_s <= 0 or not earlier or now - earlier[-1] >= interval_s:
        return True
    return len(earlier) < 2 or now - earlier[-2] >= 2 * interval_s


def pause_after(failures: int) -> float:
    """Seconds until a channel is tried again.

    A dead one costs each tick its whole time limit, so it is not tried at every tick.

    Args:
        failures: Tries in a row that brought nothing, from 1.

    >>> [pause_after(failures) for failures in (1, 2, 3, 4, 5, 1_000)]
    [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    """
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE_S)


def _age(alert: Alert) -> tuple[float, int]:
    return alert.opened_at, alert.id


def _carried(alerts: Sequence[Alert]) -> list[tuple[int, int]]:
    again = {one.subject: one.id for one in alerts if one.is_open and one.told_at is None}
    return [
        (one.id, again[one.subject])
        for one in alerts
        if not one.is_open and one.told_at is not None and one.subject in again
    ]


def _news(topic: Topic, alerts: Sequence[Alert], carried: Sequence[tuple[int, int]]) -> News:
    ended = {old for old, _ in carried}
    goes_on = {new for _, new in carried}
    untold = [one for one in alerts if one.told_at is None and one.id not in goes_on]
    told = [one for one in alerts if one.told_at is not None and one.id not in ended]
    return News(
        topic,
        new=[one for one in untold if one.is_open or topic.is_event],
        over=[one for one in told if not one.is_open],
        passed=[one for one in untold if not one.is_open and not topic.is_event],
        still_open=sum(one.is_open for one in told) + len(goes_on),
    )


def _is_due(news: News, now: float, interval_s: float) -> bool:
    """What is new is told at once; what is over once all of it is, or after an interval."""
    if news.new:
        return True
    ends = [one.over_at for one in news.over if one.over_at is not None]
    if not ends:
        return False
    # The clock may have been put back since; how long it is held is not known then.
    return news.still_open == 0 or not 0 <= now - min(ends) < interval_s
