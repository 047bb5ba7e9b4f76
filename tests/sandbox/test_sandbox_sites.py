"""Company sites agree with the truth, and behave as real ones do."""

import gzip
import json
import re
import zlib
from collections import Counter
from html import unescape
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest


def works(truth):
    return truth["site"]["state"] == "works"


def page(sandbox, truth, name, **headers):
    return sandbox.ask(truth["site"]["paths"][name], host=truth["site"]["host"], **headers)


def test_a_site_has_every_page_that_its_home_page_links_to(sandbox):
    for layout in range(4):
        truth = sandbox.find(lambda one, n=layout: works(one) and one["site"]["layout"] == n)
        home = page(sandbox, truth, "home")
        assert home.headers["Content-Type"].startswith("text/html")
        links = {urlsplit(link).path for link in re.findall(r'<a[^>]+href="([^"]+)"', home.text)}
        paths = set(truth["site"]["paths"].values())
        assert paths <= links
        for path in paths:
            assert sandbox.ask(path, host=truth["site"]["host"]).status == 200
        assert unescape(truth["site"]["labels"]["about"]) in unescape(home.text)
        assert sandbox.ask("/no-such-page", host=truth["site"]["host"]).status == 404


@pytest.mark.parametrize(
    ("language", "path"),
    [("de", "/impressum"), ("fr", "/mentions-legales"), ("es", "/aviso-legal"),
     ("it", "/note-legali"), ("nl", "/colofon"), ("en", "/legal")],
)  # fmt: skip
def test_pages_are_in_the_language_of_the_country(sandbox, language, path):
    truth = sandbox.find(
        lambda one: (
            works(one) and one["language"] == language and one["site"]["paths"]["legal"] == path
        )
    )
    reply = page(sandbox, truth, "legal")
    assert f'<html lang="{language}">' in reply.text
    text = unescape(reply.text)
    assert truth["registration_number"] in text
    assert truth["legal_name"] in text


def test_the_contact_page_prints_what_is_true(sandbox):
    for form in ("mailto", "text", "brackets", "words", "entities"):
        truth = sandbox.find(lambda one, wanted=form: works(one) and one["email_form"] == wanted)
        source = page(sandbox, truth, "contact").text
        text = unescape(source)
        local = truth["email"].partition("@")[0]
        assert truth["phone"]["printed"] in text
        assert truth["address"]["street"] in text
        assert truth["address"]["city"] in text
        if form in ("mailto", "text", "entities"):
            assert truth["email"] in text
        else:
            assert truth["email"] not in text
            assert local in text
        assert (f"mailto:{truth['email']}" in source) == (form == "mailto")


def test_structured_data_says_what_the_truth_says(sandbox):
    truth = sandbox.find(lambda one: works(one) and one["site"]["markup"] == "json-ld")
    source = page(sandbox, truth, "home").text
    block = re.search(r'<script type="application/ld\+json">(.*?)</script>', source, re.DOTALL)
    content = json.loads(block.group(1))
    assert content["name"] == truth["name"]
    assert content["legalName"] == truth["legal_name"]
    assert content["address"]["postalCode"] == truth["address"]["postcode"]
    assert content["sameAs"] == list(truth["social"].values())
    plain = sandbox.find(lambda one: works(one) and one["site"]["markup"] == "none")
    assert "ld+json" not in page(sandbox, plain, "home").text


def test_names_from_a_list_are_used_and_escaped(start, tmp_path):
    file = tmp_path / "list.csv"
    rows = "".join(
        f'https://www.shop{n}.example/x,"Bob\'s <b>Shop</b> & {{Co}} {n}",Germany\n'
        for n in range(5)
    )
    file.write_text("\ufeffurl,name,country,other\n" + rows + "broken line\n")
    sandbox = start("--domains", str(file))
    truth = next(one for one in (sandbox.truth(f"shop{n}.example") for n in range(5)) if works(one))
    assert truth["name"].startswith("Bob's <b>Shop</b> & {Co}")
    assert truth["country"] == "DE"
    source = page(sandbox, truth, "home").text
    assert "<b>Shop" not in source
    assert truth["name"] in unescape(source)


def test_the_other_host_redirects_with_https_and_keeps_the_path(sandbox):
    for has_www in (True, False):
        truth = sandbox.find(
            lambda one, www=has_www: (
                works(one)
                and one["site"]["redirects_other_host"]
                and one["site"]["host"].startswith("www.") == www
            )
        )
        host = truth["site"]["host"]
        other = host.removeprefix("www.") if has_www else f"www.{host}"
        reply = sandbox.ask("/some/path?a=1", host=other)
        assert reply.status == 301
        assert reply.headers["Location"] == f"https://{host}/some/path?a=1"
        assert truth["website"] == f"https://{host}/"


def test_hosts_are_matched_whatever_their_case_and_port(sandbox):
    truth = sandbox.find(works)
    host = truth["site"]["host"]
    assert sandbox.ask("/", host=host.upper() + ":8080").body == page(sandbox, truth, "home").body


def test_gzip_is_answered_when_allowed_and_holds_the_same_page(sandbox):
    truth = sandbox.find(works)
    plain = page(sandbox, truth, "about")
    packed = page(sandbox, truth, "about", Accept_Encoding="br, gzip")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body


def test_conditional_requests_are_answered_304(sandbox):
    truth = sandbox.find(works)
    first = page(sandbox, truth, "home")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    again = page(sandbox, truth, "home", If_None_Match=etag)
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == etag
    assert page(sandbox, truth, "home", If_Modified_Since=modified).status == 304
    assert page(sandbox, truth, "home", If_None_Match='"other"').status == 200
    old = "Mon, 01 Jan 2001 00:00:00 GMT"
    assert page(sandbox, truth, "home", If_Modified_Since=old).status == 200


def test_a_head_request_has_the_headers_and_no_body(sandbox):
    truth = sandbox.find(works)
    whole = page(sandbox, truth, "home")
    reply = sandbox.ask("/", host=truth["site"]["host"], method="HEAD")
    assert reply.body == b""
    assert reply.headers["Content-Length"] == str(len(whole.body))


def test_robots_and_sitemaps_agree_with_the_truth(sandbox):
    forbidden = sandbox.find(lambda one: one["site"]["robots"] == "forbid_all")
    reply = sandbox.ask("/robots.txt", host=forbidden["site"]["host"])
    assert reply.text.startswith("User-agent: *\nDisallow: /\n")

    some = sandbox.find(
        lambda one: (
            one["site"]["robots"] == "some"
            and one["site"]["has_sitemap"]
            and not one["site"]["has_sitemap_index"]
        )
    )
    host = some["site"]["host"]
    robots = sandbox.ask("/robots.txt", host=host).text
    assert all(f"Disallow: {path}\n" in robots for path in some["site"]["disallowed"])
    assert f"Sitemap: https://{host}/sitemap.xml" in robots
    tree = ElementTree.fromstring(sandbox.ask("/sitemap.xml", host=host).body)
    urls = {element.text for element in tree.iter() if element.tag.endswith("loc")}
    assert urls == {f"https://{host}{path}" for path in some["site"]["paths"].values()}

    index = sandbox.find(
        lambda one: works(one) and one["site"]["has_sitemap"] and one["site"]["has_sitemap_index"]
    )
    host = index["site"]["host"]
    body = sandbox.ask("/sitemap.xml", host=host).text
    for part in re.findall(r"<loc>https://[^/]+([^<]+)</loc>", body):
        assert "<urlset" in sandbox.ask(part, host=host).text


def test_missing_and_parked_sites(sandbox):
    missing = sandbox.find(lambda one: one["site"]["state"] == "missing")
    for path in ("/", "/about", "/robots.txt"):
        assert sandbox.ask(path, host=missing["site"]["host"]).status == 404
    parked = sandbox.find(lambda one: one["site"]["state"] == "parked")
    for host in (parked["domain"], f"www.{parked['domain']}"):
        reply = sandbox.ask("/", host=host)
        assert reply.status == 200
        assert "for sale" in reply.text
        assert parked["phone"]["printed"] not in reply.text


def test_the_shares_of_the_truth_are_as_documented(sandbox):
    truths = [sandbox.truth(f"share{index}.example") for index in range(4000)]
    states = Counter(one["site"]["state"] for one in truths)
    assert 0.009 < states["missing"] / 4000 < 0.022
    assert 0.001 < states["parked"] / 4000 < 0.010
    forbids = sum(one["site"]["robots"] == "forbid_all" for one in truths)
    assert 0.005 < forbids / 4000 < 0.016
    for provider, share in (("pdl", 0.70), ("wikidata", 0.45), ("rdap", 0.97)):
        held = sum(one["providers"][provider] for one in truths) / 4000
        assert abs(held - share) < 0.03
    assert len({one["language"] for one in truths}) == 6
    assert len({one["name"] for one in truths}) > 3900


def test_printed_phones_are_valid_numbers_of_the_country(sandbox):
    phonenumbers = pytest.importorskip("phonenumbers")
    for index in range(400):
        truth = sandbox.truth(f"phone{index}.example")
        dialled = phonenumbers.parse(truth["phone"]["e164"])
        printed = phonenumbers.parse(truth["phone"]["printed"], truth["country"])
        assert phonenumbers.is_valid_number(dialled), truth["phone"]
        assert printed == dialled


def test_counters_tell_pages_robots_and_sitemaps_apart(sandbox):
    truth = sandbox.find(
        lambda one: works(one) and "/admin/" in one["site"]["disallowed"] and
        one["site"]["has_sitemap"]
    )  # fmt: skip
    host = truth["site"]["host"]
    for path in ("/", "/", "/robots.txt", "/sitemap.xml", "/admin/x", "/nope"):
        sandbox.ask(path, host=host)
    calls = sandbox.calls("?detail=paths")
    assert calls["pages"] == {host: 4}
    assert calls["robots"] == {host: 1}
    assert calls["sitemaps"] == {host: 1}
    assert calls["disallowed"] == {host: 1}
    assert calls["paths"][host]["/"] == 2
    assert "paths" not in sandbox.calls()
    sandbox.ask("/_sandbox/reset", method="POST")
    assert sandbox.calls()["pages"] == {}


CORPUS_PAGES = {
    "a.html": b"<html><title>A</title><BODY class=x>\xe4\xf6 latin-1 \x00</BODY></html>",
    "b.htm": "<html><body>voilà</body></html>".encode() * 900,
    "sub/c.html.gz": b"<p>no body tag at all</p>",
}


@pytest.fixture
def corpus(tmp_path):
    for name, content in CORPUS_PAGES.items():
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return tmp_path / "corpus"


def test_corpus_pages_are_the_files_with_only_the_navigation_put_in(start, corpus):
    sandbox = start("--corpus", str(corpus))
    seen = set()
    for index in range(12):
        truth = sandbox.truth(f"corpus{index}.example")
        if not works(truth):
            continue
        for name in ("home", "about", "contact", "news.0"):
            plain = page(sandbox, truth, name)
            packed = page(sandbox, truth, name, Accept_Encoding="gzip")
            assert plain.headers["Content-Type"] == "text/html"
            unpacked = zlib.decompressobj(31)
            assert unpacked.decompress(packed.body) == plain.body
            assert unpacked.eof
            assert unpacked.unused_data == b""
            matched = [
                file for file, content in CORPUS_PAGES.items() if is_woven(plain.body, content)
            ]
            assert matched
            seen.update(matched)
            for path in ("about", "contact", "team"):
                assert truth["site"]["paths"][path].encode() in plain.body
    assert seen == set(CORPUS_PAGES)


def is_woven(body, original):
    """Say whether a page is the original with something put in at one place."""
    cut = re.search(rb"<body[^>]*>", original, re.IGNORECASE)
    at = cut.end() if cut else len(original)
    return body.startswith(original[:at]) and body.endswith(original[at:]) and len(body) > len(
        original
    )  # fmt: skip


def test_real_pages_are_served_whole(start, real_data):
    sandbox = start("--corpus", str(real_data / "articles"))
    for index in range(10):
        truth = sandbox.truth(f"real{index}.example")
        if works(truth):
            packed = page(sandbox, truth, "home", Accept_Encoding="gzip")
            assert gzip.decompress(packed.body) == page(sandbox, truth, "home").body


def test_real_domains_get_the_names_of_the_list(start, real_data):
    sandbox = start("--domains", str(real_data / "domains.csv"))
    assert sandbox.truth("33across.com")["name"] == "33Across"
    assert sandbox.truth("33across.com")["country"] == "US"
    assert sandbox.truth("www.1000mercis.com")["language"] == "fr"
