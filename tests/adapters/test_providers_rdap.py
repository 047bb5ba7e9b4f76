"""RDAP: which server is asked, what each status means, and what redaction leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from resources.adapters.api_client import Question, Reply, UnansweredError
from resources.adapters.providers.rdap import STATUSES, Rdap
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import Candidate, CompanyQuery, RawAnswer
from tests.support.apis import Answer, api, nobody, said

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
CONTRACTS = Path(__file__).resolve().parents[3] / "shared/data/contracts/rdap"
BOOTSTRAP = {
    "version": "1.0",
    "services": [
        [["example", "com"], ["http://plain.example/", "https://registry.example/v1/"]],
        [["co.example"], ["https://second.example"]],
        "nonsense",
    ],
}


class _StoppedClock:
    def now(self) -> float:
        return NOW


def _domain(**values: Any) -> dict[str, Any]:
    return {"objectClassName": "domain", "ldhName": "ACME.example", **values}


def _entity(role: str, *entries: list[Any], **values: Any) -> dict[str, Any]:
    return {"roles": [role], "vcardArray": ["vcard", list(entries)], **values}


def _ask(
    reply: Answer, domains: Sequence[str] = ("acme.example",), base_url: str | None = None
) -> list[RawAnswer | Failure]:
    async def run() -> list[RawAnswer | Failure]:
        client = api(reply)
        provider = Rdap(client, clock=_StoppedClock(), base_url=base_url)
        found = [provider.ask([CompanyQuery(domain)]) for domain in domains]
        answers = await asyncio.gather(*found)
        return [next(iter(answer.values())) for answer in answers]

    return asyncio.run(run())


def _read(data: Mapping[str, Any], domain: str = "acme.example") -> Candidate:
    answer = RawAnswer(json.dumps(data).encode(), "https://r.example/domain/acme.example", NOW)
    (candidate,) = Rdap(nobody(), clock=_StoppedClock()).read(CompanyQuery(domain), answer)
    return candidate


def _facts(candidate: Candidate) -> dict[str, Any]:
    return {fact.field: fact.value for fact in candidate.facts}


def _internet(status: int, **more: Any) -> Answer:
    def reply(request: Question) -> Reply:
        if request.url.host == "data.iana.org":
            return said(200, json=BOOTSTRAP)
        return said(status, **more)

    return reply


def test_the_registry_comes_from_the_bootstrap_file_which_is_fetched_once() -> None:
    seen: list[str] = []

    def reply(request: Question) -> Reply:
        seen.append(str(request.url))
        return _internet(200, json=_domain())(request)

    answers = _ask(reply, ["acme.example", "shop.co.example", "acme.com"])
    assert all(isinstance(answer, RawAnswer) and answer.body for answer in answers)
    assert sorted(seen) == [
        "https://data.iana.org/rdap/dns.json",
        "https://registry.example/v1/domain/acme.com",
        "https://registry.example/v1/domain/acme.example",
        "https://second.example/domain/shop.co.example",
    ]


def test_a_base_url_makes_the_bootstrap_file_needless() -> None:
    seen: list[str] = []

    def reply(request: Question) -> Reply:
        seen.append(str(request.url))
        assert request.headers["Accept"].startswith("application/rdap+json")
        return said(200, json=_domain())

    _ask(reply, base_url="http://rdap.example/x/")
    assert seen == ["http://rdap.example/x/domain/acme.example"]


@pytest.mark.parametrize(
    ("domain", "base_url", "endpoint"),
    [
        ("acme.com", None, "rdap/registry.example"),
        ("acme.example", None, "rdap/registry.example"),
        ("shop.co.example", None, "rdap/second.example"),
        ("acme.zz", None, "rdap"),
        ("acme.com", "http://one.example:8080/x/", "rdap/one.example"),
    ],
)
def test_each_registry_is_an_endpoint_of_its_own(
    domain: str, base_url: str | None, endpoint: str
) -> None:
    async def run() -> str:
        client = api(_internet(500))
        provider = Rdap(client, clock=_StoppedClock(), base_url=base_url)
        return await provider.endpoint([CompanyQuery(domain)])

    assert asyncio.run(run()) == endpoint


def test_the_bootstrap_file_is_read_once_and_within_the_call_that_was_given_for_it() -> None:
    story: list[str] = []

    @asynccontextmanager
    async def passage() -> AsyncIterator[None]:
        story.append("begun")
        yield
        story.append("ended")

    def reply(request: Question) -> Reply:
        story.append(request.url.host)
        return _internet(200, json=_domain())(request)

    async def run() -> None:
        client = api(reply)
        provider = Rdap(client, clock=_StoppedClock(), bootstrap_call=passage)
        query = [CompanyQuery("acme.com")]
        await asyncio.gather(*(provider.endpoint(query) for _ in range(3)))
        await provider.ask(query)

    asyncio.run(run())
    assert story == ["begun", "data.iana.org", "ended", "registry.example"]


def test_a_tld_without_rdap_server_is_no_match() -> None:
    (answer,) = _ask(_internet(500), ["acme.zz"])
    assert isinstance(answer, RawAnswer)
    assert answer.body is None


def test_a_domain_that_is_not_registered_is_no_match() -> None:
    (answer,) = _ask(_internet(404, json={"errorCode": 404}))
    assert isinstance(answer, RawAnswer)
    assert answer.body is None


@pytest.mark.parametrize(("status", "kind"), [*STATUSES.items(), (503, FailureKind.HTTP_5XX)])
def test_every_status_of_the_table_becomes_its_kind(status: int, kind: FailureKind) -> None:
    with pytest.raises(CallError) as caught:
        _ask(_internet(status, headers={"retry-after": "11"}))
    assert caught.value.failure.kind is kind
    assert caught.value.failure.retry_after_s == 11
    assert caught.value.failure.url == "https://registry.example/v1/domain/acme.example"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (said(404), FailureKind.HTTP_5XX),
        (said(403), FailureKind.HTTP_5XX),
        (said(500), FailureKind.HTTP_5XX),
        (said(429), FailureKind.RATE_LIMITED),
        (said(200, content=b"<html>"), FailureKind.HTTP_5XX),
        (said(200, json={"services": []}), FailureKind.HTTP_5XX),
    ],
)
def test_trouble_with_the_bootstrap_file_settles_no_domain(reply: Reply, kind: FailureKind) -> None:
    with pytest.raises(CallError) as caught:
        _ask(lambda _: reply)
    assert caught.value.failure.kind is kind


def test_a_failed_bootstrap_is_tried_again_at_the_next_question() -> None:
    replies = iter([said(500), said(200, json=BOOTSTRAP)])

    async def run() -> Mapping[str, RawAnswer | Failure]:
        def reply(request: Question) -> Reply:
            if request.url.host == "data.iana.org":
                return next(replies)
            return said(200, json=_domain())

        client = api(reply)
        provider = Rdap(client, clock=_StoppedClock())
        with pytest.raises(CallError):
            await provider.ask([CompanyQuery("acme.example")])
        return await provider.ask([CompanyQuery("acme.example")])

    assert isinstance(asyncio.run(run())["acme.example"], RawAnswer)


def test_three_redirects_are_followed_and_the_last_address_is_the_evidence() -> None:
    def reply(request: Question) -> Reply:
        step = int(request.url.query.get("step", "0"))
        if step < 3:
            return said(302, headers={"location": f"https://r{step}.example/?step={step + 1}"})
        return said(200, json=_domain())

    (answer,) = _ask(reply, base_url="https://r.example")
    assert isinstance(answer, RawAnswer)
    assert answer.url == "https://r2.example/?step=3"


@pytest.mark.parametrize("location", ["https://r.example/again", "ftp://r.example/", "http://[bad"])
def test_a_loop_and_other_bad_redirects_end_as_malformed(location: str) -> None:
    asked: list[str] = []

    def reply(request: Question) -> Reply:
        asked.append(str(request.url))
        return said(301, headers={"location": location})

    with pytest.raises(CallError) as caught:
        _ask(reply, base_url="https://r.example")
    assert caught.value.failure.kind is FailureKind.MALFORMED
    assert len(asked) <= 4


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"errorCode": 400}'])
def test_an_answer_that_is_no_domain_object_is_malformed(content: bytes) -> None:
    with pytest.raises(CallError) as caught:
        _ask(_internet(200, content=content))
    assert caught.value.failure.kind is FailureKind.MALFORMED


def test_errors_of_the_transport_come_through_unchanged() -> None:
    def reply(request: Question) -> Reply:
        raise UnansweredError(str(request.url))

    with pytest.raises(UnansweredError):
        _ask(reply)


def test_registration_registrar_and_registrant_are_read() -> None:
    candidate = _read(
        _domain(
            events=[{"eventAction": "registration", "eventDate": "1997-06-03T00:00:00Z"}],
            entities=[
                _entity("registrar", ["fn", {}, "text", "Names Inc."]),
                _entity(
                    "registrant",
                    ["fn", {}, "text", "Jane Doe"],
                    ["org", {}, "text", "Acme Widgets Ltd"],
                    ["adr", {"cc": "GB"}, "text", ["", "", "1 Road", "Leeds", "", "L1", ""]],
                ),
            ],
        )
    )
    assert _facts(candidate) == {
        "registered_on": "1997-06-03",
        "registrar": "Names Inc.",
        "legal_name": "Acme Widgets Ltd",
        "country": "GB",
    }
    assert (candidate.domains, candidate.names) == (("acme.example",), ("Acme Widgets Ltd",))


@pytest.mark.parametrize(
    "organisation",
    [
        "REDACTED FOR PRIVACY",
        "Domains By Proxy, LLC",
        "Privacy service provided by Withheld for Privacy ehf",
        "Statutory Masking Enabled",
        "Contact Privacy Inc. Customer 0123",
        "Not Disclosed",
        "Private Person",
        "",
        "***",
    ],
)
def test_a_phrase_in_place_of_the_owner_is_no_fact(organisation: str) -> None:
    registrant = _entity("registrant", ["org", {}, "text", organisation])
    candidate = _read(_domain(entities=[registrant]))
    assert (_facts(candidate), candidate.names) == ({}, ())


def test_a_company_may_have_private_in_its_name() -> None:
    registrant = _entity("registrant", ["org", {}, "text", "Acme India Private Limited"])
    assert _read(_domain(entities=[registrant])).names == ("Acme India Private Limited",)


def test_a_person_is_no_fact_and_neither_is_a_name_of_unknown_kind() -> None:
    person = _entity(
        "registrant", ["fn", {}, "text", "Jane Doe"], ["kind", {}, "text", "individual"]
    )
    unknown = _entity("registrant", ["fn", {}, "text", "Jane Doe"])
    for registrant in (person, unknown):
        assert _read(_domain(entities=[registrant])).names == ()


def test_what_the_redaction_list_names_is_no_fact_even_where_a_value_stands() -> None:
    candidate = _read(
        _domain(
            entities=[
                _entity(
                    "registrant",
                    ["org", {}, "text", "Replacement Ltd"],
                    ["adr", {}, "text", ["", "", "", "", "", "", "FR"]],
                )
            ],
            redacted=[
                {"name": {"description": "Registrant Organization"}, "method": "replacementValue"},
                {"name": {"type": "Registrant Country"}},
            ],
        )
    )
    assert _facts(candidate) == {}


def _contract(name: str) -> dict[str, Any]:
    path = CONTRACTS / name
    if not path.exists():
        pytest.skip(f"recorded RDAP answers are not at {CONTRACTS}")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "icann_microsoft.click.json",
            {
                "registered_on": "2014-11-12",
                "registrar": "MarkMonitor Inc.",
                "legal_name": "Microsoft Corporation",
                "country": "US",
            },
        ),
        (
            "icann_lemonde.fr.json",
            {
                "registered_on": "2005-08-02",
                "registrar": "NAMESHIELD",
                "legal_name": "SOCIETE EDITRICE DU MONDE",
                "country": "FR",
            },
        ),
        (
            "icann_domain_afnic_fr.json",
            {
                "registered_on": "2001-12-10",
                "registrar": "Registry Operations",
                "legal_name": "ASS FRANC NOMMAGE INTERNET EN COOP",
                "country": "FR",
            },
        ),
        (
            "icann_lookup_with_redaction.json",
            {
                "registered_on": "1997-06-03",
                "registrar": "Example Registrar Inc.",
                "country": "CA",
            },
        ),
        (
            "icann_home.moscow.json",
            {
                "registered_on": "2021-10-19",
                "registrar": 'Limited Liability Company "Registrar of domain names REG.RU"',
            },
        ),
        (
            "nomulus_rdapjson_domain_full.json",
            {"registered_on": "1999-09-01", "registrar": "みんな"},
        ),
    ],
)
def test_recorded_answers_are_read(name: str, facts: dict[str, str]) -> None:
    assert _facts(_read(_contract(name))) == facts


@pytest.mark.parametrize(
    "name",
    [
        "icann_error_ripe_net.json",
        "nomulus_rdapjson_error.json",
        "nomulus_rdap_help_index.json",
        "icann_entity-rfc9083-fig15.json",
    ],
)
def test_recorded_answers_that_are_no_domain_are_malformed(name: str) -> None:
    with pytest.raises(CallError):
        _read(_contract(name))
