"""How facts become a profile: trust, agreement, addresses, and the ways it is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.models import CompanyProfile, Fact
from resources.core.profile import MOST_CONFIDENCE, RULES, merge
from resources.core.profile_json import (
    COLUMNS,
    fact_from_json,
    fact_to_json,
    flat_row,
    from_json,
    to_json,
)


def _fact(
    field: str,
    value: Any,
    source: str = "site",
    confidence: float = 0.75,
    at: float = 100.0,
    url: str | None = None,
) -> Fact:
    return Fact(field, value, source, url or f"https://{source}.example/", at, confidence)


def _merge(*facts: Fact) -> CompanyProfile:
    return merge("acme.example", facts, {})


def _value(field: str, *facts: Fact) -> Any:
    held = _merge(*facts).fields.get(field)
    return held.value if held else None


FIELDS = (
    "name legal_name description industry size_range employees founded company_type country region "
    "city postcode street phones emails social website language registered_on registrar "
    "registration lei wikidata_id ticker logo_url"
)


def test_every_field_of_a_profile_has_a_rule_with_a_description() -> None:
    assert " ".join(RULES) == FIELDS
    assert all(rule.description.endswith(".") for rule in RULES.values())
    lists = [name for name, rule in RULES.items() if rule.is_list]
    assert lists == ["phones", "emails", "social", "registration"]


def test_the_most_trusted_source_wins_and_the_losers_are_kept() -> None:
    held = _merge(
        _fact("legal_name", "Acme Incorporated", "wikidata", 0.95),
        _fact("legal_name", "Acme GmbH", "site", 0.6),
    ).fields["legal_name"]
    assert (held.value, held.source, held.confidence) == ("Acme GmbH", "site", 0.6)
    assert [(fact.value, fact.source) for fact in held.others] == [
        ("Acme Incorporated", "wikidata")
    ]


def test_a_weak_value_of_a_trusted_source_loses_against_a_sound_one() -> None:
    weak, sound = (
        _fact("description", "Imprint", "site", 0.4),
        _fact("description", "Widgets", "pdl"),
    )
    assert _value("description", weak, sound) == "Widgets"
    assert _value("description", weak) == "Imprint"


def test_agreement_of_two_sources_raises_confidence() -> None:
    held = _merge(
        _fact("name", "Acme", "site", 0.75), _fact("name", "ACME Inc.", "pdl", 0.6)
    ).fields["name"]
    assert (held.value, held.confidence, held.others) == ("Acme", 0.9, ())


def test_many_pages_of_one_site_count_once() -> None:
    pages = [_fact("name", "Acme", url=f"https://acme.example/{number}") for number in range(9)]
    assert _merge(*pages).fields["name"].confidence == 0.75


def test_confidence_stays_below_certainty_unless_one_source_is_certain() -> None:
    sources = [_fact("name", "Acme", source, 0.95) for source in ("site", "pdl", "wikidata")]
    assert _merge(*sources).fields["name"].confidence == MOST_CONFIDENCE
    assert _merge(_fact("name", "Acme", "site", 1.0)).fields["name"].confidence == 1.0


def test_of_two_values_of_one_source_the_later_one_wins() -> None:
    old, new = _fact("industry", "Toys", "pdl", at=1.0), _fact("industry", "Games", "pdl", at=2.0)
    assert _value("industry", new, old) == _value("industry", old, new) == "Games"


def test_street_and_city_are_never_taken_from_two_addresses() -> None:
    fields = _merge(
        _fact("street", "Hauptstr. 1", "site"),
        _fact("postcode", "10115", "site"),
        _fact("city", "Berlin", "site"),
        _fact("city", "Munich", "pdl", 0.99),
        _fact("region", "Bavaria", "pdl", 0.99),
        _fact("country", "Germany", "pdl"),
    ).fields
    assert {name: fields[name].value for name in fields} == {
        "street": "Hauptstr. 1",
        "postcode": "10115",
        "city": "Berlin",
        "country": "DE",
    }
    assert [fact.value for fact in fields["city"].others] == ["Munich"]


def test_another_source_completes_an_address_that_it_agrees_with() -> None:
    fields = _merge(
        _fact("street", "1 Main St", "site"),
        _fact("city", "San Francisco", "site"),
        _fact("city", "san francisco", "pdl"),
        _fact("region", "California", "pdl"),
        _fact("country", "US", "pdl"),
    ).fields
    assert (fields["region"].value, fields["country"].value) == ("California", "US")
    assert fields["city"].confidence > 0.9


def test_a_country_alone_is_taken_where_the_address_has_none() -> None:
    fields = _merge(_fact("city", "Leeds", "site"), _fact("country", "GB", "rdap", 0.55)).fields
    assert fields["country"].value == "GB"


def test_a_list_holds_each_entry_once_with_its_own_evidence() -> None:
    held = _merge(
        _fact("social", "linkedin.com/company/acme/", "pdl"),
        _fact("social", "https://www.linkedin.com/company/acme?trk=x", "site"),
        _fact("social", "https://twitter.com/acme", "pdl", 0.6),
    ).fields["social"]
    assert held.value == ("https://www.linkedin.com/company/acme", "https://twitter.com/acme")
    assert [(fact.source, fact.confidence) for fact in held.others] == [
        ("site", 0.9375),
        ("pdl", 0.6),
    ]


def test_a_list_has_at_most_as_many_entries_as_its_rule_says() -> None:
    phones = [_fact("phones", f"+4930{number:07}") for number in range(50)]
    held = _merge(*phones).fields["phones"]
    assert len(held.value) == RULES["phones"].max_entries
    assert [fact.value for fact in held.others[: len(held.value)]] == list(held.value)


@pytest.mark.parametrize(
    ("field", "given_value", "kept"),
    [
        ("name", "  Acme \n Widgets ", "Acme Widgets"),
        ("name", " ", None),
        ("name", 5, None),
        ("name", ["Acme"], None),
        ("employees", "1,200", 1200),
        ("employees", "12.000", 12000),
        ("employees", 12.0, 12),
        ("employees", True, None),
        ("employees", -3, None),
        ("employees", "many", None),
        ("founded", "1987-01-01T00:00:00Z", 1987),
        ("founded", 1987, 1987),
        ("founded", "87", None),
        ("founded", "9999", None),
        ("size_range", "51 - 200", "51-200"),
        ("size_range", "10,001+", "10001+"),
        ("size_range", "big", None),
        ("country", "Deutschland", "DE"),
        ("country", "de", "DE"),
        ("country", "Atlantis", None),
        ("phones", "+49 (30) 123-456", "+4930123456"),
        ("phones", "030 123456", None),
        ("emails", "Info@Acme.example", "info@acme.example"),
        ("emails", "not an address", None),
        ("website", "acme.example", "https://acme.example/"),
        ("website", "https://user:pw@acme.example/x#y", "https://acme.example/x"),
        ("website", "javascript:alert(1)", None),
        ("website", "http://[bad", None),
        ("language", "de-AT", "de"),
        ("language", "german", None),
        ("registered_on", "1997-06-03T00:00:00Z", "1997-06-03"),
        ("registered_on", "1997-13-03", None),
        ("lei", "5493 001KJTIIGC8Y1R12", "5493001KJTIIGC8Y1R12"),
        ("lei", "5493001KJTIIGC8Y1R13", None),
        ("wikidata_id", "q42", "Q42"),
        ("wikidata_id", "P42", None),
        ("ticker", "acme", "ACME"),
        ("social", "https://linkedin.com/", None),
        ("unheard_of", "x", None),
    ],
)
def test_values_are_normalised_and_what_is_none_is_left_out(
    field: str, given_value: Any, kept: Any
) -> None:
    value = _value(field, _fact(field, given_value))
    assert (value[0] if isinstance(value, tuple) else value) == kept


_FACTS = st.lists(
    st.builds(
        Fact,
        field=st.sampled_from(
            ["name", "city", "street", "postcode", "country", "phones", "founded"]
        ),
        value=st.sampled_from(
            [
                "Acme",
                "ACME Inc",
                "Beta",
                "Berlin",
                "berlin",
                "10115",
                "DE",
                "US",
                "+4930123456",
                "1987",
            ]
        ),
        source=st.sampled_from(["site", "pdl", "wikidata", "elsewhere"]),
        url=st.sampled_from(["https://a.example/", "https://b.example/"]),
        at=st.sampled_from([1.0, 2.0]),
        confidence=st.sampled_from([0.2, 0.5, 0.75, 0.9]),
    ),
    max_size=25,
)


def test_of_equal_facts_of_one_day_the_newest_is_shown_in_whatever_order_they_come() -> None:
    facts = [
        Fact("city", "Berlin", source="pdl", url="https://b.example/", at=at, confidence=0.5)
        for at in (1.0, 2.0)
    ]
    profiles = [merge("a.example", given, {}) for given in (facts, facts[::-1])]
    assert profiles[0] == profiles[1]
    assert profiles[0].fields["city"].at == 2.0


@given(_FACTS, st.randoms(use_true_random=False))
def test_the_same_facts_in_any_order_give_the_same_profile(facts: list[Fact], random: Any) -> None:
    shuffled = [*facts, *facts[:2]]
    random.shuffle(shuffled)
    assert merge("a.example", shuffled, {}) == merge("a.example", facts, {})


@given(_FACTS)
def test_a_profile_survives_the_way_through_json(facts: list[Fact]) -> None:
    profile = merge("a.example", facts, {"PAGE_SCRAPING": "robots.txt forbids it."})
    assert from_json(json.loads(json.dumps(to_json(profile)))) == profile
    for fact in facts:
        assert fact_from_json(json.loads(json.dumps(fact_to_json(fact)))) == fact


@given(_FACTS)
def test_a_row_has_every_column_with_scalars_only(facts: list[Fact]) -> None:
    row = flat_row(merge("a.example", facts, {}))
    assert list(row) == [column.name for column in COLUMNS]
    types = {"text": str, "integer": int, "number": float}
    for column in COLUMNS:
        value = row[column.name]
        assert value is None or isinstance(value, types[column.type])


def test_lists_are_joined_in_a_row() -> None:
    profile = merge(
        "acme.example",
        [_fact("emails", "info@acme.example"), _fact("emails", "sales@acme.example", "pdl")],
        {},
    )
    row = flat_row(profile)
    assert row["emails"] == "info@acme.example; sales@acme.example"
    assert (row["emails_source"], row["emails_confidence"]) == ("site", 0.75)
