"""What a robots.txt says: Protego's cases, thousands of real files, and files made to hurt."""

from __future__ import annotations

import json
import random
import tarfile
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protego import Protego

from resources.core.robots_rules import AGENT, MAX_BYTES, MOST_SITEMAPS, RobotsRules
from tests.support.requirements import shared_data

REAL_FILES = 4_231
URL = "https://acme.example"


def _cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        shared_data("robots/protego_cases.json").read_text(encoding="utf-8")
    )["cases"]
    return found


def test_every_case_of_what_is_allowed_is_decided_as_expected() -> None:
    cases = [case for case in _cases() if "allowed" in case]
    assert len(cases) == 301
    for case in cases:
        rules = RobotsRules(case["robots_txt"], case["user_agent"])
        assert rules.may_fetch(case["url"]) is case["allowed"], case


def test_every_case_of_delays_is_read_as_expected() -> None:
    cases = [case for case in _cases() if case.get("property") == "crawl_delay"]
    assert len(cases) == 6
    for case in cases:
        delay_s = RobotsRules(case["robots_txt"], case["user_agent"]).crawl_delay_s
        assert delay_s == (case["value"] or 0.0), case


@cache
def _real_files() -> list[bytes]:
    with tarfile.open(shared_data("robots/real_robots_txt.tar.gz")) as archive:
        return [
            opened.read()
            for member in archive
            if member.isfile()
            and not member.name.endswith("LICENSE")
            and (opened := archive.extractfile(member)) is not None
        ]


def _paths_of(text: str) -> Iterator[str]:
    """Paths that the file's own rules are about, and some that they are not."""
    yield from ("/", "/about", "/wp-admin/", "/search?q=a")
    for line in text.splitlines()[:400]:
        name, _, value = line.partition(":")
        path = value.partition("#")[0].strip()
        if name.strip().lower() in ("allow", "disallow") and path.startswith("/"):
            yield path.replace("*", "x").rstrip("$")[:300]


def test_real_files_say_the_same_as_to_the_parser_that_reads_all_of_them() -> None:
    files = _real_files()
    assert len(files) == REAL_FILES
    chooser = random.Random(5)
    for body in files:
        rules = RobotsRules.from_bytes(body)
        text = body[:MAX_BYTES].decode("utf-8-sig", errors="replace")
        whole = Protego.parse(text)
        paths = list(_paths_of(text))
        for path in chooser.sample(paths, min(8, len(paths))):
            assert rules.may_fetch(URL + path) == whole.can_fetch(URL + path, AGENT), (path, text)
        assert rules.crawl_delay_s >= min(whole.crawl_delay(AGENT) or 0.0, 86_400.0)
        assert len(rules.sitemaps) <= MOST_SITEMAPS


def test_mutated_real_files_never_end_in_an_error() -> None:
    chooser = random.Random(7)
    files = _real_files()
    for _ in range(1_500):
        body = bytearray(chooser.choice(files)[:20_000])
        for _ in range(chooser.randint(1, 30)):
            if body:
                body[chooser.randrange(len(body))] = chooser.randrange(256)
        cut = chooser.randrange(len(body) + 1)
        rules = RobotsRules.from_bytes(bytes(body[cut:] + body[:cut]))
        assert rules.may_fetch(URL + "/about") in (True, False)
        assert 0.0 <= rules.crawl_delay_s <= 86_400.0


LINES = st.lists(
    st.tuples(
        st.sampled_from(["User-agent", "Disallow", "Allow", "Crawl-delay", "Request-rate"])
        | st.sampled_from(["Sitemap", "user agent", "Host", "Visit-time", "", "x"]),
        st.sampled_from([":", " ", ": ", " : ", ""]),
        st.sampled_from(["*", "pipeline", "pipe*", "p", "other", "/", "/a", "/*a$", "$", "1/10s"])
        | st.text(max_size=12),
    ).map("".join),
    max_size=12,
)


@given(LINES, st.sampled_from(["/", "/a", "/b?c", "/robots.txt", "", "//x", "/%2F"]))
def test_whatever_is_written_is_read_as_by_the_parser_that_reads_all_of_it(
    lines: list[str], path: str
) -> None:
    text = "\n".join(lines)
    if "pipeline" in text.lower().replace("user-agent: pipeline\n", ""):
        return  # with a version behind our name we take it for ours, and the parser does not
    assert RobotsRules(text).may_fetch(URL + path) == Protego.parse(text).can_fetch(
        URL + path, AGENT
    )


@given(st.binary(max_size=300))
def test_no_bytes_end_in_an_error(body: bytes) -> None:
    rules = RobotsRules.from_bytes(body)
    assert rules.may_fetch(URL) in (True, False)
    assert rules.crawl_delay_s >= 0.0


@pytest.mark.parametrize("name", ["pipeline", "Pipeline", "pipeline/2.0", "PIPELINE (x)", "pipe*"])
def test_we_are_meant_in_every_spelling_of_our_name(name: str) -> None:
    text = f"User-agent: *\nDisallow:\n\nUser-agent: {name}\nDisallow: /x\n"
    assert not RobotsRules(text).may_fetch(URL + "/x")


@pytest.mark.parametrize("name", ["mypipeline", "pipelines", "otherbot", "pipeline-x", "line"])
def test_others_are_not_us(name: str) -> None:
    assert RobotsRules(f"User-agent: {name}\nDisallow: /x\n").may_fetch(URL + "/x")


@pytest.mark.parametrize(
    ("line", "delay_s"),
    [
        ("Request-rate: 1/10s", 10.0),
        ("Request-rate: 2/1m", 30.0),
        ("Request-rate: 1/10\nCrawl-delay: 20", 20.0),
        ("Request-rate: 1/10\nCrawl-delay: 2", 10.0),
        ("Request-rate: 0/0", 0.0),
        ("Request-rate: 1/999999999d", 86_400.0),
    ],
)
def test_a_request_rate_is_a_delay(line: str, delay_s: float) -> None:
    assert RobotsRules(f"User-agent: *\n{line}\n").crawl_delay_s == delay_s


def test_a_rule_that_is_cut_off_does_not_become_another_rule() -> None:
    filler = b"User-agent: *\n" + b"#" * (MAX_BYTES - 14 - 12) + b"\n"
    body = filler + b"Disallow: /private\n"
    assert body[:MAX_BYTES].endswith(b"\nDisallow: /")
    assert RobotsRules.from_bytes(body).may_fetch(URL + "/about")


def test_sitemaps_are_named_once_and_not_without_end() -> None:
    lines = "\n".join(f"Sitemap: https://a.example/{n}.xml" for n in (1, 1, 2))
    assert RobotsRules(lines).sitemaps == ("https://a.example/1.xml", "https://a.example/2.xml")
    many = "\n".join(f"Sitemap: https://a.example/{n}.xml" for n in range(9_999))
    assert len(RobotsRules(many).sitemaps) == MOST_SITEMAPS
    assert RobotsRules(f"Sitemap: https://a.example/{'x' * 9_999}").sitemaps == ()


HOSTILE = {
    "agents times rules": "".join(f"User-agent: b{n % 3000}\n" for n in range(20_000))
    + "Disallow: /x\nDisallow: /y\n" * 8_000,
    "our name times rules": "".join(f"User-agent: pi{'*' * (n % 400)}p\n" for n in range(1_500))
    + "Disallow: /x\nDisallow: /y\n" * 8_000,
    "stars": "User-agent: *\n" + "Disallow: /*a*a*a*a*a*a*a*a*b$\n" * 15_000,
    "one pattern of stars": "User-agent: *\nDisallow: /" + "*a" * 200_000 + "b\n",
    "dollars": "User-agent: *\n" + "Disallow: /$$$$$$$$\n" * 20_000,
    "escapes": "User-agent: *\n" + "Disallow: /%C3%28%zz%\n" * 20_000,
    "spaces in a name": "user" + " " * 400_000 + "agent: x\n",
    "a line of spaces": " " * 500_000,
    "one line": "a" * 500_000,
    "colons": ":" * 500_000,
    "delays": "User-agent: *\n" + "Crawl-delay: 9" + "9" * 100_000 + "\n",
    "rates": "User-agent: *\nRequest-rate: " + "9" * 4_000 + "/" + "9" * 4_000 + "d\n",
    "line ends": "\r\n\x0b\x0c\x1c\x85\u2028" * 60_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_that_is_made_to_hurt_costs_little(text: str) -> None:
    began = time.process_time()
    rules = RobotsRules.from_bytes(text.encode()[:MAX_BYTES])
    for path in ("/" + "a" * 1_900, "/x", "/%41", "/" + "/" * 1_000):
        rules.may_fetch(URL + path)
    assert rules.crawl_delay_s >= 0.0
    assert time.process_time() - began < 2.0
