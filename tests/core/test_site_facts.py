"""Which of the things found on a site are facts about the company, and from which page."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.extract.models import Phone, PostalAddress, ScrapedPage
from resources.core.models import Fact
from resources.core.profile import merge
from resources.core.site_facts import Contacts, site_facts

HOME = "https://www.acme.example/"
IMPRINT = "https://www.acme.example/impressum"
ORGANISATION: dict[str, Any] = {
    "@type": "Organization",
    "name": "Acme",
    "legalName": "Acme Widgets GmbH",
    "url": "https://www.acme.example",
    "description": "Widgets of all kinds.",
    "foundingDate": "1987-05-01",
    "numberOfEmployees": {"@type": "QuantitativeValue", "value": 120},
    "telephone": "030 901820",
    "email": "mailto:info@acme.example",
    "vatID": "DE123456789",
    "leiCode": "5493001KJTIIGC8Y1R12",
    "logo": {"@type": "ImageObject", "url": "https://www.acme.example/logo.png"},
    "sameAs": ["https://www.linkedin.com/company/acme", "https://www.wikidata.org/wiki/Q42"],
    "address": {
        "@type": "PostalAddress",
        "streetAddress": "Hauptstr. 1",
        "postalCode": 10115,
        "addressLocality": "Berlin",
        "addressCountry": {"@type": "Country", "name": "Germany"},
    },
}


def _facts(*pages: ScrapedPage, contacts: Contacts = Contacts.COMPANY_ONLY) -> tuple[Fact, ...]:
    return site_facts("acme.example", pages, {page.url: 7.0 for page in pages}, contacts=contacts)


def _values(
    field: str, *pages: ScrapedPage, contacts: Contacts = Contacts.COMPANY_ONLY
) -> list[Any]:
    return [fact.value for fact in _facts(*pages, contacts=contacts) if fact.field == field]


def test_no_pages_give_no_facts() -> None:
    assert _facts() == ()


def test_every_fact_names_the_site_the_page_and_the_time() -> None:
    facts = _facts(
        ScrapedPage(url=HOME, company_name="Acme"), ScrapedPage(url=IMPRINT, legal_name="A")
    )
    assert {fact.source for fact in facts} == {"site"}
    assert {fact.at for fact in facts} == {7.0}
    assert {fact.url for fact in facts if fact.field == "legal_name"} == {IMPRINT}


def test_a_page_without_a_time_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        site_facts("acme.example", [ScrapedPage(url=HOME, company_name="Acme")], {})


def test_structured_data_gives_the_whole_company() -> None:
    fields = merge(
        "acme.example", _facts(ScrapedPage(url=HOME, organisations=(ORGANISATION,))), {}
    ).fields
    assert {name: held.value for name, held in fields.items()} == {
        "name": "Acme",
        "legal_name": "Acme Widgets GmbH",
        "description": "Widgets of all kinds.",
        "founded": 1987,
        "employees": 120,
        "country": "DE",
        "city": "Berlin",
        "postcode": "10115",
        "street": "Hauptstr. 1",
        "phones": ("+4930901820",),
        "emails": ("info@acme.example",),
        "social": ("https://www.linkedin.com/company/acme",),
        "website": "https://www.acme.example/",
        "registration": ("VAT ID DE123456789",),
        "lei": "5493001KJTIIGC8Y1R12",
        "wikidata_id": "Q42",
        "logo_url": "https://www.acme.example/logo.png",
    }


@pytest.mark.parametrize(
    ("headcount", "field", "value"),
    [
        (250, "employees", "250"),
        ("250", "employees", "250"),
        ("51-200", "size_range", "51-200"),
        ({"minValue": 51, "maxValue": 200}, "size_range", "51-200"),
        ({"minValue": "500"}, "size_range", "500+"),
        ({"value": "11-50"}, "size_range", "11-50"),
    ],
)
def test_a_headcount_may_be_a_number_or_a_range(headcount: Any, field: str, value: str) -> None:
    page = ScrapedPage(url=HOME, organisations=({"numberOfEmployees": headcount},))
    profile = merge("acme.example", _facts(page), {})
    assert str(profile.fields[field].value) == value


def test_an_organisation_that_names_another_site_as_its_own_is_left_out() -> None:
    partner = {"@type": "Organization", "name": "Partner Inc", "url": "https://partner.example/"}
    assert _values("name", ScrapedPage(url=HOME, organisations=(partner, {"name": "Acme"}))) == [
        "Acme"
    ]


def test_objects_that_are_no_organisations_do_not_count() -> None:
    product = {"@type": "Product", "name": "Anvil"}
    assert _values("name", ScrapedPage(url=HOME, jsonld=(product,), microdata=(product,))) == []


@pytest.mark.parametrize(
    "email",
    [
        "info@acme.example",
        "Sales@mail.acme.example",
        "kontakt@acme.example",
        "info-de@acme.example",
        "customer.service@other.example",
    ],
)
def test_role_addresses_on_the_own_domain_are_taken(email: str) -> None:
    expected = [email.lower()] if email.lower().endswith("acme.example") else []
    assert _values("emails", ScrapedPage(url=HOME, emails=(email,))) == expected


@pytest.mark.parametrize(
    "email",
    [
        "jane.doe@acme.example",
        "jdoe@acme.example",
        "sales.miller@acme.example",
        "info@gmail.com",
        "info@notacme.example",
        "info@acme.example.evil.test",
    ],
)
def test_persons_and_other_domains_are_taken_only_on_demand(email: str) -> None:
    page = ScrapedPage(url=HOME, emails=(email,))
    assert _values("emails", page) == []
    assert _values("emails", page, contacts=Contacts.ALL) == [email]


def test_fax_numbers_are_no_phones_wherever_they_stand() -> None:
    fax = Phone("+4930901821", "030 901821", "fax")
    home = ScrapedPage(url=HOME, phones=(Phone("+4930901820", "x"), Phone("+4930901821", "y")))
    imprint = ScrapedPage(url=IMPRINT, phones=(fax, Phone(None, "unknown")))
    assert _values("phones", home, imprint) == ["+4930901820"]


def test_a_number_without_country_is_not_guessed() -> None:
    assert (
        _values("phones", ScrapedPage(url=HOME, organisations=({"telephone": "030 901820"},))) == []
    )


def test_of_several_addresses_the_stated_one_is_taken_whole() -> None:
    branch = PostalAddress("Nebenstr. 2", "80331", "München", None, "DE")
    page = ScrapedPage(url=HOME, organisations=(ORGANISATION,), addresses=(branch,))
    assert _values("street", page) == ["Hauptstr. 1"]
    assert _values("city", page) == ["Berlin"]


def test_of_several_printed_addresses_the_repeated_one_is_taken() -> None:
    office = PostalAddress("Hauptstr. 1", "10115", "Berlin")
    branch = PostalAddress("Allee 2", "80331", "München")
    pages = (
        ScrapedPage(url=HOME, addresses=(office,)),
        ScrapedPage(url="https://www.acme.example/branches", addresses=(branch, office)),
    )
    assert _values("city", *pages) == ["Berlin"]


def test_an_address_that_names_no_place_is_none() -> None:
    page = ScrapedPage(url=HOME, addresses=(PostalAddress(street="Hauptstr. 1", country="DE"),))
    assert _values("street", page) == []


def test_the_home_pages_word_counts_more_than_another_pages() -> None:
    about = ScrapedPage(
        url="https://www.acme.example/about/us", company_name="About Acme", description="About us"
    )
    home = ScrapedPage(url=HOME, company_name="Acme", description="Widgets.", language="en")
    fields = merge("acme.example", _facts(about, home), {}).fields
    assert (fields["name"].value, fields["description"].value) == ("Acme", "Widgets.")
    assert fields["language"].value == "en"


def test_links_for_sharing_are_no_profiles() -> None:
    links = (
        "https://www.facebook.com/sharer/sharer.php?u=x",
        "https://twitter.com/intent/tweet",
        "https://twitter.com/acme",
    )
    assert _values("social", ScrapedPage(url=HOME, social=links)) == ["https://twitter.com/acme"]


def test_a_page_on_another_domain_gives_no_website() -> None:
    assert _values("website", ScrapedPage(url="https://elsewhere.example/")) == []
    assert _values("website", ScrapedPage(url=IMPRINT)) == [HOME]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(ORGANISATION)), _JSON))
def test_odd_structured_data_does_no_harm(data: dict[str, Any]) -> None:
    merge("acme.example", _facts(ScrapedPage(url=HOME, organisations=(data,))), {})
