"""Wikidata: companies by official website (P856), many domains a SPARQL query. Free.

One POST, no retries, no waiting. The query service allows 60 s of query time a minute and 30 errors
a minute, and bans who ignores Retry-After for a day; keeping to that is the caller's limiter, the
User-Agent with a contact is the client's. Websites with a path are not found: P856 is compared as
a whole, by the eight usual spellings of a home page.

Source: https://www.mediawiki.org/wiki/Wikidata_Query_Service/User_Manual#Query_limits
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import orjson

from resources.adapters.api_client import ApiClient, Reply
from resources.adapters.providers.replies import (
    StatusTable,
    failure_of,
    json_or_none,
    malformed,
    registrable,
)
from resources.core.countries import alpha2
from resources.core.domains import SuffixRules
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import Candidate, CompanyQuery, Fact, RawAnswer
from resources.core.ports import Clock

BASE_URL: Final = "https://query.wikidata.org/sparql"
BULK_SIZE: Final = 40
CONFIDENCE: Final = 0.7
"""Written by many hands and mostly sourced; headcounts and seats may be some years old."""
IDENTIFIER_CONFIDENCE: Final = 0.9
"""LEI, ticker and the item's own number do not age."""

BAN_S: Final = 86_400.0
STATUSES: StatusTable = MappingProxyType(
    {
        400: FailureKind.BUG,  # the query is ours alone; it must not settle forty domains
        401: FailureKind.AUTH,
        403: FailureKind.RATE_LIMITED,  # the ban for ignoring 429, or for a missing contact
        404: FailureKind.BUG,  # a wrong address
        405: FailureKind.BUG,
        408: FailureKind.TIMEOUT,
        413: FailureKind.BUG,
        414: FailureKind.BUG,
        429: FailureKind.RATE_LIMITED,
    }
)
_LIST_SEPARATOR: Final = "|"
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_ITEM = re.compile(r"Q[1-9]\d{0,11}")
_QUERY: Final = """\
SELECT ?item ?itemLabel ?itemDescription ?website
  (MIN(?began) AS ?inception) (MIN(?code) AS ?countryCode) (MIN(?seatName) AS ?hqLabel)
  (MAX(?staff) AS ?employees) (MIN(?branchName) AS ?industryLabel) (MIN(?leiCode) AS ?lei)
  (MIN(?symbol) AS ?ticker) (MIN(?official) AS ?officialName) (MIN(?image) AS ?logo)
  (GROUP_CONCAT(DISTINCT ?alias; separator="%(separator)s") AS ?aliases)
WHERE {
  VALUES ?website { %(websites)s }
  ?item wdt:P856 ?website .
  FILTER NOT EXISTS { ?item wdt:P31 wd:Q5 }
  OPTIONAL { ?item wdt:P571 ?began . }
  OPTIONAL { ?item wdt:P17/wdt:P297 ?code . }
  OPTIONAL { ?item wdt:P159 ?seat . }
  OPTIONAL { ?item wdt:P1128 ?staff . }
  OPTIONAL { ?item wdt:P452 ?branch . }
  OPTIONAL { ?item wdt:P1278 ?leiCode . }
  OPTIONAL { ?item p:P414/pq:P249 ?symbol . }
  OPTIONAL { ?item wdt:P1448 ?official . }
  OPTIONAL { ?item wdt:P154 ?image . }
  OPTIONAL { ?item skos:altLabel ?alias . FILTER(LANG(?alias) IN ("en", "de", "fr", "es", "it")) }
  SERVICE wikibase:label {
    bd:serviceParam wikibase:language "en,mul,de,fr,es,it,nl,pt,pl,sv,ja,zh" .
    ?item rdfs:label ?itemLabel . ?item schema:description ?itemDescription .
    ?seat rdfs:label ?seatName . ?branch rdfs:label ?branchName .
  }
}
GROUP BY ?item ?itemLabel ?itemDescription ?website
"""
_FACT_OF: Mapping[str, str] = MappingProxyType(
    {
        "itemLabel": "name",
        "itemDescription": "description",
        "officialName": "legal_name",
        "industryLabel": "industry",
        "employees": "employees",
        "inception": "founded",
        "countryCode": "country",
        "hqLabel": "city",
        "website": "website",
        "logo": "logo_url",
        "lei": "lei",
        "ticker": "ticker",
    }
)
_IDENTIFIERS = frozenset({"lei", "ticker"})


class Wikidata:
    """Ask Wikidata's query service.

    Args:
        client: Brings guard, pooling, time-outs and a User-Agent with a contact.
        clock: The time of answers, and what HTTP-dates are counted from.
        suffixes: Public Suffix List.
        base_url: The SPARQL endpoint itself.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        clock: Clock,
        suffixes: SuffixRules,
        base_url: str = BASE_URL,
    ) -> None:
        self._client = client
        self._clock = clock
        self._suffixes = suffixes
        self._url = base_url

    @property
    def name(self) -> str:
        return "wikidata"

    @property
    def is_paid(self) -> bool:
        return False

    @property
    def bulk_size(self) -> int:
        return BULK_SIZE

    async def endpoint(self, queries: Sequence[CompanyQuery]) -> str:  # noqa: ARG002
        """Return the provider's name: it is one service."""
        return self.name

    async def ask(self, queries: Sequence[CompanyQuery]) -> Mapping[str, RawAnswer | Failure]:
        """Ask for up to 40 domains in one query.

        Returns: by domain, the rows that name its website, or "no match".
        Raises: CallError when the call failed; the client's errors as they come.
        """
        domains = tuple(dict.fromkeys(query.domain for query in queries))
        if len(domains) > BULK_SIZE:
            raise ValueError(f"{len(domains)} queries are more than {BULK_SIZE} a call")
        askable = [domain for domain in domains if _DOMAIN.fullmatch(domain)]
        answers: dict[str, RawAnswer | Failure] = {
            domain: Failure(
                FailureKind.MALFORMED, f"{domain!r} is no domain name", provider=self.name
            )
            for domain in domains
            if domain not in askable
        }
        if askable:
            answers.update(await self._answers(askable))
        return answers

    def read(self, query: CompanyQuery, answer: RawAnswer) -> Sequence[Candidate]:
        """Read kept rows: one candidate for each item, those with most facts first.

        Raises: CallError(MALFORMED) when the body is not a list of SPARQL bindings.
        """
        del query  # an item stands for the websites of its own rows
        if answer.body is None:
            return ()
        rows = _rows(json_or_none(answer.body))
        if rows is None:
            raise malformed(self.name, "the kept answer is no list of bindings", answer.url)
        by_item: dict[str, list[Mapping[str, str]]] = {}
        for row in rows:
            item = row.get("item", "").rpartition("/")[2]
            if _ITEM.fullmatch(item):
                by_item.setdefault(item, []).append(row)
        candidates = [self._candidate(item, found, answer) for item, found in by_item.items()]
        return sorted(candidates, key=lambda found: (-len(found.facts), found.record_id))

    async def _answers(self, domains: Sequence[str]) -> Mapping[str, RawAnswer]:
        forms = {form: domain for domain in domains for form in website_forms(domain)}
        reply = await self._client.post_form(
            self._url,
            {"query": sparql(domains), "format": "json"},
            headers={"Accept": "application/sparql-results+json"},
        )
        now, url = self._clock.now(), reply.url
        if not reply.is_success:
            raise CallError(self._failure(reply, now))
        rows = _rows(json_or_none(reply.body))
        if rows is None:
            raise self._unreadable(reply, url)
        by_domain: dict[str, list[Mapping[str, str]]] = {domain: [] for domain in domains}
        for row in rows:
            website = row.get("website", "")
            domain = forms.get(website) or registrable(website, self._suffixes)
            if domain in by_domain:
                by_domain[domain].append(row)
        return {
            domain: RawAnswer(orjson.dumps(found) if found else None, url, now)
            for domain, found in by_domain.items()
        }

    def _failure(self, reply: Reply, now: float) -> Failure:
        failure = failure_of(self.name, reply, STATUSES, now)
        if reply.status == 403 and failure.retry_after_s is None:
            return replace(failure, retry_after_s=BAN_S)
        return failure

    def _unreadable(self, reply: Reply, url: str) -> CallError:
        # A query that runs out of time after the first rows ends in a Java stack trace, status 200.
        if b"TimeoutException" in reply.body:
            message = f"{self.name}: the query ran out of time."
            return CallError(Failure(FailureKind.TIMEOUT, message, url=url, provider=self.name))
        return malformed(self.name, "the answer is no SPARQL result in JSON", url)

    def _candidate(
        self, item: str, rows: Sequence[Mapping[str, str]], answer: RawAnswer
    ) -> Candidate:
        url = f"https://www.wikidata.org/wiki/{item}"
        facts = dict.fromkeys(
            Fact(
                field,
                row[variable],
                self.name,
                url,
                answer.at,
                IDENTIFIER_CONFIDENCE if field in _IDENTIFIERS else CONFIDENCE,
            )
            for row in rows
            for variable, field in _FACT_OF.items()
            if row.get(variable) and not _ITEM.fullmatch(row[variable])
        )
        number = Fact("wikidata_id", item, self.name, url, answer.at, IDENTIFIER_CONFIDENCE)
        domains = (registrable(row.get("website"), self._suffixes) for row in rows)
        return Candidate(
            record_id=item,
            names=_names(rows),
            domains=tuple(dict.fromkeys(domain for domain in domains if domain)),
            country=next(
                (alpha2(row["countryCode"]) for row in rows if "countryCode" in row), None
            ),
            facts=(*facts, number),
        )


def website_forms(domain: str) -> tuple[str, ...]:
    """Return the usual spellings of a home page in P856."""
    return tuple(
        f"{scheme}://{host}{end}"
        for scheme in ("https", "http")
        for host in (domain, f"www.{domain}")
        for end in ("/", "")
    )


def sparql(domains: Sequence[str]) -> str:
    """Return the query for domains that are known to hold letters, digits, dots and hyphens."""
    websites = " ".join(f"<{form}>" for domain in domains for form in website_forms(domain))
    return _QUERY % {"websites": websites, "separator": _LIST_SEPARATOR}


def _rows(data: Any) -> list[Mapping[str, str]] | None:
    """Return bindings as plain text by variable, from a SPARQL result or from kept rows."""
    if isinstance(data, dict):
        results = data.get("results")
        data = results.get("bindings") if isinstance(results, dict) else None
    if not isinstance(data, list):
        return None
    return [
        {variable: text for variable, term in row.items() if (text := _text(term))}
        for row in data
        if isinstance(row, dict)
    ]


def _text(term: Any) -> str | None:
    value = term.get("value") if isinstance(term, dict) else term
    return value if isinstance(value, str) else None


def _names(rows: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Return label, official name and aliases; an item without a label has its number as one."""
    names: list[str] = []
    for variable in ("itemLabel", "officialName", "alias", "aliases"):
        for row in rows:
            names += row.get(variable, "").split(_LIST_SEPARATOR)
    return tuple(dict.fromkeys(name for name in names if name and not _ITEM.fullmatch(name)))
