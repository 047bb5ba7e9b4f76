"""Whether an offered company is the one asked for: evidence, and nothing but evidence."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resources.core import countries, names
from resources.core.match import SHARED_HOSTS, THRESHOLD, choose, judge
from resources.core.models import Candidate, CompanyQuery, Fact
from resources.core.names import similarity


def _candidate(
    *company_names: str,
    domains: tuple[str, ...] = (),
    country: str | None = None,
    record_id: str = "r1",
    score: float | None = None,
    facts: int = 0,
) -> Candidate:
    found = tuple(Fact("name", str(number), "x", "u", 0.0, 0.5) for number in range(facts))
    return Candidate(record_id, company_names, domains, country, found, score)


@pytest.mark.parametrize("module", [names, countries])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Acme GmbH", "ACME Inc."),
        ("Müller AG", "Mueller"),
        ("Société Générale S.A.", "Societe Generale"),
        ("ООО Яндекс", "Yandex"),
        ("A.P. Møller - Mærsk A/S", "AP Moller Maersk"),
        ("Żabka Polska sp. z o.o.", "Zabka Polska"),
        ("Johnson & Johnson", "Johnson and Johnson"),
        ("L'Oréal", "Loreal SA"),
        ("Databricks", "Data Bricks, Inc."),
        ("株式会社ソニー", "ソニー"),
        ("Acme International Widgets", "Acme Internatonal Widgets"),
        ("ΤΡΑΠΕΖΑ ΠΕΙΡΑΙΩΣ", "τραπεζα πειραιωσ"),
    ],
)
def test_names_that_differ_in_spelling_or_legal_form_agree(first: str, second: str) -> None:
    query = CompanyQuery("acme.example", name=first)
    assert judge(query, _candidate(second)).accepted
    assert similarity(first, second) == similarity(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Siemens", "Siemens Healthineers"),
        ("Studio 54", "Studio 55"),
        ("Yahoo Finance", "Richardson Studio"),
        ("Stripe Docs", "Peripherie | Magazine"),
        ("Acme GmbH", "Beta GmbH"),
        ("GmbH", "AG"),
        ("Google", "Goggle"),
        ("Home", "Home"),
        ("Welcome", "Welcome GmbH"),
        ("", ""),
        ("...", "..."),
    ],
)
def test_names_of_different_companies_and_empty_names_do_not_agree(first: str, second: str) -> None:
    assert not judge(CompanyQuery("acme.example", name=first), _candidate(second)).accepted


def test_our_domain_among_the_providers_own_is_enough() -> None:
    match = judge(CompanyQuery("acme.example"), _candidate("Acme", domains=("acme.example",)))
    assert match.accepted
    assert match.reasons == ("the provider gives acme.example as its domain",)


def test_without_domain_and_name_nothing_is_accepted_whatever_the_provider_thinks() -> None:
    match = judge(CompanyQuery("acme.example"), _candidate("Acme", score=1.0))
    assert (match.accepted, match.score) == (False, 0.0)
    assert "no evidence" in match.reasons[-1]


def test_a_name_is_never_taken_from_the_host_name() -> None:
    assert not judge(CompanyQuery("acme.example"), _candidate("Acme")).accepted


def test_the_sites_own_name_is_evidence_as_good_as_the_lists() -> None:
    query = CompanyQuery("acme.example")
    assert judge(query, _candidate("Acme Ltd"), site_names=["Home", "ACME"]).accepted
    assert judge(
        CompanyQuery("acme.example", other_names=("Acme",)), _candidate("Acme Ltd")
    ).accepted


def test_the_country_may_contradict_a_name_but_hardly_a_domain() -> None:
    query = CompanyQuery("acme.example", name="Acme", country="DE")
    by_name = judge(query, _candidate("Acme", country="US"))
    assert not by_name.accepted
    assert "the country differs: US, not DE" in by_name.reasons
    assert judge(query, _candidate("Acme", domains=("acme.example",), country="US")).accepted
    assert judge(query, _candidate("Acme", country="DE")).accepted


def test_a_name_counts_less_where_the_provider_knows_other_domains() -> None:
    query = CompanyQuery("acme.example", name="Acme")
    alone = judge(query, _candidate("Acme"))
    other = judge(query, _candidate("Acme", domains=("acme.test",)))
    assert alone.score > other.score >= THRESHOLD
    similar = CompanyQuery("acme.example", name="Acme Widget Company of Leeds")
    fuzzy = _candidate("Acme Widgets Company of Leed", domains=("acme.test",))
    assert not judge(similar, fuzzy).accepted


@pytest.mark.parametrize("host", ["github.io", "facebook.com", "blogspot.com", "linkedin.com"])
def test_a_platform_that_many_share_proves_nothing(host: str) -> None:
    match = judge(CompanyQuery(host), _candidate("Café Richardson", domains=(host,)))
    assert not match.accepted
    assert "platform" in match.reasons[0]


def test_the_company_behind_a_platform_is_recognised_by_its_name() -> None:
    assert judge(
        CompanyQuery("linkedin.com"), _candidate("LinkedIn", domains=("linkedin.com",))
    ).accepted


def test_a_platform_page_of_the_candidate_is_not_held_against_its_name() -> None:
    query = CompanyQuery("acme.example", name="Acme")
    assert "linkedin.com" in SHARED_HOSTS
    assert judge(query, _candidate("Acme", domains=("linkedin.com",))).score == 0.85


def test_the_best_accepted_candidate_is_chosen_and_all_are_told() -> None:
    query = CompanyQuery("acme.example", name="Acme")
    by_name = _candidate("Acme", record_id="name")
    by_both = _candidate("Acme", domains=("acme.example",), record_id="both")
    neither = _candidate("Beta", record_id="none")
    best, judged = choose(query, [neither, by_name, by_both])
    assert best is not None
    assert [match.candidate.record_id for match in judged] == ["both", "name", "none"]
    assert best is judged[0]


def test_no_candidate_is_chosen_where_none_is_accepted() -> None:
    best, judged = choose(CompanyQuery("acme.example"), [_candidate("Acme")])
    assert best is None
    assert len(judged) == 1
    assert choose(CompanyQuery("acme.example"), []) == (None, ())


def test_a_tie_is_told_and_broken_the_same_way_in_any_order() -> None:
    query = CompanyQuery("acme.example")
    first = _candidate("Acme", domains=("acme.example",), record_id="Q1", facts=3)
    second = _candidate("Acme Shop", domains=("acme.example",), record_id="Q2", facts=5)
    for order in ([first, second], [second, first]):
        best, _ = choose(query, order)
        assert best is not None
        assert best.candidate.record_id == "Q2"
        assert best.reasons[-1] == "ambiguous: Q1 fits as well as Q2"


@example("AÜ", "AAÜ")
@given(st.text(max_size=40), st.text(max_size=40))
def test_similarity_lies_between_nought_and_one_and_is_the_same_both_ways(
    first: str, second: str
) -> None:
    value = similarity(first, second)
    assert 0.0 <= value <= 1.0
    assert value == similarity(second, first)
