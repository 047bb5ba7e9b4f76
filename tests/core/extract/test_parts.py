"""The single finders: e-mails, telephones, JSON-LD, social profiles, names."""

import pytest

from resources.core.extract import extract_page
from resources.core.extract.addresses import find_addresses
from resources.core.extract.company import clean_name
from resources.core.extract.emails import find_emails
from resources.core.extract.imprint import find_legal_name
from resources.core.extract.jsonld import find_organisations, parse_jsonld, read_jsonld
from resources.core.extract.markup_guard import make_parsable
from resources.core.extract.phones import find_phones
from resources.core.extract.region import phone_regions
from resources.core.extract.social import profile_url
from resources.core.extract.web_address import absolute


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Mail: Info@Acme.DE.", ("info@acme.de",)),
        ("info (at) acme (punkt) de", ("info@acme.de",)),
        ("info{at}acme.de", ("info@acme.de",)),
        ("sales at acme dot com", ("sales@acme.com",)),
        ("we are at acme.com", ()),
        ("img/logo@2x.png icon@3x.webp", ()),
        ("a@b", ()),
        ("info@acme.comThis address is protected", ("info@acme.com",)),
        ("info @ acme.de", ("info@acme.de",)),
        ("x@example.com", ()),
        ("o'neil.x+tag@acme.co.uk", ("neil.x+tag@acme.co.uk",)),
    ],
)
def test_emails_in_text(text, wanted):
    assert find_emails(text, [], []) == wanted


def test_mailto_links_are_decoded_and_split():
    assert find_emails("", ["a%40acme.de,b@acme.de?cc=c@acme.de"], []) == (
        "a@acme.de",
        "b@acme.de",
    )


def test_broken_protection_codes_are_ignored():
    assert find_emails("", [], ["", "zz", "4", "42"]) == ()


@pytest.mark.parametrize(
    ("text", "region", "wanted"),
    [
        ("Tel. 030 901820", "DE", [("+4930901820", "phone")]),
        ("+49 (0)30 901820", "US", [("+4930901820", "phone")]),
        ("0049 30 901820", "FR", [("+4930901820", "phone")]),
        ("Tel +39 06 6982 1", "DE", [("+3906698 21".replace(" ", ""), "phone")]),
        ("Télécopie : 01 42 68 53 00", "FR", [("+33142685300", "fax")]),
        ("Tel/Fax: 01 42 68 53 00", "FR", [("+33142685300", "phone")]),
        (
            "T: 020 7946 0018 F: 020 7946 0019",
            "GB",
            [("+442079460018", "phone"), ("+442079460019", "fax")],
        ),
        (
            "(212) 736-3100 / (212) 736-3101",
            "US",
            [("+12127363100", "phone"), ("+12127363101", "phone")],
        ),
        ("212-736-3100 (fax)", "US", [("+12127363100", "fax")]),
        ("Fax\n212-736-3100", "US", [("+12127363100", "fax")]),
        ("(212) 736-3100", None, [("+12127363100", "phone")]),
        ("12.05.2014 - 14.06.2014, 2010-2014", "DE", []),
        ("IP 192.168.100.200", "DE", []),
        ("80901 - 80962", "US", []),
        ("1 2 3 4 5 6 7 8 9 10", "US", []),
        ("Order no. 212 736 3100", "US", []),
        ("$212 736 3100", "US", []),
        ("2127363100", "US", []),
        ("Call 2127363100", "US", [("+12127363100", "phone")]),
    ],
)  # fmt: skip
def test_phones_in_text(text, region, wanted):
    found = find_phones(text, [], [region] if region else [])
    assert [(each.e164, each.kind) for each in found] == wanted


def test_a_tel_link_without_known_country_is_kept_as_written():
    (phone,) = find_phones("", [("tel:0165%2085%2020%2000", "")], [])
    assert phone.e164 is None
    assert phone.raw == "0165 85 20 00"


def test_regions_come_in_the_documented_order():
    assert phone_regions("Austria", ["CH"], "acme.de", "fr-be") == ("AT", "CH", "DE", "BE")
    assert phone_regions(None, [], "acme.io", "en") == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "A",}',
        '<!-- {"name": "A"} -->',
        '// <![CDATA[\n{"name": "A"}\n// ]]>',
        '{"name": "A"};',
        '{"name": /* one */ "A"} // two',
        '{"name": "A", "list": [1, 2, ], }',
    ],
)
def test_broken_json_is_repaired(text):
    assert parse_jsonld(text)["name"] == "A"


def test_control_characters_and_slashes_inside_strings_do_not_hurt():
    assert parse_jsonld('{"name": "A\n\tB", "url": "http://a.de/,}"}')["url"] == "http://a.de/,}"
    assert parse_jsonld("not json at all") is None


def test_only_organisations_are_found_wherever_they_stand():
    scripts = [
        '[{"@type": "Article", "publisher": {"@type": "NewsMediaOrganization", "name": "N"}}]',
        '{"@type": "WebPage", "mainEntity": {"@type": "https://schema.org/Dentist", "name": "D"}}',
        '{"@type": "Person", "name": "P"}',
        '{"@type": "FooBusiness", "name": "B", "x": "\\ud800", "n": NaN}',
        '{"@type": "Product", "name": "X"}',
    ]
    names = [each["name"] for each in find_organisations(read_jsonld(scripts))]
    assert names == ["N", "D", "B"]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://de.linkedin.com/company/Acme-AG/about?x=1", "https://www.linkedin.com/company/acme-ag"),
        ("http://www.youtube.com/channel/UCaB_1", "https://www.youtube.com/channel/UCaB_1"),
        ("https://youtube.com/@Acme", "https://www.youtube.com/@acme"),
        ("https://www.tiktok.com/@acme", "https://www.tiktok.com/@acme"),
        ("https://instagram.com/acme/", "https://www.instagram.com/acme"),
        ("https://mobile.twitter.com/@acme", "https://x.com/acme"),
        ("https://twitter.com/#!/acme", "https://x.com/acme"),
        ("https://github.com/acme/tool", "https://github.com/acme"),
        ("https://www.xing.com/companies/acme", "https://www.xing.com/companies/acme"),
        ("https://www.facebook.com/pages/Acme/123", "https://www.facebook.com/pages/acme/123"),
        ("https://www.facebook.com/profile.php?id=12", "https://www.facebook.com/profile.php?id=12"),
        ("https://www.linkedin.com/shareArticle?url=x", None),
        ("https://www.youtube.com/watch?v=1", None),
        ("https://www.instagram.com/p/abc/", None),
        ("https://www.facebook.com/", None),
        ("https://notfacebook.com/acme", None),
        ("https://netflix.com/acme", None),
    ],
)  # fmt: skip
def test_profiles_have_one_form_and_share_links_none(url, wanted):
    assert profile_url(url) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Betreiber ist die Muster Bau GmbH, Berlin", "Muster Bau GmbH"),
        ("Copyright 2010 Acme Tools, Inc. All rights", "Acme Tools, Inc."),
        ("© Vini Rossi S.r.l. - P.IVA 01234567890", "Vini Rossi S.r.l."),
        ("Société Dupont SAS au capital de 1000", "Société Dupont SAS"),
        ("Alpha Beta Ltd", "Alpha Beta Ltd"),
        ("株式会社テスト", "株式会社テスト"),
        ("nothing here", None),
    ],
)
def test_legal_names(text, wanted):
    assert find_legal_name([], text, "") == wanted


def test_generic_words_are_no_names():
    for text in ("Home", "Contact us", "Welcome", "404", "", "  - ", "info@acme.de"):
        assert clean_name(text) is None


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("b.html#x", "https://a.de/x/b.html"),
        ("/b", "https://a.de/b"),
        ("//b.de/c", "https://b.de/c"),
        ("?q=1", "https://a.de/x/y?q=1"),
        ("../b", "https://a.de/b"),
        (" /b c ", "https://a.de/b%20c"),
        ("HTTP://B.de/", "HTTP://B.de/"),
        ("/a\n/b", "https://a.de/a/b"),
        ("javascript:x()", None),
        ("http://[", None),
        ("http://a.de:x/", None),
        ("", None),
        (None, None),
    ],
)
def test_links_are_joined(href, wanted):
    found = absolute("https://a.de/x/y", href)
    assert found == wanted or (wanted and found and found.lower() == wanted.lower())


def test_ordinary_markup_passes_unchanged():
    markup = "<div class='a'><p>x<b>y</b></p></div>" * 500
    assert make_parsable(markup) is markup


def test_the_guard_reads_every_character_a_bounded_number_of_times():
    """Rewriting never makes a page larger by more than its closing tags."""
    for markup in ("<div>" * 30_000, "<p <" * 50_000, "<!--" * 50_000, "<a '" * 50_000):
        assert len(make_parsable(markup)) <= 2 * len(markup)


def test_deep_markup_keeps_its_text():
    markup = "<div>" * 30_000 + "<p>info@acme.de</p>" + "</div>" * 30_000
    guarded = make_parsable(markup)
    assert "info@acme.de" in guarded
    assert guarded.count("<div") < 100


def test_the_words_above_a_street_can_be_the_name():
    body = (
        b"<p>Kubrat Pumps &amp; Service Co.<br>1070 South Galapago Street<br>Denver, CO 80223</p>"
    )
    page = extract_page(body, "https://unrelated.example/")
    assert "Kubrat Pumps & Service Co" in [name for name, _ in page.company_name_candidates]


def test_a_state_is_no_legal_form():
    assert find_legal_name([], "Visit us in Las Vegas NV 89101 today", "acme.com") is None


def test_small_words_inside_a_legal_name_stay():
    assert find_legal_name([], "A van Tilburg BV", "tilburg.nl") == "A van Tilburg BV"


@pytest.mark.parametrize(
    ("printed", "e164"),
    [
        ("Tel (41 21) 802 7000", "+41218027000"),
        ("1-610-282-3800Customer Service", "+16102823800"),
        ("New Orleans, LA 70112 504-988-5187", "+15049885187"),
    ],
)
def test_numbers_are_found_in_odd_places(printed, e164):
    assert [each.e164 for each in find_phones(printed, [], ("US",))] == [e164]


def test_a_number_above_the_word_fax_is_no_fax():
    text = "Phone number: (310) 652-2400\nFax number: (310) 652-2370"
    kinds = [(each.e164, each.kind) for each in find_phones(text, [], ("US",))]
    assert kinds == [("+13106522400", "phone"), ("+13106522370", "fax")]


def test_one_letter_before_a_plus_names_the_kind():
    text = "T +44 (0)20 3167 4997 | F +44 (0)20 7629 1317"
    kinds = [each.kind for each in find_phones(text, [], ("GB",))]
    assert kinds == ["phone", "fax"]


def test_comments_inside_strings_of_json_ld_stay_and_those_outside_go():
    text = '<!-- note --> {"a": "<!-- b -->", // c\n "d": 1, /* e */ // f\n }'
    assert parse_jsonld(text) == {"a": "<!-- b -->", "d": 1}


def test_numbers_in_letters_are_dialled():
    found = find_phones("Call 1-800-FLOWERS or (888) GET-HELP, 800 PEOPLE", [], ())
    assert [each.e164 for each in found] == ["+18003569377", "+18884384357"]


@pytest.mark.parametrize(
    ("text", "street", "city"),
    [
        ("493 Charles Street North Perth WA 6006", "493 Charles Street North", "Perth"),
        ("772 North Market Street Redding, CA 96003", "772 North Market Street", "Redding"),
        ("Studio\n1723 North Halsted, Chicago Illinois 60614", "1723 North Halsted", "Chicago"),
        ("Office: 720 Brazos, Suite 110, Austin, TX 78701", "720 Brazos, Suite 110", "Austin"),
        ("20100 N. 51st Ave\nGlendale, Az. 85308", "20100 N. 51st Ave", "Glendale"),
        ("535-B Main Street\nVacaville, CA 95688", "535-B Main Street", "Vacaville"),
    ],
)
def test_streets_are_told_from_towns(text, street, city):
    address = find_addresses([], text, None)[0]
    assert (address.street, address.city) == (street, city)
