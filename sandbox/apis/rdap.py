"""RDAP: IANA's bootstrap file (RFC 9224) and one registry's domain look-up (RFC 9083, RFC 9537).

One registry holds every TLD. Most registrants are redacted; a name that is not registered gets
the error object with 404. Nameservers, entities and searches are not played (501).
"""

from functools import cache
from importlib import resources
from typing import Any

import orjson

from sandbox.answers import JSON, Answer, Request, make_answer
from sandbox.companies import Companies
from sandbox.truth import Truth

BOOTSTRAP_HOST = "data.iana.org"
REGISTRY_HOST = "rdap.sandbox-registry.net"
_RDAP = "application/rdap+json"
_CONFORMANCE = ["rdap_level_0", "redacted", "icann_rdap_response_profile_1"]
_TERMS = {
    "title": "Terms of Use",
    "description": ["Service subject to Terms of Use."],
    "links": [
        {
            "rel": "terms-of-service",
            "href": f"https://{REGISTRY_HOST}/terms",
            "type": "text/html",
            "value": f"https://{REGISTRY_HOST}/terms",
        }
    ],
}
_TITLES = {
    400: "Bad Request",
    404: "Not Found",
    429: "Too Many Requests",
    501: "Not Implemented",
}
_REGISTRANT = "$.entities[?(@.roles[0]=='registrant')]"
_REDACTED = (
    ("Registry Domain ID", "prePath", "$.handle", "removal"),
    (
        "Registrant Name",
        "postPath",
        _REGISTRANT + ".vcardArray[1][?(@[0]=='fn')][3]",
        "emptyValue",
    ),
    (
        "Registrant Organization",
        "prePath",
        _REGISTRANT + ".vcardArray[1][?(@[0]=='org')]",
        "removal",
    ),
    (
        "Registrant Street",
        "postPath",
        _REGISTRANT + ".vcardArray[1][?(@[0]=='adr')][3][:3]",
        "emptyValue",
    ),
    ("Registrant Email", "prePath", _REGISTRANT + ".vcardArray[1][?(@[0]=='email')]", "removal"),
    ("Registrant Phone", "prePath", _REGISTRANT + ".vcardArray[1][?(@[0]=='tel')]", "removal"),
)  # fmt: skip


@cache
def known_tlds() -> tuple[str, ...]:
    """Return the top-level domains that the bootstrap file always lists."""
    text = resources.files("sandbox").joinpath("data", "tlds.txt").read_text(encoding="utf-8")
    return tuple(text.split())


def error_content(status: int) -> dict[str, Any]:
    """Return the RDAP error object for a status."""
    title = _TITLES.get(status, "Internal Server Error" if status >= 500 else "Error")
    return {
        "rdapConformance": _CONFORMANCE[:1],
        "errorCode": status,
        "title": title,
        "description": [title],
    }


class Rdap:
    """Bootstrap file and registry over one set of companies."""

    def __init__(self, companies: Companies) -> None:
        self._companies = companies

    def answer(self, request: Request) -> Answer:
        """Answer a request to either host; the paths do not overlap."""
        path = request.path
        if path in ("/rdap/dns.json", "/dns.json"):
            return self._bootstrap()
        if path == "/help":
            return _answer(200, {"rdapConformance": _CONFORMANCE, "notices": [_TERMS]})
        if not path.startswith("/domain/"):
            return _error(501)
        return self._domain(path.removeprefix("/domain/"))

    def _bootstrap(self) -> Answer:
        listed = {domain.rpartition(".")[2] for domain in self._companies.listed.by_domain}
        tlds = sorted({*known_tlds(), *listed})
        content = {
            "version": "1.0",
            "publication": "2025-10-01T00:00:00Z",
            "description": "RDAP bootstrap file for Domain Name System registrations",
            "services": [[tlds, [f"https://{REGISTRY_HOST}/"]]],
        }
        return make_answer(200, orjson.dumps(content), JSON)

    def _domain(self, name: str) -> Answer:
        domain = name.strip("/").lower().rstrip(".")
        if "." not in domain or "/" in domain or not domain.isascii() or " " in domain:
            return _error(400, (domain,))
        is_host = domain.startswith("www.") and domain.count(".") > 1
        truth = self._companies.truth_of(domain)
        if is_host or not truth.providers.rdap:
            return _error(404, (domain,))
        return _answer(200, domain_object(truth), (domain,))


def domain_object(truth: Truth) -> dict[str, Any]:
    """Return the RFC 9083 object of a registered domain."""
    registration = truth.registration
    content: dict[str, Any] = {
        "rdapConformance": _CONFORMANCE,
        "objectClassName": "domain",
        "ldhName": truth.domain,
        "links": [
            {
                "rel": "self",
                "href": f"https://{REGISTRY_HOST}/domain/{truth.domain}",
                "value": f"https://{REGISTRY_HOST}/domain/{truth.domain}",
                "type": _RDAP,
            }
        ],
        "status": ["client transfer prohibited", "active"],
        "events": [
            {"eventAction": "registration", "eventDate": registration.registered},
            {"eventAction": "expiration", "eventDate": registration.expires},
            {"eventAction": "last changed", "eventDate": registration.changed},
            {
                "eventAction": "last update of RDAP database",
                "eventDate": registration.changed,
            },
        ],
        "nameservers": [
            {
                "objectClassName": "nameserver",
                "ldhName": f"ns{index}.sandbox-registry.net",
            }
            for index in (1, 2)
        ],
        "secureDNS": {"delegationSigned": False},
        "entities": [_registrar(truth), _registrant(truth)],
        "notices": [_TERMS],
    }
    if not registration.is_redacted:
        return content | {"handle": f"D{truth.pdl_id[:10]}-SBX"}
    return content | {"redacted": [_redaction(*entry) for entry in _REDACTED]}


def _registrar(truth: Truth) -> dict[str, Any]:
    registration = truth.registration
    return {
        "objectClassName": "entity",
        "handle": registration.registrar_iana_id,
        "roles": ["registrar"],
        "publicIds": [{"type": "IANA Registrar ID", "identifier": registration.registrar_iana_id}],
        "vcardArray": [
            "vcard",
            [_version(), ["fn", {}, "text", registration.registrar]],
        ],
        "entities": [
            {
                "objectClassName": "entity",
                "roles": ["abuse"],
                "vcardArray": [
                    "vcard",
                    [
                        _version(),
                        ["fn", {}, "text", "Abuse Contact"],
                        ["email", {}, "text", "abuse@sandbox-registrar.net"],
                    ],
                ],
            }
        ],
    }


def _registrant(truth: Truth) -> dict[str, Any]:
    address = truth.address
    street, city, postcode = address.street, address.city, address.postcode
    name: list[list[Any]] = [["fn", {}, "text", truth.legal_name]]
    contact: list[list[Any]] = [
        ["org", {}, "text", truth.legal_name],
        ["email", {}, "text", truth.email],
        ["tel", {"type": "voice"}, "uri", f"tel:{truth.phone.e164}"],
    ]
    if truth.registration.is_redacted:
        street = city = postcode = ""
        name, contact = [["fn", {}, "text", ""]], []
    place = ["", "", street, city, address.region, postcode, ""]
    card = [
        _version(),
        *name,
        ["adr", {"cc": address.country}, "text", place],
        *contact,
    ]
    return {
        "objectClassName": "entity",
        "roles": ["registrant"],
        "vcardArray": ["vcard", card],
    }


def _version() -> list[Any]:
    return ["version", {}, "text", "4.0"]


def _redaction(name: str, path_kind: str, path: str, method: str) -> dict[str, Any]:
    return {
        "name": {"description": name},
        path_kind: path,
        "pathLang": "jsonpath",
        "method": method,
        "reason": {"description": "Server policy"},
    }


def _answer(status: int, content: dict[str, Any], asked: tuple[str, ...] = ()) -> Answer:
    return make_answer(status, orjson.dumps(content), _RDAP, None, asked)


def _error(status: int, asked: tuple[str, ...] = ()) -> Answer:
    return _answer(status, error_content(status), asked)
