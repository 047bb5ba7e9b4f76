"""People Data Labs: what is asked, what each status means, what is billed, how a record is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from resources.adapters.api_client import ApiClient, Question, Reply, UnansweredError
from resources.adapters.providers.people_data_labs import (
    BULK_STATUSES,
    STATUSES,
    PeopleDataLabs,
)
from resources.adapters.suffix_list import bundled_rules
from resources.core.errors import RULES, CallError, Failure, FailureKind, Handling
from resources.core.models import CompanyQuery, RawAnswer
from resources.core.ports import Provider
from tests.support.apis import Answer, api, nobody, said

KEY = "k3y-of-nobody"
NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
CONTRACT = (
    Path(__file__).resolve().parents[3]
    / "shared/data/contracts/people_data_labs/pdl-specs.official.openapi.json"
)
RECORD = {
    "status": 200,
    "likelihood": 6,
    "id": "acme-widgets",
    "name": "acme widgets",
    "display_name": "ACME Widgets",
    "alternative_names": ["acme"],
    "website": "www.acme.example",
    "summary": "Widgets of all kinds.",
    "industry": "machinery",
    "size": "51-200",
    "employee_count": 120,
    "founded": 1987,
    "type": "private",
    "linkedin_url": "linkedin.com/company/acme-widgets",
    "profiles": ["linkedin.com/company/acme-widgets", "twitter.com/acme"],
    "location": {
        "street_address": "1 main street",
        "locality": "san francisco",
        "region": "california",
        "postal_code": "94105",
        "country": "united states",
    },
}
A, B, C = (CompanyQuery(f"{letter}.example") for letter in "abc")


class _StoppedClock:
    def now(self) -> float:
        return NOW


def _ask(
    reply: Answer,
    queries: Sequence[CompanyQuery],
    base_url: str = "https://pdl.example",
) -> Mapping[str, RawAnswer | Failure]:
    async def run() -> Mapping[str, RawAnswer | Failure]:
        client = api(reply)
        return await _provider(client, base_url).ask(queries)

    return asyncio.run(run())


def _provider(client: ApiClient, base_url: str = "https://pdl.example") -> PeopleDataLabs:
    return PeopleDataLabs(
        client,
        api_key=SecretStr(KEY),
        clock=_StoppedClock(),
        suffixes=bundled_rules(),
        base_url=base_url,
    )


def _reader() -> Provider:
    return _provider(nobody())


def _always(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: said(status, content=content, headers=headers)


def _failure_of(reply: Answer, queries: Sequence[CompanyQuery]) -> Failure:
    with pytest.raises(CallError) as caught:
        _ask(reply, queries)
    return caught.value.failure


def test_one_company_is_asked_for_by_website_with_the_key_in_a_header_only() -> None:
    seen: list[Question] = []

    def reply(request: Question) -> Reply:
        seen.append(request)
        return said(200, json=RECORD, headers={"x-call-credits-spent": "1"})

    answer = _ask(reply, [A])["a.example"]
    assert isinstance(answer, RawAnswer)
    assert (answer.credits, answer.at) == (1.0, NOW)
    assert (
        answer.url == str(seen[0].url) == "https://pdl.example/v5/company/enrich?website=a.example"
    )
    assert seen[0].headers["X-Api-Key"] == KEY


def test_the_lists_name_and_country_are_sent_along_and_a_country_alone_is_not() -> None:
    seen: list[dict[str, str]] = []

    def reply(request: Question) -> Reply:
        seen.append(dict(request.url.query))
        return said(404)

    _ask(reply, [CompanyQuery("a.example", name="Acme", country="DE")])
    _ask(reply, [CompanyQuery("a.example", country="DE")])
    assert seen == [
        {"website": "a.example", "name": "Acme", "country": "DE"},
        {"website": "a.example"},
    ]


def test_a_match_without_a_credits_header_counts_as_one_credit() -> None:
    answer = _ask(_always(200, RECORD), [A])["a.example"]
    assert isinstance(answer, RawAnswer)
    assert answer.credits == 1.0


def test_no_match_is_an_answer_and_costs_nothing() -> None:
    answer = _ask(_always(404, {"status": 404, "error": {"type": "not_found"}}), [A])["a.example"]
    assert isinstance(answer, RawAnswer)
    assert (answer.body, answer.credits) == (None, 0.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [*STATUSES.items(), (500, FailureKind.HTTP_5XX), (503, FailureKind.HTTP_5XX)],
)
def test_every_status_of_the_table_becomes_its_kind(status: int, kind: FailureKind) -> None:
    assert _failure_of(_always(status), [A]).kind is kind


@pytest.mark.parametrize(("status", "kind"), [*BULK_STATUSES.items(), (502, FailureKind.HTTP_5XX)])
def test_every_status_of_a_whole_bulk_call_becomes_its_kind(status: int, kind: FailureKind) -> None:
    assert _failure_of(_always(status), [A, B]).kind is kind


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 429, 500])
def test_no_status_of_a_whole_bulk_call_settles_its_domains(status: int) -> None:
    failure = _failure_of(_always(status), [A, B])
    assert RULES[failure.kind].handling is not Handling.SETTLE


def test_a_redirect_is_not_followed_because_the_key_would_go_along() -> None:
    asked: list[str] = []

    def reply(request: Question) -> Reply:
        asked.append(request.url.host or "")
        return said(302, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(CallError):
        _ask(reply, [A])
    assert asked == ["pdl.example"]


def test_the_key_is_in_no_failure_even_when_the_provider_echoes_it() -> None:
    failure = _failure_of(_always(401, {"error": {"message": f"bad key {KEY}"}}), [A])
    assert KEY not in str(failure)
    assert "bad key [key]" in failure.message


def test_user_name_and_password_of_a_base_url_are_in_no_evidence() -> None:
    answer = _ask(_always(404), [A], base_url="https://user:secret@pdl.example")["a.example"]
    assert isinstance(answer, RawAnswer)
    assert "secret" not in answer.url


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset": "2027-01-15T08:00:42Z"}, 42),
        ({"x-ratelimit-reset": "2027-01-15 08:00:42"}, 42),
        ({"x-ratelimit-reset": "{'minute': '2027-01-15T08:00:42.500Z'}"}, 43),
        (
            {
                "x-ratelimit-remaining": '{"minute": 0, "day": 12}',
                "x-ratelimit-reset": '{"minute": "2027-01-15T08:00:30Z", "day": "2027-01-16"}',
            },
            30,
        ),
        ({"x-ratelimit-reset": "2027-01-15T07:00:00Z"}, 0),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"retry-after": "7", "x-ratelimit-reset": "2027-01-15T08:00:42Z"}, 7),
        ({"retry-after": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60),
        ({}, None),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert _failure_of(_always(429, headers=headers), [A]).retry_after_s == seconds


@pytest.mark.parametrize("body", [b"", b"<html>oops", b'{"name": "acm', b"[]", b'{"x": 1}'])
def test_a_billed_answer_that_cannot_be_read_is_kept_so_that_it_is_not_bought_again(
    body: bytes,
) -> None:
    answer = _ask(_always(200, body), [A])["a.example"]
    assert isinstance(answer, RawAnswer)
    assert (answer.body, answer.credits) == (body, 1.0)
    with pytest.raises(CallError) as caught:
        _reader().read(A, answer)
    assert caught.value.failure.kind is FailureKind.MALFORMED


def test_an_unreadable_bulk_answer_is_kept_for_every_domain_and_its_bill_shared() -> None:
    answers = _ask(_always(200, b"<html>" * 9_999, {"x-call-credits-spent": "1"}), [A, B])
    for query in (A, B):
        answer = answers[query.domain]
        assert isinstance(answer, RawAnswer)
        assert answer.body is not None
        assert len(answer.body) <= 4_096
        assert answer.credits == 0.5
        with pytest.raises(CallError):
            _reader().read(query, answer)


def test_several_companies_are_asked_for_in_one_call_and_mapped_by_their_domain() -> None:
    sent: list[Any] = []

    def reply(request: Question) -> Reply:
        sent.append((request.method, request.url.path, json.loads(request.body or b"")))
        items = [
            {"status": 404, "metadata": {"domain": "c.example"}},
            {**RECORD, "name": "b", "metadata": {"domain": "b.example"}},
            {"status": 200, "data": {"name": "a"}, "metadata": {"domain": "a.example"}},
        ]
        return said(200, json=items)

    answers = _ask(reply, [A, B, C])
    method, path, body = sent[0]
    assert (method, path, len(sent)) == ("POST", "/v5/company/enrich/bulk", 1)
    assert body["requests"][1] == {
        "metadata": {"domain": "b.example"},
        "params": {"website": "b.example"},
    }
    reader = _reader()
    names = {}
    for query in (A, B):
        answer = answers[query.domain]
        assert isinstance(answer, RawAnswer)
        assert answer.credits == 1.0
        assert b"metadata" not in (answer.body or b"")
        names[query.domain] = reader.read(query, answer)[0].names[-2 if query is B else 0]
    assert names == {"a.example": "a", "b.example": "b"}
    none = answers["c.example"]
    assert isinstance(none, RawAnswer)
    assert (none.body, none.credits) == (None, 0.0)


def test_a_bulk_answer_without_metadata_is_mapped_by_position_if_it_is_complete() -> None:
    answers = _ask(_always(200, [{"status": 200, "name": "a"}, {"status": 404}]), [A, B])
    found, none = answers["a.example"], answers["b.example"]
    assert isinstance(found, RawAnswer)
    assert isinstance(none, RawAnswer)
    assert (found.body is None, none.body) == (False, None)


def test_an_item_may_fail_by_itself_within_a_bulk_answer() -> None:
    items = [
        {"status": 200, "name": "a", "metadata": {"domain": "a.example"}},
        {"status": 402, "error": {"message": "no credits"}, "metadata": {"domain": "b.example"}},
        {"status": 429, "metadata": {"domain": "c.example"}},
    ]
    headers = {"x-ratelimit-reset": "2027-01-15T08:00:42Z"}
    answers = _ask(_always(200, items, headers), [A, B, C])
    quota, rate = answers["b.example"], answers["c.example"]
    assert isinstance(answers["a.example"], RawAnswer)
    assert isinstance(quota, Failure)
    assert isinstance(rate, Failure)
    assert (quota.kind, rate.kind) == (FailureKind.QUOTA_EXHAUSTED, FailureKind.RATE_LIMITED)
    assert rate.retry_after_s == 42


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"x-call-credits-spent": "1"}, FailureKind.HTTP_5XX),
        ({"x-call-credits-spent": "2"}, FailureKind.MALFORMED),
        ({}, FailureKind.MALFORMED),
    ],
)
def test_a_domain_left_out_of_a_bulk_answer_is_asked_again_only_if_it_was_surely_not_billed(
    headers: dict[str, str], kind: FailureKind
) -> None:
    items = [{"status": 200, "name": "a", "metadata": {"domain": "a.example"}}]
    failure = _ask(_always(200, items, headers), [A, B])["b.example"]
    assert isinstance(failure, Failure)
    assert failure.kind is kind


def test_errors_of_the_transport_come_through_unchanged() -> None:
    def reply(request: Question) -> Reply:
        raise UnansweredError(str(request.url))

    with pytest.raises(UnansweredError):
        _ask(reply, [A])


def test_nobody_is_asked_for_nothing_and_more_than_a_hundred_are_refused() -> None:
    assert _ask(_always(500), []) == {}
    with pytest.raises(ValueError, match="101"):
        _ask(_always(500), [CompanyQuery(f"d{number}.example") for number in range(101)])


def test_a_record_is_read_into_a_candidate_with_evidence() -> None:
    answer = RawAnswer(json.dumps(RECORD).encode(), "https://pdl.example/x", NOW, 1.0)
    (candidate,) = _reader().read(A, answer)
    assert candidate.record_id == "acme-widgets"
    assert candidate.names == ("ACME Widgets", "acme widgets", "acme")
    assert (candidate.domains, candidate.country, candidate.score) == (("acme.example",), "US", 0.6)
    facts = {fact.field: fact.value for fact in candidate.facts if fact.field != "social"}
    assert facts["name"] == "ACME Widgets"
    assert (facts["city"], facts["region"], facts["country"]) == (
        "San Francisco",
        "California",
        "US",
    )
    assert (facts["employees"], facts["size_range"]) == (120, "51-200")
    assert [fact.value for fact in candidate.facts if fact.field == "social"] == [
        "linkedin.com/company/acme-widgets",
        "twitter.com/acme",
    ]
    assert {fact.url for fact in candidate.facts} == {"https://pdl.example/x"}


def test_a_value_of_an_odd_type_does_not_cost_the_whole_record() -> None:
    record = {**RECORD, "founded": "long ago", "location": "somewhere", "profiles": "x"}
    answer = RawAnswer(json.dumps(record).encode(), "u", NOW, 1.0)
    (candidate,) = _reader().read(A, answer)
    fields = {fact.field for fact in candidate.facts}
    assert "founded" not in fields
    assert "industry" in fields


def test_no_match_is_read_as_no_candidate() -> None:
    assert _reader().read(A, RawAnswer(None, "u", NOW)) == ()


@pytest.mark.skipif(not CONTRACT.exists(), reason=f"the official contract is not at {CONTRACT}")
def test_the_official_contract_has_what_is_asked_for_and_what_is_read() -> None:
    contract = json.loads(CONTRACT.read_text())
    endpoint = contract["paths"]["/v5/company/enrich"]["get"]
    schemas = contract["components"]["schemas"]
    assert {"website", "name", "country"} <= {part["name"] for part in endpoint["parameters"]}
    assert {int(code) for code in endpoint["responses"]} - {200, 404} <= STATUSES.keys()
    extras = {"status", "likelihood", "display_name"}  # outside of `Company`, or newer than it
    assert RECORD.keys() - extras <= schemas["Company"]["properties"].keys()
    location = RECORD["location"]
    assert isinstance(location, dict)
    assert location.keys() <= schemas["CompanyLocation"]["properties"].keys()


@pytest.mark.skipif(not CONTRACT.exists(), reason=f"the official contract is not at {CONTRACT}")
def test_every_country_of_the_official_contract_is_known_by_its_code() -> None:
    schemas = json.loads(CONTRACT.read_text())["components"]["schemas"]
    countries = schemas["CompanyLocation"]["properties"]["country"]["enum"]
    reader = _reader()
    unknown = []
    for country in countries:
        record = {"name": "a", "location": {"country": country}}
        (candidate,) = reader.read(A, RawAnswer(json.dumps(record).encode(), "u", NOW))
        if candidate.country is None:
            unknown.append(country)
    assert unknown == []
