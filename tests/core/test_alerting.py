"""Which troubles are new or over, and when a channel is told: grouped, limited, nothing lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from resources.core.alerting import (
    Alert,
    Decisions,
    News,
    Topic,
    Trouble,
    decide_alerts,
    decide_news,
    may_send,
)
from tests.support.time import NOW

INTERVAL_S = 1_800.0
OPEN, REPAIRED = Topic.BREAKER_OPEN, Topic.RUN_REPAIRED
EVENTS = [topic for topic in Topic if topic.is_event]
LASTING = [topic for topic in Topic if not topic.is_event]


def _alert(id: int = 1, subject: str = "pdl", topic: Topic = OPEN, **changes: Any) -> Alert:
    alert = Alert(id, topic, subject, f"{subject} is away", 1, 1, NOW - 60, NOW - 60)
    return replace(alert, **changes)


def _told(id: int = 1, subject: str = "pdl", **changes: Any) -> Alert:
    return _alert(id, subject, told_at=NOW - 60, **changes)


# -- what is wrong ------------------------------------------------------------------------------


def test_what_was_not_there_is_opened_and_what_is_not_there_any_more_is_closed() -> None:
    gone, there = _alert(1, "pdl"), _alert(2, "rdap")
    trouble = Trouble(OPEN, "rdap", "rdap is still away", 7)
    new = Trouble(OPEN, "wikidata", "wikidata is away")
    changes = decide_alerts([gone, there], [trouble, new], NOW)
    assert (changes.open, changes.update, changes.close) == ([new], {2: trouble}, [1])


def test_the_same_subject_is_another_trouble_in_another_topic() -> None:
    trouble = Trouble(Topic.NEEDS_PERSON, "pdl", "its key is wrong")
    changes = decide_alerts([_alert(1, "pdl")], [trouble], NOW)
    assert (changes.open, changes.update, changes.close) == ([trouble], {}, [1])


def test_two_hundred_batches_with_one_subject_are_one_alert_with_their_count() -> None:
    troubles = [Trouble(OPEN, "pdl", f"batch {n} waits") for n in range(200)]
    (opened,) = decide_alerts([], troubles, NOW).open
    assert (opened.sentence, opened.count) == ("batch 0 waits", 200)


def test_who_has_not_looked_at_a_topic_closes_nothing_of_it() -> None:
    open_alerts = [_alert(1, "pdl"), _alert(2, "heal_batches", Topic.SILENT)]
    assert decide_alerts(open_alerts, [], NOW, about=[Topic.SILENT]).close == [2]
    assert decide_alerts(open_alerts, [], NOW, about=[]).close == []
    new = Trouble(OPEN, "rdap", "away")
    assert decide_alerts([], [new], NOW, about=[Topic.SILENT]).open == [new]


@pytest.mark.parametrize(("seen_s_ago", "is_left"), [(-1.0, True), (0.0, False), (1.0, False)])
def test_an_older_look_changes_nothing_that_a_newer_one_has_seen(
    seen_s_ago: float, is_left: bool
) -> None:
    seen = _alert(1, seen_at=NOW - seen_s_ago)
    assert (decide_alerts([seen], [], NOW).close == []) == is_left
    again = decide_alerts([seen], [Trouble(OPEN, "pdl", "away", 9)], NOW)
    assert (again.update == {}) == is_left
    assert again.open == []


@pytest.mark.parametrize("topic", EVENTS)
def test_what_has_happened_is_no_trouble_that_could_be_over(topic: Topic) -> None:
    with pytest.raises(ValueError, match="event"):
        decide_alerts([], [Trouble(topic, "x", "x")], NOW)


# -- when a message goes out ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent_s_ago", "may"),
    [
        ((), True),
        ((0,), True),
        ((60,), True),
        ((60, 30), False),
        ((INTERVAL_S + 60, INTERVAL_S - 1), False),
        ((INTERVAL_S + 60, INTERVAL_S), True),
        ((2 * INTERVAL_S - 1, 60), False),
        ((2 * INTERVAL_S, 60), True),
        ((9 * INTERVAL_S, 60), True),
        ((60, 2 * INTERVAL_S), True),
        ((2 * INTERVAL_S, 60, 30), False),
        ((-60, -30), True),
        ((-60, 30), True),
    ],
)
def test_two_messages_may_follow_each_other_and_then_there_is_one_an_interval(
    sent_s_ago: tuple[float, ...], may: bool
) -> None:
    assert may_send([NOW - ago for ago in sent_s_ago], NOW, INTERVAL_S) == may


def test_without_an_interval_nothing_is_held_back() -> None:
    assert may_send([NOW - 1, NOW], NOW, 0.0)


def _news(
    alerts: Sequence[Alert], sent_s_ago: Sequence[float] = (), topic: Topic = OPEN
) -> Decisions:
    recent = {topic: [NOW - ago for ago in sent_s_ago]}
    return decide_news(alerts, recent, NOW, INTERVAL_S)


def _ids(decisions: Decisions) -> list[tuple[list[int], list[int], list[int], int]]:
    return [
        (
            [one.id for one in news.new],
            [one.id for one in news.over],
            [one.id for one in news.passed],
            news.still_open,
        )
        for news in decisions.send
    ]


OVER = NOW - 10
HELD_BACK = (60.0, 30.0)
CASES: dict[str, tuple[Sequence[Alert], Sequence[float], list[object]]] = {
    "nothing is wrong": ([], (), []),
    "it is known already": ([_told()], (), []),
    "one is new": ([_alert()], (), [([1], [], [], 0)]),
    "several are new, oldest first": (
        [_alert(2, "b"), _alert(3, "a", opened_at=NOW - 90)],
        (),
        [([3, 2], [], [], 0)],
    ),
    "one is new beside another": ([_alert(1), _told(2, "rdap")], (), [([1], [], [], 1)]),
    "one is new, and held back": ([_alert()], HELD_BACK, []),
    "it is over": ([_told(over_at=OVER)], (), [([], [1], [], 0)]),
    "it is over soon after it was told": ([_told(over_at=OVER)], (60.0,), [([], [1], [], 0)]),
    "it is over, and held back": ([_told(over_at=OVER)], HELD_BACK, []),
    "the first of two is over": ([_told(1, over_at=OVER), _told(2, "rdap")], (), []),
    "the first of two has been over for an interval": (
        [_told(1, over_at=NOW - INTERVAL_S), _told(2, "rdap")],
        (),
        [([], [1], [], 1)],
    ),
    "both are over": (
        [_told(1, over_at=NOW - 900), _told(2, "rdap", over_at=OVER)],
        (),
        [([], [1, 2], [], 0)],
    ),
    "one is over and another one new": (
        [_told(1, over_at=OVER), _told(2, "rdap"), _alert(3, "gleif")],
        (),
        [([3], [1], [], 1)],
    ),
    "nobody was told, and it is over": ([_alert(over_at=OVER)], (), []),
    "it came and went before, and is there again": (
        [_alert(1, over_at=NOW - 50), _alert(2, over_at=OVER), _alert(3)],
        (),
        [([3], [], [1, 2], 0)],
    ),
    "it is over and came and went once more": (
        [_told(1, over_at=NOW - 50), _alert(2, over_at=OVER)],
        (),
        [([], [1], [2], 0)],
    ),
}


@pytest.mark.parametrize(("alerts", "sent_s_ago", "expected"), CASES.values(), ids=CASES)
def test_a_channel_is_told_what_is_new_and_what_is_over(
    alerts: Sequence[Alert], sent_s_ago: Sequence[float], expected: list[object]
) -> None:
    decisions = _news(alerts, sent_s_ago)
    assert (_ids(decisions), decisions.carried) == (expected, [])


def test_what_comes_back_before_its_end_was_told_was_never_away() -> None:
    alerts = [_told(1, over_at=OVER), _alert(2), _told(3, "rdap")]
    decisions = _news(alerts, HELD_BACK)
    assert (decisions.send, decisions.carried) == ([], [(1, 2)])
    with_new = _news([*alerts, _alert(4, "gleif")])
    assert (_ids(with_new), with_new.carried) == ([([4], [], [], 2)], [(1, 2)])


def test_topics_are_told_and_limited_apart() -> None:
    alerts = [_alert(1), _alert(2, "heal_batches", Topic.SILENT)]
    assert [news.topic for news in _news(alerts).send] == [OPEN, Topic.SILENT]
    assert [news.topic for news in _news(alerts, HELD_BACK).send] == [Topic.SILENT]


def test_what_has_happened_is_told_once_and_never_over() -> None:
    events = [_alert(n, f"run {n}", REPAIRED, over_at=NOW - 60) for n in range(5)]
    assert _ids(_news(events, topic=REPAIRED)) == [([0, 1, 2, 3, 4], [], [], 0)]
    assert _news(events, HELD_BACK, REPAIRED).send == []


# -- whatever comes -------------------------------------------------------------------------------

SUBJECTS = ["a", "b", "c"]
TICK_S = 60.0
MACHINE_TOPICS = [Topic.BREAKER_OPEN, Topic.SILENT]
Key = tuple[Topic, str]


class Channel:
    """What a channel knows of: all that it believes comes from messages."""

    def __init__(self) -> None:
        self.told: dict[int, float] = {}
        self.told_over: set[int] = set()
        self.messages: dict[Topic, list[float]] = {}
        self.believes: set[Key] = set()
        self.events_heard = 0

    def look(self, alerts: Sequence[Alert], now: float, *, is_away: bool) -> None:
        mine = [
            replace(one, told_at=self.told.get(one.id))
            for one in alerts
            if one.id not in self.told_over
        ]
        decisions = decide_news(mine, self.messages, now, INTERVAL_S)
        for old, new in decisions.carried:
            self.told[new] = now
            self.told_over.add(old)
        for news in decisions.send:
            if not is_away:
                self._hear(news, now)

    def _hear(self, news: News, now: float) -> None:
        self.messages.setdefault(news.topic, []).append(now)
        heard = {(news.topic, one.subject) for one in news.new}
        over = {(news.topic, one.subject) for one in news.over}
        for one in (*news.new, *news.passed):
            assert one.id not in self.told, "told twice"
            self.told[one.id] = now
        for one in (*news.over, *news.passed):
            assert one.id in self.told, "an end without a beginning"
            self.told_over.add(one.id)
        if news.topic.is_event:
            self.events_heard += len(news.new)
            self.told_over |= {one.id for one in news.new}
            return
        assert heard.isdisjoint(self.believes), "told of what it knows"
        assert over <= self.believes, "told the end of what it does not know"
        assert heard or over
        mine = {key for key in self.believes if key[0] is news.topic}
        assert news.still_open == len(mine - over)
        self.believes = (self.believes | heard) - over


class Alerting(RuleBasedStateMachine):
    """Ticks once a minute; troubles come and go, and a second channel is away at times."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.alerts: list[Alert] = []
        self.present: dict[Key, float] = {}
        self.well, self.shaky = Channel(), Channel()
        self.events = 0
        self.is_away = False

    @rule(topic=st.sampled_from(MACHINE_TOPICS), subject=st.sampled_from(SUBJECTS))
    def comes(self, topic: Topic, subject: str) -> None:
        self.present.setdefault((topic, subject), self.now)

    @rule(topic=st.sampled_from(MACHINE_TOPICS), subject=st.sampled_from(SUBJECTS))
    def goes(self, topic: Topic, subject: str) -> None:
        self.present.pop((topic, subject), None)

    @rule(count=st.integers(1, 3))
    def happens(self, count: int) -> None:
        for _ in range(count):
            self.events += 1
            self._open(Trouble(REPAIRED, f"run {self.events}", "closed"), self.now)

    @rule(is_away=st.booleans())
    def the_second_channel_goes_away_or_comes_back(self, is_away: bool) -> None:
        self.is_away = is_away

    @rule(count=st.sampled_from([1, 1, 2, 29, 31]))
    def ticks(self, count: int) -> None:
        for _ in range(count):
            self._tick()

    @rule(subject=st.sampled_from(SUBJECTS), times=st.integers(1, 20))
    def flaps(self, subject: str, times: int) -> None:
        for _ in range(times):
            self.comes(OPEN, subject)
            self._tick()
            self.goes(OPEN, subject)
            self._tick()

    def _open(self, trouble: Trouble, over_at: float | None) -> None:
        number = len(self.alerts)
        self.alerts.append(
            Alert(
                number,
                trouble.topic,
                trouble.subject,
                trouble.sentence,
                trouble.count,
                trouble.count,
                self.now,
                self.now,
                over_at,
            )
        )

    def _tick(self) -> None:
        troubles = [Trouble(topic, subject, "away") for topic, subject in sorted(self.present)]
        changes = decide_alerts([one for one in self.alerts if one.is_open], troubles, self.now)
        for number in changes.close:
            self.alerts[number] = replace(self.alerts[number], over_at=self.now)
        for number in changes.update:
            self.alerts[number] = replace(self.alerts[number], seen_at=self.now)
        for trouble in changes.open:
            self._open(trouble, None)
        self.well.look(self.alerts, self.now, is_away=False)
        self.shaky.look(self.alerts, self.now, is_away=self.is_away)
        for key, since in self.present.items():
            is_late = self.now - since > INTERVAL_S
            assert not is_late or key in self.well.believes, "it lasts, and nobody was told"
        self.now += TICK_S

    @invariant()
    def messages_are_few(self) -> None:
        for channel in (self.well, self.shaky):
            for sent in channel.messages.values():
                for first, second, third in zip(sent, sent[1:], sent[2:], strict=False):
                    assert third - second >= INTERVAL_S or third - first >= 2 * INTERVAL_S
                elapsed_s = self.now - NOW
                assert len(sent) <= 2 + elapsed_s / INTERVAL_S

    @invariant()
    def there_is_one_alert_of_each_trouble(self) -> None:
        keys = [(one.topic, one.subject) for one in self.alerts if one.is_open]
        assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        """Whatever came before, two quiet intervals later everybody knows how things stand."""
        self.is_away = False
        for _ in range(2 * round(INTERVAL_S / TICK_S) + 2):
            self._tick()
        for channel in (self.well, self.shaky):
            assert channel.believes == set(self.present)
            assert channel.events_heard == self.events


def test_however_troubles_come_and_go_messages_are_few_and_nothing_is_lost() -> None:
    run_state_machine_as_test(Alerting, settings=settings(max_examples=60, stateful_step_count=30))


def _played(
    present: Mapping[int, Sequence[str]], ticks: int
) -> list[tuple[int, list[str], list[str]]]:
    """What a channel hears: (tick, new, over), when these subjects are wrong from a tick on."""
    machine, heard = Alerting(), []
    for tick in range(ticks):
        if tick in present:
            machine.present = {(OPEN, one): machine.now for one in present[tick]}
        before = len(machine.well.messages.get(OPEN, []))
        known = {subject for _, subject in machine.well.believes}
        machine._tick()
        if len(machine.well.messages.get(OPEN, [])) > before:
            knows = {subject for _, subject in machine.well.believes}
            heard.append((tick, sorted(knows - known), sorted(known - knows)))
    return heard


def test_an_outage_of_two_hundred_is_one_message_and_one_when_it_is_over() -> None:
    hit = [f"batch {n:03}" for n in range(200)]
    assert _played({0: hit, 10: []}, 120) == [(0, hit, []), (10, [], hit)]


def test_an_outage_that_ends_bit_by_bit_is_over_once() -> None:
    assert _played({0: ["a", "b", "c"], 5: ["b", "c"], 7: ["c"], 9: []}, 120) == [
        (0, ["a", "b", "c"], []),
        (9, [], ["a", "b", "c"]),
    ]


def test_a_trouble_that_comes_and_goes_is_a_message_an_interval() -> None:
    flapping = {tick: ["a"] if tick % 2 == 0 else [] for tick in range(241)}
    heard = _played(flapping, 240)
    assert len(heard) <= 2 + 240 * TICK_S / INTERVAL_S
    assert [tick for tick, _, _ in heard][:2] == [0, 1]


@given(
    st.lists(st.floats(0, 10 * INTERVAL_S), max_size=60).map(sorted),
    st.floats(1, 2 * INTERVAL_S),
)
def test_no_interval_ever_sees_more_than_two_messages(
    tries: list[float], interval_s: float
) -> None:
    sent: list[float] = []
    for at in tries:
        if may_send(sent, at, interval_s):
            sent.append(at)
    for first in sent:
        assert sum(first <= at < first + interval_s for at in sent) <= 2
    assert all(any(at - interval_s <= one <= at for one in sent) for at in tries)
