"""What `extract_page` finds on whole pages."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.core.extract import Phone, PostalAddress, extract_page, from_json, to_json

from .pages import IMPRINT_PAGE, JSONLD_PAGE, MICRODATA_PAGE, SHOP_PAGE

URL = "https://www.acme.example/"
FRAGMENTS = [
    *(b"<a href='", b"'>", b"<div itemscope itemtype='Store'>", b"<script type=", b"</script>"),
    *(b"application/ld+json>", b'{"@type":"Store","name":"', b'"}', b"<!--", b"-->", b"\0"),
    *(b"\xff\xfe", b"\xed\xa0\x80", b"&#xd800;", b"\\ud800", b"info@acme.de", b"http://[::"),
    *(b"mailto:%ff@", b"tel:+", b"<base href='//['>", b"+49 (0)30 12 34", b"(c) 2010 ", b"GmbH "),
    *(b"HRB ", b"12345 ", b"<svg>", b"<template>", b"<meta charset=utf-7>", b"data-cfemail=a"),
]


def cfemail(address: str, key: int = 0x42) -> bytes:
    return bytes([key, *(each ^ key for each in address.encode())]).hex().encode()


def test_jsonld_organisations_are_flattened_repaired_and_used():
    page = extract_page(JSONLD_PAGE, "https://nordlicht.example.de/")
    assert [each["name"] for each in page.organisations] == ["Nordlicht Werkzeuge"]
    assert page.company_name == "Nordlicht Werkzeuge"
    assert page.legal_name == "Nordlicht Werkzeuge GmbH"
    assert page.addresses == (PostalAddress("Hafenstr. 5", "20457", "Hamburg", None, "DE"),)
    assert page.emails == ("service@nordlicht.example.de",)
    assert {(each.e164, each.kind) for each in page.phones} == {
        ("+4930901820", "phone"),
        ("+4930901821", "fax"),
    }
    assert page.social == ("https://www.linkedin.com/company/nordlicht",)


def test_the_head_is_read():
    page = extract_page(JSONLD_PAGE, "https://nordlicht.example.de/")
    assert page.title == "Willkommen | Nordlicht Werkzeuge"
    assert page.description == "Werkzeuge seit 1950"
    assert page.canonical == "https://nordlicht.example.de/start"
    assert page.language == "de-de"
    assert page.opengraph == {"og:site_name": "Nordlicht Werkzeuge"}
    assert page.headings == ("Gutes Werkzeug", "Laden")


def test_an_imprint_gives_legal_name_register_and_numbers():
    page = extract_page(IMPRINT_PAGE.encode("latin-1"), "https://seeblick-optik.de/impressum")
    assert page.charset in ("windows-1252", "iso-8859-1")
    assert page.legal_name == "Seeblick Optik GmbH & Co. KG"
    assert page.registration == ("HRB 12345", "DE123456789")
    assert page.emails == ("info@seeblick-optik.de",)
    assert [(each.e164, each.kind) for each in page.phones] == [
        ("+492219988770", "phone"),
        ("+4922199887720", "fax"),
        ("+491712345678", "mobile"),
    ]
    assert page.addresses == (PostalAddress("Am Mühlenweg 12a", "50667", "Köln", None, "DE"),)


def test_a_shop_page_gives_contacts_in_all_their_forms():
    page = extract_page(SHOP_PAGE % cfemail("jobs@birchbone.com"), "https://www.birchbone.com/")
    assert set(page.emails) == {
        "hello@birchbone.com",
        "jobs@birchbone.com",
        "orders@birchbone.com",
        "press@birchbone.com",
    }
    assert {(each.e164, each.kind) for each in page.phones} == {
        ("+12127363100", "phone"),
        ("+12127363101", "phone"),
        ("+12127363102", "fax"),
        ("+12127365000", "phone"),
    }
    assert page.social == ("https://www.facebook.com/birchbone", "https://x.com/birchbone")
    address = page.addresses[0]
    assert address == PostalAddress("350 Fifth Avenue, Suite 12", "10118", "New York", "NY", "US")
    assert page.company_name is not None
    assert page.company_name.startswith("Birch & Bone")


def test_links_are_absolute_web_addresses_without_fragment():
    page = extract_page(SHOP_PAGE % b"", "https://www.birchbone.com/shop/")
    urls = [each.url for each in page.links]
    assert urls[:2] == [
        "https://www.birchbone.com/about-us/",
        "https://www.birchbone.com/shop/contact.html",
    ]
    assert all(each.startswith("http") and "#" not in each for each in urls)


def test_microdata_organisations_are_read_and_products_are_not():
    page = extract_page(MICRODATA_PAGE, "https://quaydental.co.uk/")
    assert [each["name"] for each in page.microdata] == ["Quay Dental", "Toothbrush"]
    assert [each["name"] for each in page.organisations] == ["Quay Dental"]
    assert page.company_name == "Quay Dental"
    assert page.addresses[0] == PostalAddress("4 Harbour Road", "BS1 5TY", "Bristol", None, "GB")
    assert page.phones == (Phone("+441174960123", "0117 496 0123", "phone"),)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", None),
        (b"%PDF-1.7 <html>", "text/html"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), None),
        (bytes(range(256)) * 20, None),
        (b'{"a": 1}', "application/json"),
        (b"PK\x03\x04" + b"<p>" * 10, "text/html"),
    ],
)
def test_what_is_not_html_gives_an_empty_page(body, content_type):
    page = extract_page(body, URL, content_type)
    assert not page.is_html
    assert page.text == ""
    assert page.links == ()


def test_the_country_given_wins_over_all_others():
    body = b"<html lang=en-US><p>Tel: 020 7946 0018</p></html>"
    assert extract_page(body, "https://acme.com/").phones == ()
    assert extract_page(body, "https://acme.com/", country="GB").phones[0].e164 == "+442079460018"


def test_the_top_level_domain_tells_the_country():
    body = b"<p>Tel: 020 7946 0018</p>"
    assert extract_page(body, "https://acme.co.uk/").phones[0].e164 == "+442079460018"


def test_an_address_in_the_text_tells_the_country():
    body = "<p>Rue Haute 3<br>12 rue de la Paix<br>75002 Paris</p><p>Tél. 01 42 68 53 00</p>"
    page = extract_page(body.encode(), "https://acme.com/")
    assert page.addresses[0].postcode == "75002"
    assert [each.e164 for each in page.phones] == ["+33142685300"]


def test_json_form_has_the_public_keys_and_comes_back_the_same():
    for body in (JSONLD_PAGE, SHOP_PAGE % b"", MICRODATA_PAGE, b"%PDF"):
        page = extract_page(body, URL)
        data = to_json(page, "a.html")
        wanted = "file url title description language text emails phones company_name addresses"
        assert set(f"{wanted} social jsonld".split()) <= set(data)
        assert data["file"] == "a.html"
        assert from_json(json.loads(json.dumps(data))) == page


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2_000))
def test_no_bytes_make_it_fail(body):
    page = extract_page(body, URL)
    json.dumps(to_json(page)).encode()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(FRAGMENTS),
        max_size=40,
    ).map(b"".join),
    st.sampled_from([URL, "", "http://[", "https://a:99999/", "nonsense"]),
)
def test_no_mixture_of_markup_and_no_url_make_it_fail(body, url):
    json.dumps(to_json(extract_page(b"<html>" + body, url))).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"<div>" * 10_000 + b"x" + b"</div>" * 10_000,
        b"<p " + b" ".join(b"a%d=1" % each for each in range(100_000)) + b">info@acme.org",
        b"<p>" + b"x" * 10_000_000,
        b"<p>" + b"<b>" * 50_000 + b"<p>x" * 50_000,
        b"<a" * 1_000_000,
        b'<script type="application/ld+json">' + b"[" * 500_000 + b"</script>",
        b"<p>" + b"\0" * 1_000_000,
        b"<p>" + b"1 2" * 500_000 + b" a@" * 100_000,
    ],
    ids=["deep", "attributes", "line", "formatting", "open", "json", "nul", "runs"],
)
def test_hostile_pages_are_survived(body):
    page = extract_page(body, URL, "text/html")
    assert page.is_html
    assert len(page.text) <= 200_000


@pytest.mark.parametrize(
    ("head", "robots"),
    [
        (b"", None),
        (b"<meta name=robots content='noindex, nofollow'>", "noindex, nofollow"),
        (b"<meta name=ROBOTS content=all><meta name=robots content=noindex>", "all, noindex"),
        (b"<meta name=pipeline content=none>", "none"),
        (b"<meta name=otherbot content=noindex>", None),
        (b"<meta name=robots content=''>", None),
    ],
)
def test_what_a_page_says_to_robots_is_read(head: bytes, robots: str | None):
    page = extract_page(b"<html><head>" + head + b"<title>Acme</title></head><p>x", URL)
    assert page.robots == robots
    assert from_json(to_json(page)) == page


def test_the_fingerprint_changes_with_the_words_and_with_nothing_else():
    def fingerprint(body: str) -> str:
        return extract_page(body.encode(), URL).fingerprint

    page = fingerprint("<title>Acme</title><p>We build pumps.</p>")
    assert fingerprint("<title>ACME</title><!-- x --><div>We  build\n<b>pumps</b>.</div>") == page
    assert fingerprint("<title>Acme</title><p>We build valves.</p>") != page
    assert fingerprint("<title>Acme Ltd</title><p>We build pumps.</p>") != page


def test_items_that_refer_to_each_other_end():
    body = b"""<div itemscope itemtype=Store id=a itemref=b><i itemprop=name>A</i></div>
    <div itemscope itemprop=branchOf itemtype=Store id=b itemref=a><i itemprop=name>B</i></div>"""
    page = extract_page(body, URL)
    assert page.organisations[0]["name"] == "A"
    assert page.organisations[0]["branchOf"]["name"] == "B"
    json.dumps(to_json(page))


def test_rdfa_lite_organisations_are_read():
    body = b"""<div vocab="https://schema.org/" typeof="Organization">
    <b property="name">Quay Ltd</b><div property="address" typeof="PostalAddress">
    <span property="streetAddress">4 Quay Rd</span><span property="postalCode">BS1 5TY</span>
    </div></div>"""
    page = extract_page(body, URL)
    assert page.organisations[0]["name"] == "Quay Ltd"
    assert (page.addresses[0].street, page.addresses[0].postcode) == ("4 Quay Rd", "BS1 5TY")


def test_a_business_that_opengraph_describes_is_an_organisation():
    body = b"""<meta property="og:type" content="restaurant">
    <meta property="og:title" content="Birch">
    <meta property="business:contact_data:street_address" content="4 Quay Road">
    <meta property="business:contact_data:postal_code" content="BS1 5TY">
    <meta property="business:contact_data:phone_number" content="+44 117 496 0123">"""
    page = extract_page(body, URL)
    assert page.organisations[0]["name"] == "Birch"
    assert page.addresses[0].street == "4 Quay Road"
    assert page.phones[0].e164 == "+441174960123"
