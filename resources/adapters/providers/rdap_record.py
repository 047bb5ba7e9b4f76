"""An RDAP domain object, read by RFC 9083 and 9537: registration, registrar, registrant.

Only organisations become facts; what is redacted, by the standard's list or by a phrase in place of
the value, does not, and neither does a privacy service standing in for the owner. How RDAP is asked
is in `rdap`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from resources.core.countries import alpha2
from resources.core.models import Candidate, CompanyQuery, Fact, RawAnswer

REGISTRY_CONFIDENCE: Final = 0.95
"""What the registry knows by itself: the date, and its registrar."""
REGISTRANT_CONFIDENCE: Final = 0.55
"""What somebody typed into a form when buying the domain; agencies register in their own name."""

_WITHHELD = re.compile(
    r"redacted|withheld|privacy|private (?:person|regist|customer|by design)|proxy|masked|masking|"
    r"not disclosed|data protected|"
    r"whois|gdpr|hidden|anonym|identity protect|statutory|on behalf of|domain admin|"
    r"not available|unavailable|^n/?a$|^none$|^-+$|^\*+$",
    re.IGNORECASE,
)


def is_domain_object(data: Any) -> bool:
    """Tell whether JSON is an RDAP domain object."""
    return isinstance(data, dict) and data.get("objectClassName") == "domain"


def candidate_of(data: Mapping[str, Any], query: CompanyQuery, answer: RawAnswer) -> Candidate:
    """Return the registration as a candidate; it is about the very domain asked for."""
    registrant = next(_entities(data, "registrant"), {})
    organisation = _organisation(data, registrant)
    country = None if _is_redacted(data, "registrant country") else _country(registrant)
    values = (
        ("registered_on", _registered_on(data), REGISTRY_CONFIDENCE),
        ("registrar", _registrar(data), REGISTRY_CONFIDENCE),
        ("legal_name", organisation, REGISTRANT_CONFIDENCE),
        ("country", country, REGISTRANT_CONFIDENCE),
    )
    name = data.get("ldhName")
    domain = name.lower().rstrip(".") if isinstance(name, str) and name else query.domain
    return Candidate(
        record_id=domain,
        names=(organisation,) if organisation else (),
        domains=(domain,),
        country=country,
        facts=tuple(
            Fact(field, value, "rdap", answer.url, answer.at, confidence)
            for field, value, confidence in values
            if value
        ),
    )


def _registered_on(data: Mapping[str, Any]) -> str | None:
    for event in _dicts(data.get("events")):
        date = event.get("eventDate")
        if event.get("eventAction") == "registration" and isinstance(date, str):
            return date[:10]
    return None


def _registrar(data: Mapping[str, Any]) -> str | None:
    for entity in _entities(data, "registrar"):
        if name := _text(entity, "fn") or _text(entity, "org"):
            return name
    return None


def _organisation(data: Mapping[str, Any], registrant: Mapping[str, Any]) -> str | None:
    """Return the registrant's organisation; its full name counts only where it is no person's."""
    organisation = _text(registrant, "org")
    if organisation and not _is_redacted(data, "registrant organi"):
        return organisation
    if _is_organisation(registrant) and not _is_redacted(data, "registrant name"):
        return _text(registrant, "fn")
    return None


def _is_organisation(entity: Mapping[str, Any]) -> bool:
    if (kind := _text(entity, "kind")) is not None:
        return kind.lower() in ("org", "organization")
    # AFNIC says it in a remark.
    return any(
        remark.get("type") == "contact type" and "ORGANIZATION" in str(remark.get("description"))
        for remark in _dicts(entity.get("remarks"))
    )


def _country(entity: Mapping[str, Any]) -> str | None:
    """Return the country of the address: RFC 8605's `cc`, else the seventh component."""
    for entry in _vcard(entity, "adr"):
        code = entry[1].get("cc") if isinstance(entry[1], dict) else None
        if isinstance(code, str) and (found := alpha2(code)):
            return found
        match entry[3]:
            case [_, _, _, _, _, _, str(country)] if not _WITHHELD.search(country):
                return alpha2(country)
            case _:
                continue
    return None


def _is_redacted(data: Mapping[str, Any], name: str) -> bool:
    """Tell whether RFC 9537's list names a field, by the beginning of its registered name."""
    for entry in _dicts(data.get("redacted")):
        label = entry.get("name")
        texts = label.values() if isinstance(label, dict) else ()
        if any(isinstance(text, str) and text.lower().startswith(name) for text in texts):
            return True
    return False


def _text(entity: Mapping[str, Any], property_name: str) -> str | None:
    """Return a property of the vCard as text, unless it is empty or withheld."""
    for entry in _vcard(entity, property_name):
        value = entry[3][0] if isinstance(entry[3], list) and entry[3] else entry[3]
        if isinstance(value, str) and (text := value.strip()) and not _WITHHELD.search(text):
            return text
    return None


def _vcard(entity: Mapping[str, Any], property_name: str) -> Iterator[Sequence[Any]]:
    """Yield jCard entries (RFC 7095): [name, parameters, type, value]."""
    match entity.get("vcardArray"):
        case ["vcard", [*entries]]:
            for entry in entries:
                if isinstance(entry, list) and len(entry) >= 4 and entry[0] == property_name:
                    yield entry
        case _:
            return


def _entities(data: Mapping[str, Any], role: str) -> Iterator[Mapping[str, Any]]:
    for entity in _dicts(data.get("entities")):
        roles = entity.get("roles")
        if isinstance(roles, list) and role in roles:
            yield entity


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict):
            yield entry
