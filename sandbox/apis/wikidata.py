"""The Wikidata query service, for the one question that is asked of it: what is known by website.

It does not evaluate SPARQL. It reads the websites or domains out of the query text, and answers
one row for each that this internet's Wikidata holds, with the projected variables it knows by
name. Limits as the real service has them: a User-Agent is demanded, and a query with too many
values runs into the time limit.
"""

import re
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import orjson

from sandbox.answers import Answer, Request, make_answer, text_answer
from sandbox.companies import Companies
from sandbox.domain_list import bare_domain
from sandbox.truth import Truth

HOST = "query.wikidata.org"
MAX_VALUES = 500
_JSON = "application/sparql-results+json"
_XML = "application/sparql-results+xml"
_XSD = "http://www.w3.org/2001/XMLSchema#"
_NOT_SITES = tuple(
    "wikidata.org w3.org wikiba.se schema.org wikimedia.org mediawiki.org wikipedia.org "
    "opengis.net bigdata.com purl.org creativecommons.org".split()
)
_COMMENT = re.compile(r"(?:^|(?<=\s))#[^\n]*")
_PROLOGUE = re.compile(r"\b(?:PREFIX\s+\S*\s*<[^>]*>|BASE\s*<[^>]*>)", re.IGNORECASE)
_SELECT = re.compile(r"\bSELECT\b(.*?)(?:\bWHERE\b|\{)", re.IGNORECASE | re.DOTALL)
_VALUES = re.compile(r"\bVALUES\s*\(?((?:\s*\?\w+)+)\s*\)?\s*\{(.*?)\}", re.IGNORECASE | re.DOTALL)
_TERM = re.compile(r"<(https?://[^>\s]+)>|\"([^\"\s]+)\"|'([^'\s]+)'")
_ALIAS = re.compile(r"\bAS\s+\?(\w+)\s*\)", re.IGNORECASE)
_VARIABLE = re.compile(r"\?(\w+)")

Binding = dict[str, str]


class Wikidata:
    """The query service over one set of companies."""

    def __init__(self, companies: Companies) -> None:
        self._companies = companies

    def answer(self, request: Request) -> Answer:
        """Answer a request to `/sparql`."""
        if request.path not in ("/sparql", "/bigdata/namespace/wdq/sparql"):
            return text_answer(404, "Not Found")
        if not request.headers.get("User-Agent"):
            return text_answer(403, "Forbidden: set a User-Agent that says how to reach you")
        query = _query_text(request)
        select = _SELECT.search(query)
        if select is None or "{" not in query:
            return text_answer(400, "MalformedQueryException: expected SELECT ... { ... }")
        asked = asked_websites(query)
        domains = tuple(asked)
        if sum(len(forms) for forms in asked.values()) > MAX_VALUES:
            return make_answer(
                500,
                b"java.util.concurrent.TimeoutException",
                "text/plain",
                asked=domains,
            )
        variables = _projected(select.group(1), query)
        value_variables = {
            name for match in _VALUES.finditer(query) for name in _VARIABLE.findall(match.group(1))
        }
        rows = []
        for domain, forms in asked.items():
            truth = self._companies.truth_of(domain)
            if truth.providers.wikidata:
                known = bindings(truth, forms, value_variables)
                rows.append({name: known[name] for name in variables if name in known})
        return _results(request, variables, rows, domains)


def asked_websites(query: str) -> dict[str, list[str]]:
    """Return the domains a query asks for, each with the forms in which it is written there.

    Where there is a VALUES clause only its terms count, so that no IRI of a vocabulary is taken
    for a company's website.

    >>> asked_websites('SELECT ?i { VALUES ?w { <https://www.acme.example/> } ?i wdt:P856 ?w }')
    {'acme.example': ['https://www.acme.example/']}
    """
    query = _PROLOGUE.sub(" ", query)
    values = [match.group(2) for match in _VALUES.finditer(query)]
    asked: dict[str, list[str]] = {}
    for match in _TERM.finditer(" ".join(values) or query):
        form = match.group(1) or match.group(2) or match.group(3)
        domain = bare_domain(form)
        if not domain or not re.fullmatch(r"[\w.-]+\.[\w-]{2,}", domain):
            continue
        if not values and domain.endswith(_NOT_SITES):
            continue
        forms = asked.setdefault(domain, [])
        if form not in forms:
            forms.append(form)
    return asked


def bindings(truth: Truth, forms: list[str], value_variables: set[str]) -> dict[str, Binding]:
    """Return a value for every variable name that is understood."""
    urls = [form for form in forms if form.startswith("http")]
    website = truth.website if truth.website in urls or not urls else urls[0]
    item = _iri(f"http://www.wikidata.org/entity/{truth.wikidata_id}")
    values: dict[str, Binding] = {}
    for value, names in (
        (item, "item company org organization"),
        (
            _label(truth.name),
            "itemLabel companyLabel orgLabel organizationLabel name label",
        ),
        (_label(truth.summary), "itemDescription companyDescription description"),
        (_label(truth.alternative_names[0]), "itemAltLabel altLabel alias"),
        (_iri(website), "website site url web officialWebsite homepage"),
        (
            _typed(f"{truth.inception}T00:00:00Z", "dateTime"),
            "inception founded foundedDate",
        ),
        (_typed(str(truth.founded), "integer"), "foundedYear inceptionYear"),
        (_plain(truth.domain), "domain host"),
        (_plain(truth.country), "countryCode isoCode country_code countryIso iso2"),
        (_entity("C", truth.country), "country"),
        (_label(truth.country_name), "countryLabel countryName"),
        (_entity("H", truth.address.city), "hq headquarters location"),
        (
            _label(truth.address.city),
            "hqLabel headquartersLabel locationLabel city cityLabel hqCity",
        ),
        (
            _typed(str(truth.employees), "decimal"),
            "employees employeeCount numEmployees",
        ),
        (_entity("I", truth.industry.label), "industry"),
        (_label(truth.industry.label), "industryLabel industries industryLabels"),
        (_plain(truth.lei), "lei LEI"),
        (_entity("L", truth.legal_form), "legalForm"),
        (_label(truth.legal_form), "legalFormLabel legal_form"),
        (_plain(truth.legal_name), "officialName legalName"),
        (_iri(f"mailto:{truth.email}"), "email"),
        (_plain(truth.phone.e164), "phone"),
    ):
        values |= dict.fromkeys(names.split(), value)
    for name, names in (("twitter", "twitter twitterUsername"), ("linkedin", "linkedin linkedinId"),
                        ("facebook", "facebook facebookId")):  # fmt: skip
        if name in truth.social:
            handle = _plain(truth.social[name].rpartition("/")[2])
            values |= dict.fromkeys(names.split(), handle)
    if truth.ticker:
        values |= dict.fromkeys(("ticker", "tickerSymbol"), _plain(truth.ticker))
    asked_for = _iri(website) if urls else _plain(forms[0])
    return values | {name: asked_for for name in value_variables if name not in values or not urls}


def _query_text(request: Request) -> str:
    if request.method == "POST":
        body = request.body.decode("utf-8", "replace")
        if "sparql-query" in request.headers.get("Content-Type", ""):
            return _COMMENT.sub("", body)
        source = body or request.query
    else:
        source = request.query
    return _COMMENT.sub("", parse_qs(source).get("query", [""])[0])


def _projected(clause: str, query: str) -> list[str]:
    aliases = _ALIAS.findall(clause)
    plain = _VARIABLE.findall(re.sub(r"\((?:[^()]|\([^()]*\))*\)", " ", clause))
    if "*" in clause and not plain and not aliases:
        plain = _VARIABLE.findall(query)
    return sorted({*plain, *aliases}, key=lambda name: query.index(f"?{name}"))


def _results(
    request: Request,
    variables: list[str],
    rows: list[dict[str, Binding]],
    asked: tuple[str, ...],
) -> Answer:
    wanted = request.query + request.body[:200_000].decode("utf-8", "replace")
    if "format=json" in wanted or "json" in request.headers.get("Accept", ""):
        content: dict[str, Any] = {
            "head": {"vars": variables},
            "results": {"bindings": rows},
        }
        return make_answer(200, orjson.dumps(content), f"{_JSON};charset=utf-8", asked=asked)
    return make_answer(200, _xml(variables, rows), f"{_XML};charset=utf-8", asked=asked)


def _xml(variables: list[str], rows: list[dict[str, Binding]]) -> bytes:
    head = "".join(f'<variable name="{name}"/>' for name in variables)
    results = "".join(
        "<result>"
        + "".join(
            f'<binding name="{name}"><{term["type"]}>{escape(term["value"])}</{term["type"]}>'
            "</binding>"
            for name, term in row.items()
        )
        + "</result>"
        for row in rows
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<sparql xmlns="http://www.w3.org/2005/sparql-results#">'
        f"<head>{head}</head><results>{results}</results></sparql>"
    ).encode()


def _iri(value: str) -> Binding:
    return {"type": "uri", "value": value}


def _plain(value: str) -> Binding:
    return {"type": "literal", "value": value}


def _label(value: str) -> Binding:
    return {"type": "literal", "xml:lang": "en", "value": value}


def _typed(value: str, kind: str) -> Binding:
    return {"type": "literal", "datatype": _XSD + kind, "value": value}


def _entity(kind: str, value: str) -> Binding:
    number = sum(ord(sign) * 31**index for index, sign in enumerate(kind + value)) % 10**6
    return _iri(f"http://www.wikidata.org/entity/Q{1000 + number}")
