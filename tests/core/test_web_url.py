"""Which URLs are fetched at all: what programs read in two ways is not."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from resources.core.errors import FailureKind
from resources.core.web_url import MAX_URL_CHARS, unreadable, url_refusal

WEB = (80, 443)


def _kind(url: str, ports: tuple[int, ...] = WEB) -> FailureKind | None:
    refusal = url_refusal(url, ports)
    return refusal.kind if refusal else None


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.example",
        "https://acme.example/",
        "HTTPS://ACME.example/a?b#c",
        "http://acme.example:80/",
        "http://acme.example:/",
        "http://acme.example./",
        "http://acme_shop.example/",
        "http://93.184.215.14/",
        "http://[2606:4700:4700::1111]/",
        "http://m\u00fcller.example/\u00fcber uns?q=\u00e4#\u00f6",
        "http://\u4f1a\u793e.example/",
        "http://acme.example/@user",
        "http://acme.example?@evil.example/",
        "http://acme.example/a//b/../c;d",
    ],
)
def test_what_everybody_reads_alike_is_fetched(url: str) -> None:
    assert _kind(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acme.example",
        "//acme.example/",
        "ftp://acme.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "dict://127.0.0.1:11211/stats",
        "javascript:alert(1)",
        "data:text/html,x",
        "http:acme.example",
        "http:/acme.example",
        "http:///acme.example",
        "http://",
        "http://?x",
        "http://#x",
        # control characters, which some drop
        "http://acme\t.example/",
        "http://acme.example/\r\nX-Injected: 1",
        "http://acme.example\x00.evil.example/",
        "ht\ntp://acme.example/",
        "http://acme.example/\x7f",
        "http://acme.example/\udcff",
        # backslashes, which some take for slashes
        "http:\\\\acme.example\\",
        "http://acme.example\\@evil.example/",
        "http://evil.example/\\acme.example",
        "http://acme.example\\.evil.example/",
        # user info, behind which the host hides
        "http://user:secret@acme.example/",
        "http://acme.example@evil.example/",
        "http://acme.example:80@evil.example/",
        "http://@evil.example/",
        "http://a@b@evil.example/",
        "http://acme.example%40evil.example/",
        # hosts
        "http://acme%2eexample/",
        "http://acme.example%00.evil.example/",
        "http://acme .example/",
        "http://acme..example/",
        "http://.acme.example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 150 + "example/",
        "http://[::1",
        "http://[bad]/",
        "http://[fe80::1%25eth0]/",
        "http://[::1]x/",
        "http://[v1.fe80::a]/",
        "http://a<b>.example/",
        # numbers, which some take for addresses
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://127.0.0.1.5/",
        "http://127.0.0.0x1/",
        "http://acme.0x/",
        "http://1.2.3.256/",
        "http://\uff11\uff12\uff17.1/",
        "http://\u2460\u2461\u2466\u30021/",
        # ports
        "http://acme.example:99999/",
        "http://acme.example:0/",
        "http://acme.example:port/",
        "http://acme.example:+80/",
        "http://acme.example:80:80/",
        "http://acme.example:\uff18\uff10/",
        "http://acme.example:000080/",
        "http://acme.example/" + "a" * MAX_URL_CHARS,
    ],
)
def test_what_can_be_read_in_two_ways_is_no_web_address(url: str) -> None:
    assert _kind(url) is FailureKind.MALFORMED


@pytest.mark.parametrize("port", [22, 25, 6379, 8080])
def test_other_ports_are_closed_until_they_are_named(port: int) -> None:
    assert _kind(f"http://acme.example:{port}/") is FailureKind.BLOCKED_ADDRESS
    assert _kind(f"http://acme.example:{port}/", (port,)) is None
    assert _kind("https://acme.example/", (port,)) is FailureKind.BLOCKED_ADDRESS


@pytest.mark.parametrize(
    "target", ["\\\\evil.example", "/\\evil.example", "///evil.example", "/\ta"]
)
def test_the_target_of_a_redirect_is_looked_at_before_it_is_joined(target: str) -> None:
    assert unreadable(target)


@pytest.mark.parametrize("target", ["/a", "//other.example/", "a?b", "", "http://x.example/"])
def test_plain_targets_pass(target: str) -> None:
    assert unreadable(target) is None


PIECES = st.sampled_from(
    ["http://", "https://", "//", "/", "\\", "@", ":", "80", "?", "#", ".", "[", "]", "::1", "%40"]
    + ["acme.example", "evil.example", "127.0.0.1", "0x7f", "\t", "\x00", " ", "\u3002", "\uff0e"]
    + ["\u00e4", "1", "x", "%00", ";", "&", "*", "\u200b", "\u00ad"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join)))
def test_two_parsers_find_the_same_host_in_whatever_passes(text: str) -> None:
    url = "http://" + text
    if url_refusal(url, WEB) is not None:
        return
    try:
        sent = URL(url)
        host = URL.build(scheme="http", host=urlsplit(url).hostname or "").raw_host
    except ValueError:
        return  # no name once it is encoded: the client does not send it
    assert sent.raw_user is None
    seen = urlsplit(url)
    assert (seen.hostname or "") != ""
    assert host == sent.raw_host
    assert (seen.port or 80) == sent.port
