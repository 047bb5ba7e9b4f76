"""From troubles to messages, with a ledger and a webhook: told once, over once, never lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from http.server import BaseHTTPRequestHandler

import pytest
from sqlalchemy import func, select

from resources.adapters import notifier
from resources.adapters.ledger.alert_channels import CLAIM_S
from resources.adapters.ledger.alerts import KEPT_S
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import alert_messages, alert_tellings, alerts
from resources.alerts import channel_problems, open_troubles, tell
from resources.core.alerting import ALL_TOPICS, Topic, Trouble
from resources.core.config import Settings, load_settings
from tests.support.requirements import ROOT
from tests.support.time import NOW
from tests.support.webhook import Webhook, webhook

TICK_S = 60.0
INTERVAL_S = 1_800.0
AWAY = Trouble(Topic.BREAKER_OPEN, "pdl", "Calls to pdl are paused.", 200)
KEY = Trouble(Topic.NEEDS_PERSON, "pdl auth", "The key is wrong.", 3)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _settings(*urls: str) -> Settings:
    return load_settings(alert_urls=urls, alert_interval=INTERVAL_S)


class Ticks:
    """Looks once a minute."""

    def __init__(self, ledger: Ledger, *urls: str) -> None:
        self.ledger = ledger
        self.settings = _settings(*urls)
        self.now = NOW

    def look(
        self,
        *troubles: Trouble,
        events: Sequence[Trouble] = (),
        times: int = 1,
        about: Collection[Topic] = ALL_TOPICS,
    ) -> list[str]:
        for _ in range(times):
            problems = tell(self.ledger, self.settings, troubles, events, self.now, about=about)
            self.now += TICK_S
        return problems


# -- an outage ------------------------------------------------------------------------------------


def test_an_outage_of_200_batches_is_two_messages(ledger: Ledger, hook: Webhook) -> None:
    ticks = Ticks(ledger, hook.url())
    batches = [
        Trouble(Topic.NO_PROGRESS, f"batch-{n:05}", f"Batch {n} waits for pdl.") for n in range(200)
    ]
    for hit in (batches, batches[:150], batches[190:]):
        assert ticks.look(*hit, times=3) == []
    ticks.look(times=40)
    first, last = hook.taken
    assert first.title.endswith("batch-00000, batch-00001, batch-00002 and 197 more (200)")
    assert "since 2027-01-15 08:00 UTC" in first.body
    assert "http://127.0.0.1:3000" in first.body
    assert socket.gethostname() in first.body
    assert last.title.startswith("pipeline: over: ")
    assert "and 190 more" in last.body
    assert (first.tone, last.tone) == ("warning", "success")


def test_an_outage_that_is_one_trouble_with_a_count_is_two_messages(
    ledger: Ledger, hook: Webhook
) -> None:
    ticks = Ticks(ledger, hook.url())
    for count in (3, 200, 80, 1):
        ticks.look(Trouble(Topic.BREAKER_OPEN, "pdl", "Calls to pdl are paused.", count), times=2)
    ticks.look(times=40)
    first, last = hook.taken
    assert first.title == "pipeline: calls are paused: pdl (3)"
    assert "- pdl: from 2027-01-15 08:00 UTC for 8 min, 200 hit at most" in last.body


def test_troubles_of_several_topics_are_a_message_each(ledger: Ledger, hook: Webhook) -> None:
    Ticks(ledger, hook.url()).look(AWAY, KEY)
    assert hook.titles == [
        "pipeline: somebody is needed: pdl auth (3)",
        "pipeline: calls are paused: pdl (200)",
    ]


def test_five_stuck_runs_are_told_once_and_those_that_follow_together(
    ledger: Ledger, hook: Webhook
) -> None:
    ticks = Ticks(ledger, hook.url())
    for number in range(12):
        event = Trouble(Topic.RUN_REPAIRED, f"run {number}", f"run {number}: Stuck.")
        ticks.look(events=[event])
    ticks.look(times=60)
    assert hook.titles == [
        "pipeline: a dead or stuck run was closed",
        "pipeline: a dead or stuck run was closed",
        "pipeline: 10 dead or stuck runs were closed",
    ]
    assert {one.tone for one in hook.taken} == {"info"}
    assert open_troubles(ledger) == []


def test_who_looks_at_one_topic_ends_nothing_of_another(ledger: Ledger, hook: Webhook) -> None:
    ticks = Ticks(ledger, hook.url())
    silent = Trouble(Topic.SILENT, "daemon", "The daemon has not ticked.")
    ticks.look(AWAY)
    ticks.look(silent, about=[Topic.SILENT])
    ticks.look(about=[Topic.SILENT], times=3)
    assert [one.subject for one in open_troubles(ledger)] == ["pdl"]
    assert hook.titles == [
        "pipeline: calls are paused: pdl (200)",
        "pipeline: something has gone silent: daemon",
        "pipeline: over: something has gone silent: daemon",
    ]


# -- channels that are away -----------------------------------------------------------------------


def test_a_webhook_that_is_down_for_three_ticks_is_told_once_it_is_back(
    ledger: Ledger, hook: Webhook
) -> None:
    ticks = Ticks(ledger, hook.url())
    hook.status = 503
    for _ in range(3):
        (problem,) = ticks.look(AWAY)
        assert problem.startswith(
            "Alerts to json:// (1 of 1 in PIPELINE_ALERT_URLS) could not be sent: "
        )
    (known,) = channel_problems(ledger)
    assert (known.sentence, known.since) == (problem, NOW)
    assert [one.is_told for one in open_troubles(ledger)] == [False]
    hook.status = 200
    assert ticks.look(AWAY) == []
    assert channel_problems(ledger) == []
    assert [one.told_at for one in open_troubles(ledger)] == [NOW + 3 * TICK_S]
    ticks.look(AWAY, times=40)
    assert hook.titles == ["pipeline: calls are paused: pdl (200)"]
    assert "for 3 min" in hook.taken[0].body


def test_what_came_and_went_while_a_channel_was_away_is_told_with_the_next_message(
    ledger: Ledger, hook: Webhook
) -> None:
    ticks = Ticks(ledger, hook.url())
    hook.status = 503
    ticks.look(AWAY)
    ticks.look()
    hook.status = 200
    ticks.look(times=3)
    assert hook.taken == []
    ticks.look(Trouble(Topic.BREAKER_OPEN, "rdap", "Calls to rdap are paused."))
    ticks.look(times=40)
    first, last = hook.taken
    assert "Came and went since 2027-01-15 08:00 UTC without a message: pdl once." in first.body
    assert last.title == "pipeline: over: calls are paused: rdap"


def test_one_channel_that_is_down_neither_misses_anything_nor_lets_another_hear_it_twice(
    ledger: Ledger, hook: Webhook
) -> None:
    with webhook() as shaky:
        ticks = Ticks(ledger, shaky.url(), hook.url())
        shaky.status = 503
        assert len(ticks.look(AWAY)) == 1
        assert len(ticks.look(AWAY, times=2)) == 1
        assert [one.told_at for one in open_troubles(ledger)] == [NOW]
        shaky.status = 200
        assert ticks.look(AWAY) == []
        ticks.look(times=40)
        expected = [
            "pipeline: calls are paused: pdl (200)",
            "pipeline: over: calls are paused: pdl",
        ]
        assert hook.titles == shaky.titles == expected


def test_a_url_that_cannot_be_used_is_said_and_keeps_no_other_from_being_told(
    ledger: Ledger, hook: Webhook
) -> None:
    (problem,) = Ticks(ledger, "slakc://a/b", hook.url()).look(AWAY)
    assert problem.startswith("Alerts to slakc:// (1 of 2 in PIPELINE_ALERT_URLS) could not be")
    assert len(hook.taken) == 1


def test_the_problem_of_a_channel_that_is_none_any_more_is_forgotten(
    ledger: Ledger, hook: Webhook
) -> None:
    hook.status = 500
    Ticks(ledger, hook.url()).look(AWAY)
    assert len(channel_problems(ledger)) == 1
    Ticks(ledger).look(AWAY)
    assert channel_problems(ledger) == []


def test_a_dead_channel_is_tried_ever_more_seldom_and_hears_all_once_it_is_back(
    ledger: Ledger, hook: Webhook
) -> None:
    ticks = Ticks(ledger, hook.url())
    hook.status = 503
    tried_at = []
    for _ in range(60):
        before, now = len(hook.refused), ticks.now
        assert len(ticks.look(AWAY)) == 1
        tried_at += [(now - NOW) / TICK_S] * (len(hook.refused) - before)
    assert tried_at == [0, 1, 3, 7, 15, 30, 45]
    (known,) = channel_problems(ledger)
    assert known.next_try_at == NOW + 60 * TICK_S
    hook.status = 200
    assert ticks.look(AWAY, KEY) == []
    assert len(hook.taken) == 2
    hook.status = 503
    ticks.look()
    assert channel_problems(ledger)[0].next_try_at == ticks.now, "it begins anew"


def test_a_channel_that_never_answers_costs_a_tick_ten_seconds_and_the_next_one_nothing(
    ledger: Ledger, hook: Webhook
) -> None:
    is_over = threading.Event()
    hook.play = lambda _request: is_over.wait(60) and None
    ticks = Ticks(ledger, hook.url() + "?cto=60&rto=60")
    began_at = time.monotonic()
    ticks.look(AWAY)
    first_s = time.monotonic() - began_at
    ticks.now = NOW + TICK_S / 2
    (problem,) = ticks.look(AWAY, KEY)
    second_s = time.monotonic() - began_at - first_s
    is_over.set()
    assert "did not answer within 10 s" in problem
    assert 9 < first_s < 13
    assert second_s < 2


def test_a_clock_that_was_put_back_keeps_no_alert_from_being_told(
    ledger: Ledger, hook: Webhook
) -> None:
    """An hour ahead: a try is under way, another failed, a trouble is there, an event is told."""
    ticks = Ticks(ledger, hook.url())
    ticks.now = NOW + 3_600
    hook.status = 503
    ticks.look(AWAY, times=6)
    (channel,) = notifier.channels(ticks.settings)
    again_at = NOW + 7_200
    assert ledger.alerts.channels.claim(channel.id, again_at, messages_since=0.0) is not None
    hook.status = 200
    ticks.now = NOW
    event = Trouble(Topic.RUN_REPAIRED, "run", "run 1: Stuck.")
    assert ticks.look(KEY, events=[event]) == []
    assert [one.subject for one in open_troubles(ledger)] == [KEY.subject]
    assert sorted(hook.titles) == [
        "pipeline: a dead or stuck run was closed",
        "pipeline: somebody is needed: pdl auth (3)",
    ]


# -- without a channel, and with a new one --------------------------------------------------------


def test_without_any_channel_what_is_wrong_is_kept_for_status(ledger: Ledger) -> None:
    ticks = Ticks(ledger)
    assert ticks.look(AWAY, times=2) == []
    ticks.look(AWAY, KEY)
    assert [
        (one.topic, one.subject, one.sentence, one.count, one.opened_at, one.is_told)
        for one in open_troubles(ledger)
    ] == [
        (Topic.BREAKER_OPEN, "pdl", AWAY.sentence, 200, NOW, False),
        (Topic.NEEDS_PERSON, "pdl auth", KEY.sentence, 3, NOW + 2 * TICK_S, False),
    ]
    ticks.look()
    assert open_troubles(ledger) == []


def test_a_new_channel_is_told_what_is_wrong_now_and_nothing_that_is_past(
    ledger: Ledger, hook: Webhook
) -> None:
    before = Ticks(ledger)
    event = Trouble(Topic.LIST_SET_ASIDE, "a.csv", "a.csv was set aside.")
    before.look(KEY, AWAY, events=[event])
    before.look(AWAY)
    after = Ticks(ledger, hook.url())
    after.now = before.now
    after.look(AWAY, events=[Trouble(Topic.LIST_SET_ASIDE, "b.csv", "b.csv was set aside.")])
    after.look(AWAY, times=40)
    assert hook.titles == [
        "pipeline: calls are paused: pdl (200)",
        "pipeline: a list was set aside",
    ]
    assert "b.csv" in hook.taken[1].body
    assert "a.csv" not in hook.taken[1].body


def test_what_is_neither_event_nor_lasting_trouble_is_refused_and_changes_nothing(
    ledger: Ledger,
) -> None:
    ticks = Ticks(ledger)
    with pytest.raises(ValueError, match="no event"):
        ticks.look(events=[AWAY])
    with pytest.raises(ValueError, match="never over"):
        ticks.look(AWAY, Trouble(Topic.RUN_REPAIRED, "run", "Stuck."))
    assert open_troubles(ledger) == []


def test_what_is_over_for_a_month_is_forgotten_and_what_lasts_is_not(
    ledger: Ledger, hook: Webhook
) -> None:
    ticks = Ticks(ledger, hook.url())
    ticks.look(AWAY, KEY, events=[Trouble(Topic.RUN_REPAIRED, "run", "Stuck.")])
    ticks.look(KEY)
    ticks.now += KEPT_S
    ticks.look(KEY)
    assert _rows(ledger) == (1, 1, 0)
    ticks.look(times=2)
    assert hook.titles[-1] == "pipeline: over: somebody is needed: pdl auth"


def _rows(ledger: Ledger) -> tuple[int, ...]:
    with ledger.database.read() as connection:
        return tuple(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (alerts, alert_tellings, alert_messages)
        )


# -- processes that tick at once, and that die ----------------------------------------------------


def test_two_that_tick_at_once_send_one_message(
    ledger: Ledger, second: Ledger, hook: Webhook
) -> None:
    """Whoever sends is held until the other one has ended its tick."""
    settings, begin, one_has_ended = _settings(hook.url()), threading.Barrier(2), threading.Event()
    hook.play = lambda _request: one_has_ended.wait(30) and None
    problems: list[list[str]] = []

    def tick(own: Ledger) -> None:
        begin.wait(10)
        problems.append(tell(own, settings, [AWAY, KEY], [], NOW))
        one_has_ended.set()

    threads = [threading.Thread(target=tick, args=[own]) for own in (ledger, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == [[], []]
    assert len(hook.taken) == 2
    assert len({one.title for one in hook.taken}) == 2
    assert len(open_troubles(ledger)) == 2


TELLS = """
import sys
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.ledger import Ledger
from resources.alerts import tell
from resources.core.alerting import Topic, Trouble
from resources.core.config import load_settings
_, database, url, now = sys.argv
settings = load_settings(alert_urls=[url])
trouble = Trouble(Topic.BREAKER_OPEN, "pdl", "Calls to pdl are paused.", 200)
event = Trouble(Topic.RUN_REPAIRED, "run", "run 1: Stuck.")
tell(Ledger(Database(database), 60.0), settings, [trouble], [event], float(now))
"""


def _killed_as_it_tells(ledger: Ledger, hook: Webhook) -> None:
    """Let a process tell, and kill it the moment its first message has arrived."""
    url = ledger.database.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", TELLS, url, hook.url(), repr(NOW)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def kill(_request: BaseHTTPRequestHandler) -> None:
        os.kill(process.pid, signal.SIGKILL)
        raise ConnectionAbortedError

    hook.play = kill
    out, _ = process.communicate(timeout=60)
    hook.play = None
    assert process.returncode == -signal.SIGKILL, out


def test_who_is_killed_between_sending_and_writing_down_loses_nothing(
    ledger: Ledger, hook: Webhook
) -> None:
    _killed_as_it_tells(ledger, hook)
    # What it had handed over may still be sent; none of it is written down as told.
    sent = hook.titles
    assert sent[:1] == ["pipeline: calls are paused: pdl (200)"]
    assert [one.is_told for one in open_troubles(ledger)] == [False]
    ticks = Ticks(ledger, hook.url())
    ticks.now = NOW + CLAIM_S - 1
    ticks.look(AWAY)
    assert hook.titles == sent, "it may still be on its way"
    ticks.look(AWAY)
    again = ["pipeline: calls are paused: pdl (200)", "pipeline: a dead or stuck run was closed"]
    assert hook.titles == sent + again
    ticks.look(AWAY, times=40)
    assert hook.titles == sent + again
    assert [one.is_told for one in open_troubles(ledger)] == [True]


def test_a_thousand_troubles_are_noted_and_told_as_one(ledger: Ledger, hook: Webhook) -> None:
    ticks = Ticks(ledger, hook.url())
    many = [Trouble(Topic.NO_PROGRESS, f"b-{n:05}", "It waits.") for n in range(1_000)]
    ticks.look(*many, times=2)
    ticks.look(times=2)
    assert len(hook.taken) == 2
    assert _rows(ledger) == (1_000, 1_000, 2)


def test_a_claim_that_was_taken_over_gives_back_nobody_elses(ledger: Ledger) -> None:
    ledger.alerts.note([AWAY], [], NOW, channels={"one": "json://"})
    channels = ledger.alerts.channels
    first = channels.claim("one", NOW, messages_since=0.0)
    assert first is not None
    assert channels.claim("one", NOW + CLAIM_S - 1, messages_since=0.0) is None
    other = channels.claim("one", NOW + CLAIM_S, messages_since=0.0)
    assert other is not None
    channels.settle(first, NOW + CLAIM_S)
    assert channels.claim("one", NOW + CLAIM_S, messages_since=0.0) is None
    channels.settle(other, NOW + CLAIM_S)
    assert channels.claim("one", NOW + CLAIM_S, messages_since=0.0) is not None
    assert channels.claim("unknown", NOW, messages_since=0.0) is None


def test_what_happens_to_a_subject_once_is_told_once_by_whoever_tells_next(
    ledger: Ledger, hook: Webhook
) -> None:
    ticks = Ticks(ledger, hook.url())
    ticks.look()
    closed = Trouble(Topic.RUN_REPAIRED, "run-1", "run run-1: its worker is gone.")
    for _ in range(2):  # as after a crash between the note and the end of the tick
        ledger.alerts.happened(closed, NOW)
    for _ in range(3):
        ticks.look()
    ledger.alerts.happened(closed, NOW + 9)
    ticks.look()
    assert [one.title for one in hook.taken] == ["pipeline: a dead or stuck run was closed"]
