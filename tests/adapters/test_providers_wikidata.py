"""Wikidata: one query for many domains, what each status means, how rows become candidates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest

from resources.adapters.api_client import ApiClient, Question, Reply, UnansweredError
from resources.adapters.providers.wikidata import (
    BAN_S,
    STATUSES,
    Wikidata,
    sparql,
    website_forms,
)
from resources.adapters.suffix_list import bundled_rules
from resources.core.errors import RULES, CallError, Failure, FailureKind, Handling
from resources.core.models import CompanyQuery, RawAnswer
from tests.support.apis import Answer, api, nobody, said

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
A, B = CompanyQuery("a.example"), CompanyQuery("b.example")


class _StoppedClock:
    def now(self) -> float:
        return NOW


def _provider(client: ApiClient) -> Wikidata:
    return Wikidata(
        client,
        clock=_StoppedClock(),
        suffixes=bundled_rules(),
        base_url="https://wikidata.example/sparql",
    )


def _ask(reply: Answer, queries: Sequence[CompanyQuery]) -> Mapping[str, RawAnswer | Failure]:
    async def run() -> Mapping[str, RawAnswer | Failure]:
        client = api(reply)
        return await _provider(client).ask(queries)

    return asyncio.run(run())


def _row(**values: str) -> dict[str, Any]:
    return {name: {"type": "literal", "value": value} for name, value in values.items()}


def _result(*rows: dict[str, Any]) -> Answer:
    body = {"head": {"vars": []}, "results": {"bindings": list(rows)}}
    return lambda _: said(200, json=body)


def _item(number: int, website: str, **values: str) -> dict[str, Any]:
    return _row(item=f"http://www.wikidata.org/entity/Q{number}", website=website, **values)


def _body(answers: Mapping[str, RawAnswer | Failure], domain: str) -> RawAnswer:
    answer = answers[domain]
    assert isinstance(answer, RawAnswer)
    return answer


def test_all_domains_go_into_one_posted_query_in_all_usual_spellings() -> None:
    seen: list[Question] = []

    def reply(request: Question) -> Reply:
        seen.append(request)
        return _result()(request)

    answers = _ask(reply, [A, B])
    assert len(seen) == 1
    form = parse_qs((seen[0].body or b"").decode())
    assert form["format"] == ["json"]
    for website in (*website_forms("a.example"), *website_forms("b.example")):
        assert f"<{website}>" in form["query"][0]
    assert {_body(answers, domain).body for domain in answers} == {None}


def test_the_usual_spellings_are_eight() -> None:
    assert sorted(website_forms("x.example")) == sorted(
        f"{scheme}://{www}x.example{slash}"
        for scheme in ("http", "https")
        for www in ("", "www.")
        for slash in ("", "/")
    )


def test_the_query_names_the_properties_that_are_read() -> None:
    query = sparql(["a.example"])
    for part in ("wdt:P856", "wdt:P571", "wdt:P17/wdt:P297", "wdt:P159", "wdt:P1128", "wdt:P1278"):
        assert part in query


def test_text_that_is_no_domain_never_reaches_the_query() -> None:
    def reply(request: Question) -> Reply:
        assert b"DROP" not in (request.body or b"")
        return _result()(request)

    bad = CompanyQuery("x> } DROP ALL {<http://y")
    answers = _ask(reply, [A, bad])
    failure = answers[bad.domain]
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED
    assert isinstance(answers["a.example"], RawAnswer)


def test_rows_are_kept_by_domain_and_read_as_one_candidate_for_each_item() -> None:
    reply = _result(
        _item(
            1,
            "https://www.a.example/",
            itemLabel="Acme",
            aliases="ACME Corp|Acme Widgets",
            inception="1987-01-01T00:00:00Z",
            countryCode="DE",
            hqLabel="Berlin",
            employees="1200",
            lei="5493001KJTIIGC8Y1R12",
        ),
        _item(2, "http://a.example", itemLabel="Acme Search"),
        _item(3, "https://b.example/", itemLabel="Q3"),
    )
    answers = _ask(reply, [A, B])
    client = nobody()
    first, second = _provider(client).read(A, _body(answers, "a.example"))
    assert (first.record_id, second.record_id) == ("Q1", "Q2")
    assert first.names == ("Acme", "ACME Corp", "Acme Widgets")
    assert (first.domains, first.country) == (("a.example",), "DE")
    facts = {fact.field: fact for fact in first.facts}
    assert facts["wikidata_id"].value == "Q1"
    assert facts["wikidata_id"].url == "https://www.wikidata.org/wiki/Q1"
    assert facts["lei"].confidence > facts["employees"].confidence
    (other,) = _provider(client).read(B, _body(answers, "b.example"))
    assert other.names == ()


@pytest.mark.parametrize(("status", "kind"), [*STATUSES.items(), (500, FailureKind.HTTP_5XX)])
def test_every_status_of_the_table_becomes_its_kind_and_settles_nobody(
    status: int, kind: FailureKind
) -> None:
    with pytest.raises(CallError) as caught:
        _ask(lambda _: said(status), [A, B])
    assert caught.value.failure.kind is kind
    assert RULES[kind].handling is not Handling.SETTLE


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "30", 30),
        (429, "Fri, 15 Jan 2027 08:02:00 GMT", 120),
        (429, "Fri, 15 Jan 2027 07:00:00 GMT", 0),
        (429, None, None),
        (403, None, BAN_S),
        (403, "60", 60),
        (503, "15", 15),
    ],
)
def test_the_wait_that_is_asked_for_is_told(
    status: int, value: str | None, seconds: float | None
) -> None:
    headers = {"retry-after": value} if value else {}
    with pytest.raises(CallError) as caught:
        _ask(lambda _: said(status, headers=headers), [A])
    assert caught.value.failure.retry_after_s == seconds


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"results": {"bindings": [ java.util.concurrent.TimeoutException', FailureKind.TIMEOUT),
        (b"<html>maintenance</html>", FailureKind.MALFORMED),
        (b'{"boolean": true}', FailureKind.MALFORMED),
    ],
)
def test_an_unreadable_answer_says_why(content: bytes, kind: FailureKind) -> None:
    with pytest.raises(CallError) as caught:
        _ask(lambda _: said(200, content=content), [A])
    assert caught.value.failure.kind is kind


def test_a_kept_answer_that_is_no_list_is_malformed() -> None:
    with pytest.raises(CallError):
        _provider(nobody()).read(A, RawAnswer(b"12", "u", NOW))


def test_odd_rows_are_left_out_without_harm() -> None:
    rows = [{"item": {"value": 5}}, "x", {"item": "no item"}, {"item": "http://x/Q9", "lei": None}]
    answer = RawAnswer(json.dumps(rows).encode(), "u", NOW)
    candidates = _provider(nobody()).read(A, answer)
    assert [candidate.record_id for candidate in candidates] == ["Q9"]


def test_errors_of_the_transport_come_through_unchanged() -> None:
    def reply(request: Question) -> Reply:
        raise UnansweredError(str(request.url))

    with pytest.raises(UnansweredError):
        _ask(reply, [A])


def test_more_than_forty_domains_are_refused() -> None:
    with pytest.raises(ValueError, match="41"):
        _ask(_result(), [CompanyQuery(f"d{number}.example") for number in range(41)])
