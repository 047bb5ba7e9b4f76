"""People Data Labs company enrichment: `GET /v5/company/enrich` and `POST .../enrich/bulk`.

Built to the official OpenAPI file and the published pages on errors and usage limits. Played are
`website`, `name`, `pretty`, `titlecase`, `min_likelihood` and `include_if_matched`; a look-up by
`pdl_id`, `profile` or `ticker` alone finds nothing, and `required` is not judged. A name is only
found when the domain list holds it. The rate limit is told and never enforced: order a 429 as a
fault.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sandbox.answers import JSON, Answer, Request, make_answer
from sandbox.calls import Calls
from sandbox.companies import Companies
from sandbox.domain_list import bare_domain
from sandbox.truth import Truth

HOST = "api.peopledatalabs.com"
_MINUTE_LIMIT = 100_000
_PURCHASED = 10_000_000
_MAX_BULK = 100
_INPUTS = ("pdl_id", "name", "profile", "ticker", "website")
_ERRORS = {
    400: (
        "invalid_request_error",
        "Request contained either missing or invalid parameters",
    ),
    401: ("authentication_error", "Request contained a missing or invalid key"),
    402: (
        "payment_required",
        "You have reached your account maximum (all matches used)",
    ),
    404: ("not_found", "No records were found matching your request"),
    405: (
        "invalid_request_error",
        "Request method is not allowed on the requested resource",
    ),
    429: (
        "rate_limit_error",
        "An error occurred due to requests hitting the API too quickly",
    ),
}
_SERVER_ERROR = (
    "api_error",
    "The server encountered an unexpected condition which prevented it from fulfilling the request",
)


def error_content(status: int) -> dict[str, Any]:
    """Return the JSON that this API answers with an error status."""
    kind, message = _ERRORS.get(status, _SERVER_ERROR)
    return {"status": status, "error": {"type": kind, "message": message}}


class PeopleDataLabs:
    """The API over one set of companies."""

    def __init__(self, companies: Companies, calls: Calls) -> None:
        self._companies = companies
        self._calls = calls

    def answer(self, request: Request) -> Answer:
        """Answer a request whose path begins with `/v5/`."""
        if request.path == "/v5/company/enrich":
            return self._single(request)
        if request.path == "/v5/company/enrich/bulk":
            return self._bulk(request)
        return self._error(404)

    def _single(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return self._error(405)
        params = dict(parse_qsl(request.query))
        asked = self._asked(params)
        refusal = _refusal(request)
        if refusal:
            return self._error(refusal, asked)
        found = self._enrich(params, _says_yes(params.get("include_if_matched")))
        billed = asked if found["status"] == 200 else ()
        return self._answer(
            found["status"],
            found,
            asked,
            billed,
            is_pretty=_says_yes(params.get("pretty")),
        )

    def _bulk(self, request: Request) -> Answer:
        if request.method != "POST":
            return self._error(405)
        content = _json_object(request.body)
        requests = content.get("requests")
        if not isinstance(requests, list) or not all(isinstance(one, dict) for one in requests):
            return self._error(_refusal(request) or 400)
        items = [self._item_params(one, content) for one in requests]
        asked = tuple(domain for params in items for domain in self._asked(params))
        refusal = _refusal(request)
        if refusal or not 1 <= len(requests) <= _MAX_BULK:
            return self._error(refusal or 400, asked)
        has_matched = _says_yes(content.get("include_if_matched"))
        answers: list[dict[str, Any]] = []
        billed: list[str] = []
        for one, params in zip(requests, items, strict=True):
            found = self._enrich(params, has_matched)
            if found["status"] == 200:
                billed.extend(self._asked(params))
            answers.append(found | {"metadata": one["metadata"]} if "metadata" in one else found)
        return self._answer(200, answers, asked, tuple(billed))

    @staticmethod
    def _item_params(one: dict[str, Any], content: dict[str, Any]) -> dict[str, str]:
        params = one.get("params")
        given = {} if not isinstance(params, dict) else params
        shared = {"titlecase": content["titlecase"]} if "titlecase" in content else {}
        return {name: str(value) for name, value in (shared | given).items() if value is not None}

    def _asked(self, params: dict[str, str]) -> tuple[str, ...]:
        domain = bare_domain(params.get("website", ""))
        if not domain and params.get("name"):
            domain = self._companies.domain_of_name(params["name"]) or params["name"]
        return (domain,) if domain else ()

    def _enrich(self, params: dict[str, str], has_matched: bool) -> dict[str, Any]:
        if not any(params.get(name) for name in _INPUTS):
            return error_content(400)
        domain = bare_domain(params.get("website", ""))
        by_website = bool(domain)
        domain = domain or self._companies.domain_of_name(params.get("name", "")) or ""
        if not domain:
            return error_content(404)
        truth = self._companies.truth_of(domain)
        agrees = params.get("name", "").strip().casefold() in (truth.name.casefold(),)
        likelihood = (6 if by_website else 3) + (3 if agrees and by_website else 0)
        least = params.get("min_likelihood", "2")
        if not least.isdigit() or int(least) > 10:
            return error_content(400)
        if not truth.providers.pdl or likelihood < int(least):
            return error_content(404)
        found = {"status": 200, **company_fields(truth), "likelihood": likelihood}
        if has_matched:
            found["matched"] = ["website"] * by_website + ["name"] * agrees
        return _title_case(found) if _says_yes(params.get("titlecase")) else found

    def _error(self, status: int, asked: tuple[str, ...] = ()) -> Answer:
        return self._answer(status, error_content(status), asked, ())

    def _answer(
        self,
        status: int,
        content: Any,
        asked: tuple[str, ...],
        billed: tuple[str, ...],
        is_pretty: bool = False,
    ) -> Answer:
        body = orjson.dumps(content, option=orjson.OPT_INDENT_2 if is_pretty else None)
        headers = self._usage_headers(len(billed))
        return make_answer(status, body, JSON, headers, asked, billed)

    def _usage_headers(self, spent: int) -> dict[str, str]:
        now = datetime.now(UTC)
        reset = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        used = self._calls.credits + spent
        limits = {"minute": _MINUTE_LIMIT, "day": None, "month": None}
        return {
            "x-call-credits-spent": str(spent),
            "x-call-credits-type": "enrich_company",
            "x-ratelimit-reset": reset.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-ratelimit-limit": orjson.dumps(limits).decode(),
            "x-ratelimit-remaining": orjson.dumps(limits | {"minute": _MINUTE_LIMIT - 1}).decode(),
            "x-lifetime-used": str(used),
            "x-totallimit-remaining": str(_PURCHASED - used),
            "x-totallimit-purchased-remaining": str(_PURCHASED - used),
            "x-totallimit-overages-remaining": "0",
        }


def company_fields(truth: Truth) -> dict[str, Any]:
    """Return a company in PDL's schema: lower case, and null for what PDL does not know."""
    address = truth.address
    place = ", ".join(part.lower() for part in (address.city, address.region, truth.country_name))
    social = {name: url.partition("://")[2].removeprefix("www.") for name, url in
              truth.social.items()}  # fmt: skip
    return {
        "id": truth.pdl_id,
        "name": truth.name.lower(),
        "display_name": truth.name,
        "legal_name": truth.legal_name.lower(),
        "size": truth.size,
        "employee_count": truth.employees,
        "founded": truth.founded,
        "industry": truth.industry.pdl,
        "naics": [{"naics_code": truth.industry.naics, "sector": truth.industry.sector}],
        "sic": None,
        "location": {
            "name": place,
            "locality": address.city.lower(),
            "region": address.region.lower(),
            "metro": None,
            "country": truth.country_name.lower(),
            "continent": truth.continent,
            "street_address": address.street.lower(),
            "address_line_2": None,
            "postal_code": address.postcode.lower() or None,
            "geo": None,
        },
        "linkedin_id": None,
        "linkedin_url": social.get("linkedin"),
        "linkedin_slug": social["linkedin"].rpartition("/")[2] if "linkedin" in social else None,
        "facebook_url": social.get("facebook"),
        "twitter_url": social.get("twitter"),
        "profiles": [
            social[name] for name in ("linkedin", "facebook", "twitter") if name in social
        ],
        "website": truth.domain,
        "ticker": truth.ticker.lower() if truth.ticker else None,
        "type": truth.type,
        "headline": truth.tagline.lower(),
        "summary": truth.summary.lower(),
        "tags": list(truth.tags),
        "alternative_names": [name.lower() for name in truth.alternative_names],
        "alternative_domains": [],
        "affiliated_profiles": [],
        "dataset_version": "31.0",
    }


def _refusal(request: Request) -> int | None:
    key = request.headers.get("X-Api-Key") or dict(parse_qsl(request.query)).get("api_key", "")
    if not key or key == "wrong":
        return 401
    return 402 if key == "spent" else None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _says_yes(value: object) -> bool:
    return str(value).lower() in ("true", "1")


def _title_case(found: dict[str, Any]) -> dict[str, Any]:
    location = {name: value.title() if isinstance(value, str) else value
                for name, value in found["location"].items()}  # fmt: skip
    name = found["display_name"]
    return found | {
        "name": name,
        "industry": found["industry"].title(),
        "location": location,
    }
