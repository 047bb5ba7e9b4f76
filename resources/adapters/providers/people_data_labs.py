"""People Data Labs: company enrichment by website, single and in bulk. Paid per match.

One call, no retries, no waiting. The key travels in a header only, and redirects are not followed:
the key would go along to another host. A billed answer that cannot be read is
kept as it came and fails when it is read, so that nothing buys it again by itself.

Source: https://docs.peopledatalabs.com/docs/company-enrichment-api and bulk-company-enrichment-api
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson
from pydantic import SecretStr

from resources.adapters.api_client import ApiClient, Reply
from resources.adapters.providers.people_data_labs_record import (
    candidate_of,
    company_record,
    flat,
)
from resources.adapters.providers.replies import (
    StatusTable,
    failure_of,
    json_or_none,
    kind_of,
    malformed,
    one_line,
)
from resources.core.domains import SuffixRules
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.limit_headers import reset_wait
from resources.core.models import Candidate, CompanyQuery, RawAnswer
from resources.core.ports import Clock

BASE_URL: Final = "https://api.peopledatalabs.com"
BULK_SIZE: Final = 100
NO_MATCH: Final = 404
STATUSES: StatusTable = MappingProxyType(
    {
        400: FailureKind.HTTP_4XX,
        401: FailureKind.AUTH,
        402: FailureKind.QUOTA_EXHAUSTED,
        403: FailureKind.AUTH,  # it is about the account, so the domains must not be settled by it
        405: FailureKind.HTTP_4XX,
        408: FailureKind.TIMEOUT,
        429: FailureKind.RATE_LIMITED,
    }
)
# The same for a whole bulk call: what refuses all items at once is a wrong address or a mistake of
# ours, and must not settle a hundred domains as refused.
BULK_STATUSES: StatusTable = MappingProxyType(
    {**STATUSES, **dict.fromkeys((400, 404, 405, 413, 414, 415, 422), FailureKind.BUG)}
)
_KEPT_UNREADABLE_BYTES: Final = 4_096


class PeopleDataLabs:
    """Ask People Data Labs.

    Args:
        client: Brings guard, pooling, time-outs and User-Agent.
        api_key: Sent in `X-Api-Key`.
        clock: The time of answers, and what resets are counted from.
        suffixes: Public Suffix List, to compare websites by registrable domain.
        base_url: Scheme, host and port, without a path of the API.
        bulk_size: Most domains a call; 1 keeps to the single endpoint.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        api_key: SecretStr,
        clock: Clock,
        suffixes: SuffixRules,
        base_url: str = BASE_URL,
        bulk_size: int = BULK_SIZE,
    ) -> None:
        if not 1 <= bulk_size <= BULK_SIZE:
            raise ValueError(f"bulk_size must be 1 to {BULK_SIZE}, not {bulk_size}")
        self._client = client
        self._api_key = api_key
        self._clock = clock
        self._suffixes = suffixes
        self._url = base_url.rstrip("/") + "/v5/company/enrich"
        self._bulk_size = bulk_size

    @property
    def name(self) -> str:
        return "pdl"

    @property
    def is_paid(self) -> bool:
        return True

    @property
    def bulk_size(self) -> int:
        return self._bulk_size

    async def endpoint(self, queries: Sequence[CompanyQuery]) -> str:  # noqa: ARG002
        """Return the provider's name: it is one service."""
        return self.name

    async def ask(self, queries: Sequence[CompanyQuery]) -> Mapping[str, RawAnswer | Failure]:
        """Ask for one company, or for several in one bulk call.

        Returns: by domain, a record, "no match" (unbilled), or the item's own failure.
        Raises: CallError when the call as a whole failed; the client's errors as they come, after
            which it is not known whether the call was billed.
        """
        by_domain = {query.domain: query for query in queries}
        if len(by_domain) > self._bulk_size:
            raise ValueError(f"{len(by_domain)} queries are more than {self._bulk_size} a call")
        if not by_domain:
            return {}
        if len(by_domain) == 1:
            return {queries[0].domain: await self._ask_one(queries[0])}
        return await self._ask_many(by_domain)

    def read(self, query: CompanyQuery, answer: RawAnswer) -> Sequence[Candidate]:
        """Read a kept record: at most one candidate.

        Raises: CallError(MALFORMED) when the body is no company record.
        """
        if answer.body is None:
            return ()
        record = company_record(json_or_none(answer.body))
        if record is None:
            raise malformed(self.name, "the kept answer is no company record", answer.url)
        return (candidate_of(record, query, answer, self._suffixes),)

    async def _ask_one(self, query: CompanyQuery) -> RawAnswer:
        reply = await self._client.get(self._url, params=_params(query), headers=self._headers())
        now, url = self._clock.now(), reply.url
        spent = _credits_spent(reply.headers)
        if reply.status == NO_MATCH:
            return RawAnswer(None, url, now, spent or 0.0)
        if not reply.is_success:
            raise CallError(self._failure(reply, STATUSES, now))
        body = reply.body
        if company_record(json_or_none(body)) is None:
            body = body[:_KEPT_UNREADABLE_BYTES]
        return RawAnswer(body, url, now, 1.0 if spent is None else spent)

    async def _ask_many(
        self, queries: Mapping[str, CompanyQuery]
    ) -> Mapping[str, RawAnswer | Failure]:
        reply = await self._client.post_json(
            f"{self._url}/bulk",
            {
                "requests": [
                    {"metadata": {"domain": domain}, "params": _params(query)}
                    for domain, query in queries.items()
                ]
            },
            headers=self._headers(),
        )
        now, url = self._clock.now(), reply.url
        if not reply.is_success:
            raise CallError(self._failure(reply, BULK_STATUSES, now))
        spent = _credits_spent(reply.headers)
        items = json_or_none(reply.body)
        if not isinstance(items, list):
            kept = reply.body[:_KEPT_UNREADABLE_BYTES]
            share = 1.0 if spent is None else spent / len(queries)
            return {domain: RawAnswer(kept, url, now, share) for domain in queries}
        by_domain = _by_domain(items, tuple(queries))
        matches = sum(_status(item) == 200 for item in by_domain.values())
        price = 1.0 if spent is None or not matches else spent / matches
        answers: dict[str, RawAnswer | Failure] = {
            domain: self._item_answer(item, RawAnswer(None, url, now, price), reply)
            for domain, item in by_domain.items()
        }
        is_all_accounted_for = spent is not None and spent <= matches
        for domain in queries.keys() - answers.keys():
            answers[domain] = _left_out(self.name, url, is_unbilled=is_all_accounted_for)
        return answers

    def _item_answer(
        self, item: Mapping[str, Any], priced: RawAnswer, reply: Reply
    ) -> RawAnswer | Failure:
        status = _status(item)
        if status == NO_MATCH:
            return RawAnswer(None, priced.url, priced.at)
        if status == 200:
            return RawAnswer(orjson.dumps(flat(item)), priced.url, priced.at, priced.credits)
        return Failure(
            kind_of(status, STATUSES),
            f"{self.name} answered for this domain with status {status}: "
            f"{self._without_key(_error_text(item))}",
            url=priced.url,
            provider=self.name,
            retry_after_s=reset_wait(reply.headers, priced.at) if status == 429 else None,
        )

    def _failure(self, reply: Reply, table: StatusTable, now: float) -> Failure:
        said = _error_text(json_or_none(reply.body))
        wait = reset_wait(reply.headers, now) if reply.status == 429 else None
        return failure_of(
            self.name, reply, table, now, detail=self._without_key(said), retry_after_s=wait
        )

    def _headers(self) -> dict[str, str]:
        return {"X-Api-Key": self._api_key.get_secret_value(), "Accept": "application/json"}

    def _without_key(self, text: str) -> str:
        key = self._api_key.get_secret_value()
        return one_line(text.replace(key, "[key]") if key else text)


def _params(query: CompanyQuery) -> dict[str, str]:
    """Return what is asked: the website, and a name from the list where there is one.

    The name finds companies that the provider knows by another website; whether such a record is
    believed is decided in `core/match`. A country alone would find nothing more.
    """
    params = {"website": query.domain}
    if query.name:
        params["name"] = query.name
        if query.country:
            params["country"] = query.country
    return params


def _by_domain(items: Sequence[Any], domains: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Map bulk items to the domains asked for: by echoed metadata, else by position.

    Position counts only when no item was left out, because items come in the order of requests.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        metadata = item.get("metadata")
        domain = metadata.get("domain") if isinstance(metadata, dict) else None
        if domain is None and len(items) == len(domains):
            domain = domains[position]
        if isinstance(domain, str) and domain in domains:
            found.setdefault(domain, item)
    return found


def _status(item: Mapping[str, Any]) -> int:
    """Return an item's status; one without that is a record all the same counts as 200."""
    status = item.get("status")
    if status is None and company_record(item) is not None:
        return 200
    return status if isinstance(status, int) else 0


def _left_out(provider: str, url: str, *, is_unbilled: bool) -> Failure:
    """Return the failure for a domain that the bulk answer says nothing about.

    Asked again only where the bill shows that it was not among the matches.
    """
    return Failure(
        FailureKind.HTTP_5XX if is_unbilled else FailureKind.MALFORMED,
        f"{provider}: the bulk answer has no entry for this domain.",
        url=url,
        provider=provider,
    )


def _error_text(data: Any) -> str:
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else "it gave no reason"


def _credits_spent(headers: Mapping[str, str]) -> float | None:
    try:
        spent = float(headers["x-call-credits-spent"])
    except (KeyError, ValueError):
        return None
    return spent if 0 <= spent < 1_000_000 else None
