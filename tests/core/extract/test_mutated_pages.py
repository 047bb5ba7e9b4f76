"""Broken pages: nothing raises, nothing takes long. `benchmarks/extraction_fuzz.py` runs more."""

import time
from pathlib import Path

import pytest

from benchmarks.extraction_fuzz import LIMIT_S, check
from benchmarks.mutated_pages import mutated, real_pages
from resources.core.extract import extract_page

DATA = Path(__file__).parents[3].parent / "shared" / "data"
URL = "https://www.acme.example/"
N = 20_000

HOSTILE = {
    "attributes": "<p " + " ".join(f"a{each}=1" for each in range(3 * N)) + ">x",
    "attributes with brackets": "<p " + " ".join(f'a{each}=">"' for each in range(3 * N)) + ">x",
    "attributes without values": "<p " + " ".join(f"a{each}" for each in range(3 * N)) + ">x",
    "deep": "<div>" * 2 * N + "x" + "</div>" * 2 * N,
    "deep, wrong ends": "<div>" * 900 + "x" + "</span>" * 4 * N,
    "formatting": "<p>" + "".join(f"<font color={each}>" for each in range(N)) + "<p>x" * N,
    "lists": "<ul><li>" * N + "</ul>" * N,
    "tables": "<table><tr><td>" * N,
    "foster parents": "<table>" + "<a href=x>x<tr>" * N,
    "nested links": "<a href=x><div>" * N,
    "headings": "<h1>x<a href=/x>" * N,
    "svg": "<svg><g>" * N,
    "templates": "<template>x" * N,
    "comments": "<!--" * 10 * N,
    "brackets": "<a" * 20 * N,
    "cells": "<table><tr>" + "<td>a" * 4 * N,
    "one word": "<p>" + "x" * 100 * N,
    "white space": "<p>" + " \n" * 50 * N + "x",
    "entities": "<p>" + "&#x41;" * 20 * N,
    "digits": "<p>" + "1" * 50 * N,
    "numbers": "<p>" + "12 (34) " * 20 * N,
    "telephones": "<p>" + "+49 30 901820 " * 5 * N,
    "labels": "<p>" + "tel fax " * 10 * N,
    "at signs": "<p>" + "a@" * 50 * N,
    "disguises": "<p>" + "a at b dot c [at] " * 10 * N,
    "legal forms": "<p>" + "Acme GmbH " * 10 * N,
    "capitals": "<p>" + "Aa " * 20 * N + "GmbH",
    "postcodes": "<p>" + "1 Main St, Aa, NY 12345 " * 10 * N,
    "streets": "<p>" + "Aweg 12 Street " * 10 * N + "12345 Aa",
    "copyright": "<p>" + "copyright (c) " * 10 * N,
    "tax numbers": "<p>" + "VAT Company No HRB " * 10 * N,
    "title": "<title>" + " - |" * 10 * N,
    "json": '<script type="application/ld+json">' + '{"a":' * 5 * N,
    "json strings": '<script type="application/ld+json">' + '"\\' * 10 * N,
    "json comments": '<script type="application/ld+json">' + "/*<!--" * 10 * N,
    "items": "<div itemscope itemtype=Store>" * N + "<b itemprop=name>x</b>" * N,
    "teasers": "<div><h3><a href=x>Words</a></h3><p>More of them, enough to vote.</p></div>" * N,
    "classes": "".join(f"<div class='related{each}-x'>x</div>" for each in range(2 * N)),
    "parents in links": ("<a href='/" + "../" * 600 + "'>x</a>") * (N // 10),
    "CJK": "<p>" + "株式会社" * 10 * N,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_that_is_made_to_take_long_does_not(name):
    """Each of these took minutes, or quadratic time, in some parser or pattern."""
    start = time.thread_time()
    extract_page(HOSTILE[name].encode(), URL, "text/html")
    assert time.thread_time() - start < LIMIT_S


@pytest.mark.skipif(
    not (DATA / "business_pages").is_dir(), reason="real pages (../shared/data) are not here"
)
def test_mutated_pages_are_extracted_and_come_back_from_json():
    for page in mutated(real_pages(DATA), count=300, seed=1):
        start = time.thread_time()
        check(page)
        assert time.thread_time() - start < LIMIT_S
