"""Sitemaps: the cases of others, real files, and texts that are made to hurt."""

from __future__ import annotations

import gzip
import json
import time
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.sitemap import MOST_URLS, SitemapEntry, read_sitemap
from tests.support.requirements import shared_data


def test_every_case_is_read_as_expected() -> None:
    cases = json.loads(shared_data("sitemaps/scrapy_sitemap_cases.json").read_text())["cases"]
    assert len(cases) == 10
    for case in cases:
        found = read_sitemap(case["xml"].encode())
        expected = [
            (one["loc"], "<sitemapindex" in case["xml"], tuple(one.get("alternate", ())))
            for one in case["expected"]
        ]
        assert [(one.url, one.is_sitemap, one.alternates) for one in found] == expected, case


@pytest.mark.parametrize(
    "name",
    ["sitemap.xml", "sitemap.xml.gz", "sitemap2.xml", "sitemap-hreflang.xml"],
)
def test_real_files_are_read_as_an_xml_parser_reads_them(name: str) -> None:
    body = shared_data(f"sitemaps/trafilatura_{name}").read_bytes()
    body = gzip.decompress(body) if name.endswith("gz") else body
    expected = [
        (element.findtext("{*}loc", "").strip(), element.tag.endswith("}sitemap"))
        for element in ElementTree.fromstring(body.strip())
        if element.findtext("{*}loc")
    ]
    assert len(expected) > 1
    found = read_sitemap(body)
    assert [(one.url, one.is_sitemap) for one in found] == expected
    assert any(one.alternates for one in found) == ("hreflang" in name)


def _urls(text: str) -> list[str]:
    return [one.url for one in read_sitemap(text.encode())]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", []),
        ("https://a.example/1\n\n  https://a.example/2  \r\nnothing\nftp://x/\n", ["/1", "/2"]),
        ("<urlset><url><loc>https://a.example/1</loc>", []),
        ("<url><loc>https://a.example/1</loc></url><url><loc>https://a.exam", ["/1"]),
        ("<url><loc><![CDATA[https://a.example/1]]></loc></url>", ["/1"]),
        ("<url><loc>https://a.example/?a=1&amp;b=2</loc></url>", ["/?a=1&b=2"]),
        ("<url><loc>https://a.example/?a=1&b=2</loc></url>", ["/?a=1&b=2"]),
        ("<url><loc>https://a.example/&#x31;&#50;</loc></url>", ["/12"]),
        ("<url><loc>https://a.example/&#0;&#xd800;&#9999999;1</loc></url>", ["/1"]),
        ("<URL><LOC>https://a.example/1</LOC></URL>", ["/1"]),
        ("<s:url><s:loc>https://a.example/1</s:loc></s:url>", ["/1"]),
        (
            "<url><loc>https://a.example/1</loc><image:image><image:loc>https://a.example/2"
            "</image:loc></image:image></url>",
            ["/1"],
        ),
        ("<!-- <url><loc>https://a.example/1</loc></url> --><url></url>", []),
        (
            "<!DOCTYPE x [<!ENTITY a 'https://evil.example'>]><url><loc>https://a.example/1&a;"
            "</loc></url>",
            ["/1"],
        ),
        ("<!DOCTYPE html><html><body><a href='/1'>x</a></body></html>", []),
        ("<url><loc></loc></url>", []),
        (f"<url><loc>https://a.example/{'x' * 3_000}</loc></url>", []),
    ],
)
def test_odd_texts_are_read_as_they_are_meant(text: str, urls: list[str]) -> None:
    assert _urls(text) == [f"https://a.example{url}" for url in urls]


def test_other_charsets_and_marks_are_read() -> None:
    text = "<url><loc>https://a.example/\u00fc</loc></url>"
    expected = (SitemapEntry("https://a.example/\u00fc"),)
    assert read_sitemap(b"\xef\xbb\xbf" + text.encode()) == expected
    assert read_sitemap(b"\xff\xfe" + text.encode("utf-16-le")) == expected


def test_only_so_many_are_read() -> None:
    line = "<url><loc>https://a.example/1</loc></url>"
    assert len(read_sitemap((line * 9_000).encode())) == MOST_URLS
    assert len(read_sitemap(b"https://a.example/1\n" * 9_000)) == MOST_URLS
    assert len(read_sitemap((line * 9_000).encode(), most=7)) == 7


HOSTILE = {
    "laughs": '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY b{n} "{"&a;" * 10}">' for n in range(9_000))
    + "]><url><loc>&b9;</loc></url>",
    "open comments": "<!--" * 500_000,
    "open sections": "<![CDATA[" * 200_000,
    "open doctypes": "<!DOCTYPE x [" * 150_000,
    "open tags": "<a" * 1_000_000,
    "deep": "<url>" * 400_000,
    "closing": "</url>" * 300_000,
    "tags": "<a>" * 700_000,
    "angles": "<" * 2_000_000,
    "spaces": "<url><loc>" + " " * 2_000_000 + "</loc></url>",
    "entities": "<url><loc>" + "&a;" * 600_000 + "</loc></url>",
    "one attribute": "<url><link href='" + "x" * 2_000_000 + "'/></url>",
    "attributes": "<url>" + "<link href = 'x' " * 100_000 + "/></url>",
    "alternates": "<url>" + "<link href='https://a.example/1'/>" * 60_000 + "</url>",
    "declarations": "<?" * 1_000_000,
    "marks": "<!" * 1_000_000,
    "lines": "\n" * 2_000_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_text_that_is_made_to_hurt_costs_little(text: str) -> None:
    began = time.process_time()
    assert len(_urls(text)) <= MOST_URLS
    assert time.process_time() - began < 2.0


PIECES = st.sampled_from(
    ["<", ">", "</", "/>", "<url>", "</url>", "<loc>", "</loc>", "<sitemap>", "</sitemap>", "<!--"]
    + ["-->", "<![CDATA[", "]]>", "<!DOCTYPE", "[", "]>", "<?xml", "?>", "&amp;", "&x;", "&#", ";"]
    + ["https://a.example/1", " ", "\n", "<xhtml:link href='", "'", '"', "x:", "\0"]
)


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=80))
def test_whatever_is_written_gives_addresses_or_nothing(text: str) -> None:
    for url in _urls(text):
        assert url == url.strip() != ""


@given(st.binary(max_size=200))
def test_no_bytes_end_in_an_error(body: bytes) -> None:
    assert len(read_sitemap(body)) <= MOST_URLS
