"""Messages to channels: a real webhook on loopback, and everything that one may do wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.adapters.notifier import (
    UNUSABLE,
    Channel,
    Delivery,
    channels,
    deliver,
    unusable_urls,
)
from resources.core.alert_text import Message, Tone
from resources.core.config import Settings, load_settings
from tests.support.requirements import ROOT
from tests.support.webhook import Webhook, webhook

ONE = Message("title one", "body one", Tone.TROUBLE)
TWO = Message("title two", "body two", Tone.OVER)
THREE = Message("title three", "body three", Tone.NOTE)
SECRET = "xoxb-0123456789-abcdef"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is reached directly, also where the way out is a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _settings(*urls: str) -> Settings:
    return load_settings(alert_urls=urls)


def _channels(*urls: str) -> list[Channel]:
    return channels(_settings(*urls))


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


# -- which channels there are ---------------------------------------------------------------------


def test_a_channel_is_named_by_scheme_and_place_and_nothing_else_of_its_url() -> None:
    found = _channels(f"slack://{SECRET}/b/c", f"mailto://me:{SECRET}@example.com", SECRET)
    assert [one.name for one in found] == [
        "slack:// (1 of 3 in PIPELINE_ALERT_URLS)",
        "mailto:// (2 of 3 in PIPELINE_ALERT_URLS)",
        "address (3 of 3 in PIPELINE_ALERT_URLS)",
    ]
    assert not any(part in repr(found) for part in (SECRET, "example.com"))


def test_a_channels_id_stays_whatever_others_there_are_and_gives_nothing_away() -> None:
    one, two = "json://127.0.0.1/one", "json://127.0.0.1/two"
    alone, (other, again) = _channels(one), _channels(two, one)
    assert alone[0].id == again.id != other.id
    assert len(alone[0].id) == 32


def test_a_url_that_is_named_twice_is_one_channel() -> None:
    url = "json://127.0.0.1/one"
    assert [one.name for one in _channels(url, url)] == ["json:// (1 of 1 in PIPELINE_ALERT_URLS)"]


def test_without_urls_there_is_no_channel_and_nothing_wrong() -> None:
    assert _channels() == []
    assert unusable_urls(_settings()) == []
    assert deliver({}) == {}


def test_urls_that_nothing_can_be_sent_to_are_named_without_their_secrets() -> None:
    names = unusable_urls(
        _settings(
            "json://127.0.0.1/x",
            f"slakc://{SECRET}/b/c",
            f"discord://{SECRET}",
            SECRET,
            f"https://example.com/{SECRET}",
            f"mailto://me:{SECRET}@example.com",
            "JSON://",
        )
    )
    assert names == [
        f"{which} ({number} of 7 in PIPELINE_ALERT_URLS)"
        for which, number in (
            ("slakc://", 2),
            ("discord://", 3),
            ("address", 4),
            ("https://", 5),
            ("json://", 7),
        )
    ]


URLS = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}://{}".format,
        st.sampled_from(["json", "mailto", "slack", "discord", "tgram", "ntfy", "https", "x"]),
        st.text(max_size=40),
    ),
)


@given(URLS)
@settings(max_examples=60)
def test_no_url_however_wrong_ends_in_an_error(url: str) -> None:
    (channel,) = _channels(url)
    assert unusable_urls(_settings(url)) in ([], [channel.name])


# -- what arrives ---------------------------------------------------------------------------------


def test_messages_arrive_in_order_with_title_body_and_tone(hook: Webhook) -> None:
    (channel,) = _channels(hook.url("a/path"))
    assert deliver({channel: [ONE, TWO, THREE]}) == {channel: Delivery((0, 1, 2))}
    assert [(one.path, one.title, one.body, one.tone) for one in hook.taken] == [
        ("/a/path", "title one", "body one", "warning"),
        ("/a/path", "title two", "body two", "success"),
        ("/a/path", "title three", "body three", "info"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<b>&amp;</b> *x* _y_ `pipeline retry`",
        "C:\\new\\table \\u0041",
        ":smile: äöü 日本",
        "${HOME}",
    ],
)
def test_a_text_arrives_as_it_is(hook: Webhook, text: str) -> None:
    (channel,) = _channels(hook.url())
    deliver({channel: [Message(text, f"{text}\n{text}", Tone.NOTE)]})
    assert [(one.title, one.body) for one in hook.taken] == [(text, f"{text}\n{text}")]


def test_each_channel_gets_its_own_messages(hook: Webhook) -> None:
    one, two = _channels(hook.url("one"), hook.url("two"))
    assert deliver({one: [ONE], two: [ONE, TWO]}) == {one: Delivery((0,)), two: Delivery((0, 1))}
    assert sorted((each.path, each.title) for each in hook.taken) == [
        ("/one", "title one"),
        ("/two", "title one"),
        ("/two", "title two"),
    ]


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 401, 404, 429, 500, 503])
def test_what_is_not_taken_is_not_sent(hook: Webhook, status: int) -> None:
    (channel,) = _channels(hook.url())
    hook.status = status
    delivery = deliver({channel: [ONE, TWO]})[channel]
    assert delivery.sent == ()
    assert delivery.problem is not None
    assert str(status) in delivery.problem
    assert [one.title for one in hook.refused] == ["title one", "title two"]


def test_one_message_that_is_refused_keeps_no_other_from_being_told(hook: Webhook) -> None:
    (channel,) = _channels(hook.url())

    def refuse_the_second(_request: BaseHTTPRequestHandler) -> None:
        hook.status = 500 if len(hook.refused) + len(hook.taken) == 1 else 200

    hook.play = refuse_the_second
    delivery = deliver({channel: [ONE, TWO, THREE]})[channel]
    assert (delivery.sent, hook.titles) == ((0, 2), ["title one", "title three"])
    assert delivery.problem is not None
    assert "500" in delivery.problem


def test_one_channel_that_fails_keeps_no_other_from_being_told(hook: Webhook) -> None:
    dead = f"json://127.0.0.1:{_free_port()}/x"
    away, wrong, well = _channels(dead, f"slakc://{SECRET}", hook.url())
    result = deliver({away: [ONE], wrong: [ONE], well: [ONE]})
    assert (result[well], hook.titles) == (Delivery((0,)), ["title one"])
    assert result[wrong] == Delivery((), UNUSABLE)
    assert result[away].sent == ()
    assert result[away].problem is not None


def test_what_a_problem_says_holds_no_part_of_the_url(hook: Webhook) -> None:
    hook.status = 500
    secrets = ["me-0123456", "hunter2-abc", "T0001234", "q-0123456", "v-0123456"]
    user, password, path, name, value = secrets
    urls = [
        f"json://{user}:{password}@127.0.0.1:{port}/{path}?-{name}={value}"
        for port in (hook.port, _free_port())
    ]
    for channel, delivery in deliver({one: [ONE] for one in _channels(*urls)}).items():
        said = f"{channel.name} {delivery.problem}"
        assert delivery.problem
        assert not any(secret in said for secret in (*secrets, str(hook.port)))


def test_a_channel_that_never_answers_is_given_up_in_time_and_tried_anew(hook: Webhook) -> None:
    let_go = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        """Say a little again and again: every single wait is a short one."""
        request.wfile.write(b"HTTP/1.0 200 OK\r\n")
        while not let_go.wait(0.2):
            request.wfile.write(b"X-Drip: 1\r\n")

    slow, well = _channels(hook.url("slow"), hook.url("well"))
    hook.play = lambda request: drip(request) if request.path == "/slow" else None
    began = time.monotonic()
    result = deliver({slow: [ONE, TWO], well: [ONE]}, limit_s=4.0)
    assert time.monotonic() - began < 8
    assert result[well] == Delivery((0,))
    assert result[slow] == Delivery((), "it did not answer within 4 s")
    let_go.set()
    hook.play = None
    assert deliver({slow: [TWO]}) == {slow: Delivery((0,))}
    arrived = [one.title for one in hook.taken if one.path == "/slow"]
    assert arrived == ["title one", "title two"], "nothing more is begun once it is given up"


HANGS = """
import sys
from resources.adapters.notifier import channels, deliver
from resources.core.alert_text import Message, Tone
from resources.core.config import load_settings
(channel,) = channels(load_settings(alert_urls=[sys.argv[1]]))
print(deliver({channel: [Message("title", "body", Tone.NOTE)]}, limit_s=0.5)[channel].problem)
"""


def test_a_channel_that_never_answers_does_not_keep_the_process_from_ending(hook: Webhook) -> None:
    has_ended = threading.Event()
    hook.play = lambda _request: has_ended.wait(60) and None
    done = subprocess.run(
        # It would read for longer than the test may take.
        [sys.executable, "-c", HANGS, hook.url() + "?rto=300"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    has_ended.set()
    assert (done.stdout, done.returncode) == ("it did not answer within 0.5 s\n", 0)


def test_alerts_are_not_redirected_to_where_pages_are(hook: Webhook) -> None:
    elsewhere = load_settings(
        alert_urls=[hook.url()], fetch={"connect_to": f"127.0.0.1:{_free_port()}"}
    )
    (channel,) = channels(elsewhere)
    assert deliver({channel: [ONE]}) == {channel: Delivery((0,))}


def test_a_message_that_is_too_long_for_a_channel_is_cut_and_not_refused() -> None:
    import apprise

    from resources.adapters.alert_sender import service_of

    sms = service_of("bulksms://user:password@+15551234567")
    chosen = service_of("bulksms://user:password@+15551234567?overflow=split")
    assert sms is not None
    assert chosen is not None
    assert sms.overflow_mode == apprise.OverflowMode.TRUNCATE
    assert chosen.overflow_mode == apprise.OverflowMode.SPLIT
