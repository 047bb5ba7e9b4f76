"""What an alert says: what, where, since when, how many, what to do; and nothing secret."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.alert_text import MOST_LINES, Tone, message
from resources.core.alerting import Alert, News, Topic
from resources.core.redaction import remember
from tests.support.time import NOW

LINK = "http://127.0.0.1:3000"


def _alert(
    subject: str = "pdl",
    sentence: str = "Calls to pdl are paused.",
    topic: Topic = Topic.BREAKER_OPEN,
    count: int = 1,
    since_s: float = 0.0,
) -> Alert:
    return Alert(1, topic, subject, sentence, count, count, NOW - since_s, NOW)


def test_a_new_trouble_says_what_since_when_how_many_what_to_do_and_where() -> None:
    news = News(Topic.BREAKER_OPEN, [_alert(count=200, since_s=900)])
    said = message(news, NOW, link=LINK, place="db1, /srv/var")
    assert said.title == "pipeline: calls are paused: pdl (200)"
    assert said.body.splitlines() == [
        "- Calls to pdl are paused. (since 2027-01-15 07:45 UTC, for 15 min, 200 hit)",
        "What to do: nothing, if the other side is known to be away: it is tried again by itself. "
        "`pipeline status` says when.",
        "Dagster: http://127.0.0.1:3000",
        "Where: db1, /srv/var",
    ]
    assert said.tone is Tone.TROUBLE


def test_what_is_over_says_how_long_it_was_there_and_how_many_it_hit() -> None:
    alert = replace(_alert(since_s=2_520), most=200, over_at=NOW - 60)
    said = message(News(Topic.BREAKER_OPEN, over=[alert]), NOW, link=LINK)
    assert said.title == "pipeline: over: calls are paused: pdl"
    assert said.body.splitlines() == [
        "- pdl: from 2027-01-15 07:18 UTC for 41 min, 200 hit at most",
        f"Dagster: {LINK}",
    ]
    assert said.tone is Tone.OVER


def test_a_message_tells_what_was_held_back_and_what_is_still_there() -> None:
    passed = [_alert("rdap", since_s=600), _alert("rdap"), _alert("gleif")]
    over = [replace(_alert("wikidata", since_s=60), over_at=NOW)]
    news = News(Topic.BREAKER_OPEN, [_alert()], over, passed, still_open=1)
    assert message(news, NOW, link=LINK).body.splitlines()[1:5] == [
        "Over:",
        "- wikidata: from 2027-01-15 07:59 UTC for 60 s",
        "Came and went since 2027-01-15 07:50 UTC without a message: rdap 2 times, gleif once.",
        "1 told earlier is still there.",
    ]


def test_many_troubles_are_one_message_with_the_first_of_them() -> None:
    alerts = [_alert(f"batch-{n:05}", f"Batch {n} waits.", count=3) for n in range(200)]
    said = message(News(Topic.NO_PROGRESS, alerts), NOW, link=LINK)
    assert said.title == (
        "pipeline: automatic runs bring nothing: batch-00000, batch-00001, batch-00002 and 197 "
        "more (600)"
    )
    assert said.body.count("waits.") == MOST_LINES
    assert "- and 190 more" in said.body
    over = [replace(alert, over_at=NOW) for alert in alerts]
    assert "- and 190 more" in message(News(Topic.NO_PROGRESS, over=over), NOW, link=LINK).body


def test_events_are_counted_with_the_time_of_each() -> None:
    events = [
        _alert(f"run {n}", f"run {n}: Stuck.", Topic.RUN_REPAIRED, since_s=600) for n in range(5)
    ]
    said = message(News(Topic.RUN_REPAIRED, events), NOW, link=LINK)
    assert (said.title, said.tone) == ("pipeline: 5 dead or stuck runs were closed", Tone.NOTE)
    assert "- run 0: Stuck. (2027-01-15 07:50 UTC)" in said.body
    one = message(News(Topic.RUN_REPAIRED, events[:1]), NOW, link=LINK)
    assert one.title == "pipeline: a dead or stuck run was closed"


@pytest.mark.parametrize("topic", list(Topic))
def test_every_topic_says_what_to_do_and_names_no_number_of_one(topic: Topic) -> None:
    said = message(News(topic, [_alert(topic=topic)]), NOW, link=LINK)
    assert "What to do: " in said.body
    assert "{}" not in said.title
    assert "1 " not in said.title


@pytest.mark.parametrize(
    ("since_s", "words"),
    [
        (0, ")"),
        (59, ")"),
        (60, ", for 60 s)"),
        (119, ", for 119 s)"),
        (120, ", for 2 min)"),
        (7_199, ", for 120 min)"),
        (7_200, ", for 2 h)"),
        (48 * 3600, ", for 2 days)"),
    ],
)
def test_how_long_is_told_in_the_largest_sensible_unit(since_s: float, words: str) -> None:
    said = message(News(Topic.SILENT, [_alert(since_s=since_s)]), NOW, link=LINK)
    first = said.body.splitlines()[0]
    assert re.sub(r".*\(since [^,)]*UTC", "", first) == words


def test_secrets_are_hidden_wherever_they_stand_and_also_where_a_text_is_cut() -> None:
    remember(["hunter2-of-the-alerts"])
    secret = "GET https://me:hunter2-of-the-alerts@api.example/x?api_key=abcdef0123456789 failed"
    for padding in range(300, 420, 7):
        alert = _alert(f"x{secret}", " " * 3 + "y" * padding + " " + secret)
        for news in (
            News(Topic.SILENT, [alert]),
            News(Topic.SILENT, over=[replace(alert, over_at=NOW)]),
            News(Topic.SILENT, [alert], passed=[replace(alert, over_at=NOW)]),
        ):
            said = message(news, NOW, link="https://a:hunter2-of-the-alerts@dagster", place=secret)
            assert "hunter2" not in said.title + said.body
            assert "abcdef" not in said.title + said.body


@given(
    st.text(max_size=600),
    st.text(max_size=600),
    st.integers(1, 10**6),
    st.sampled_from(sorted(Topic)),
)
def test_a_message_is_short_plain_text_whatever_the_trouble_says(
    subject: str, sentence: str, count: int, topic: Topic
) -> None:
    alerts = [_alert(subject, sentence, topic, count)] * 30
    news = News(topic, alerts, [replace(one, over_at=NOW) for one in alerts], alerts, 3)
    said = message(news, NOW, link=LINK)
    assert said.title.isprintable()
    assert len(said.title) <= 300
    assert all(line.isprintable() for line in said.body.split("\n"))
    assert len(said.body) <= 8_000
    assert LINK in said.body
