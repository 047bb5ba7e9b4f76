"""What an alert says: what, where, since when, how many, what to do, and a link. No secrets.

When one goes out is in `alerting`; how it reaches somebody is in `adapters/notifier`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

from resources.core.alerting import Alert, News, Topic
from resources.core.redaction import redact

MOST_LINES = 10
MOST_NAMES = 3
# Some channels cut a message off, and the link stands at its end.
_MOST_SENTENCE_CHARS = 400
_MOST_NAME_CHARS = 60
_ELLIPSIS = "…"


class Tone(StrEnum):
    """How a channel may mark a message, where it has marks."""

    TROUBLE = "trouble"
    OVER = "over"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent."""

    title: str
    body: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class _Words:
    """How a topic is put.

    Args:
        headline: For the title; with `{}` for the number where it is an event.
        advice: What to do about it.
    """

    headline: str
    advice: str


_WORDS: Mapping[Topic, _Words] = MappingProxyType(
    {
        Topic.NO_PROGRESS: _Words(
            "automatic runs bring nothing",
            "`pipeline failures` says why; once that is mended, `pipeline retry` goes on.",
        ),
        Topic.NEEDS_PERSON: _Words(
            "somebody is needed",
            "set the key, the quota or the limit right, then run `pipeline retry`.",
        ),
        Topic.BREAKER_OPEN: _Words(
            "calls are paused",
            "nothing, if the other side is known to be away: it is tried again by itself. "
            "`pipeline status` says when.",
        ),
        Topic.SILENT: _Words(
            "something has gone silent",
            "`pipeline doctor` says what; `make ui` starts daemon and sensors.",
        ),
        Topic.TICK_FAILS: _Words(
            "a sensor fails",
            "its page in Dagster has the error of each tick; it goes on by itself once that is "
            "mended.",
        ),
        Topic.INBOX: _Words(
            "the inbox is in trouble",
            "see to the folder or the file; it is tried again by itself.",
        ),
        Topic.LIMIT_MISSING: _Words(
            "somebody is needed: lists wait for a limit of credits",
            "set PIPELINE_MAX_CREDITS; the lists are worked on by themselves then.",
        ),
        Topic.LOCAL_TROUBLE: _Words(
            "our own side is in trouble",
            "`pipeline doctor` checks network, database and disk; work goes on by itself after.",
        ),
        Topic.NOT_LOOKED_AFTER: _Words(
            "healing itself fails on something",
            "the log of the newest heal_batches tick has the stack trace; all others are healed.",
        ),
        Topic.RUN_REPAIRED: _Words(
            "{} dead or stuck runs were closed",
            "nothing: their batches are run again by themselves. `pipeline status` shows them.",
        ),
        Topic.LIST_SET_ASIDE: _Words(
            "{} lists were set aside",
            "mend the file as its report says, and put it into the inbox again.",
        ),
    }
)
_ONE = MappingProxyType(
    {
        Topic.RUN_REPAIRED: "a dead or stuck run was closed",
        Topic.LIST_SET_ASIDE: "a list was set aside",
    }
)


def message(news: News, now: float, *, link: str, place: str = "") -> Message:
    """Put news into words.

    Args:
        now: Epoch seconds.
        link: Address of Dagster's UI.
        place: Which installation it is about, such as a host's name.
    """
    lines = [_line_of_new(alert, now) for alert in news.new[:MOST_LINES]]
    lines += _rest(news.new)
    if news.over:
        lines += ["Over:"] * bool(lines)
        lines += [_line_of_over(alert) for alert in news.over[:MOST_LINES]] + _rest(news.over)
    if news.passed:
        lines.append(_passed(news.passed))
    if news.still_open:
        verb = "is" if news.still_open == 1 else "are"
        lines.append(f"{news.still_open} told earlier {verb} still there.")
    if news.new:
        lines.append(f"What to do: {_WORDS[news.topic].advice}")
    lines.append(f"Dagster: {link}")
    if place:
        lines.append(f"Where: {place}")
    return Message(redact(_title(news)), redact("\n".join(lines)), _tone(news))


def _tone(news: News) -> Tone:
    if news.topic.is_event:
        return Tone.NOTE
    return Tone.TROUBLE if news.new else Tone.OVER


def _title(news: News) -> str:
    if news.topic.is_event:
        count = sum(alert.count for alert in news.new)
        headline = _ONE[news.topic] if count == 1 else _WORDS[news.topic].headline.format(count)
        return f"pipeline: {headline}"
    headline = _WORDS[news.topic].headline
    if not news.new:
        return f"pipeline: over: {headline}: {_names(news.over)}"
    hit = sum(alert.count for alert in news.new)
    return f"pipeline: {headline}: {_names(news.new)}" + (f" ({hit})" if hit > 1 else "")


def _names(alerts: Sequence[Alert]) -> str:
    names = list(dict.fromkeys(_short(alert.subject, _MOST_NAME_CHARS) for alert in alerts))
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _line_of_new(alert: Alert, now: float) -> str:
    sentence = _short(alert.sentence, _MOST_SENTENCE_CHARS)
    if alert.topic.is_event:
        return f"- {sentence} ({_at(alert.opened_at)})"
    facts = [f"since {_at(alert.opened_at)}"]
    if now - alert.opened_at >= 60:
        facts.append(f"for {_span(now - alert.opened_at)}")
    if alert.count > 1:
        facts.append(f"{alert.count} hit")
    return f"- {sentence} ({', '.join(facts)})"


def _line_of_over(alert: Alert) -> str:
    over_at = alert.seen_at if alert.over_at is None else alert.over_at
    facts = f"from {_at(alert.opened_at)} for {_span(over_at - alert.opened_at)}"
    hit = f", {alert.most} hit at most" if alert.most > 1 else ""
    return f"- {_short(alert.subject, _MOST_NAME_CHARS)}: {facts}{hit}"


def _passed(alerts: Sequence[Alert]) -> str:
    counts = Counter(_short(alert.subject, _MOST_NAME_CHARS) for alert in alerts)
    parts = [f"{name} {_times(count)}" for name, count in counts.most_common(MOST_NAMES)]
    more = len(counts) - MOST_NAMES
    parts += [f"{more} others"] if more > 0 else []
    return f"Came and went since {_at(alerts[0].opened_at)} without a message: {', '.join(parts)}."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _rest(alerts: Sequence[Alert]) -> list[str]:
    more = len(alerts) - MOST_LINES
    return [f"- and {more} more"] if more > 0 else []


def _short(text: str, most: int) -> str:
    """One line of no more than so many characters, without what is no text."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    # What is cut in half is no secret any more that could be recognised.
    line = redact(line)
    return line if len(line) <= most else line[: most - 1] + _ELLIPSIS


def _at(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86_400)} days"
