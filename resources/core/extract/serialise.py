"""The public JSON form of a page, as the command line prints it, and back."""

from dataclasses import fields
from typing import Any, Final

from .models import JsonObject, Link, Phone, PostalAddress, ScrapedPage

_NAMES: Final = tuple(each.name for each in fields(ScrapedPage))
_ADDRESS_NAMES: Final = tuple(each.name for each in fields(PostalAddress))
_TUPLES = (
    "headings",
    "jsonld",
    "microdata",
    "rdfa",
    "organisations",
    "emails",
    "social",
    "registration",
)


def to_json(page: ScrapedPage, file: str | None = None) -> JsonObject:
    """Return a page as plain JSON values; `file` is where it was read from, if from a file."""
    out: JsonObject = {"file": file}
    for name in _NAMES:
        value = getattr(page, name)
        out[name] = list(value) if isinstance(value, tuple) else value
    out["phones"] = [
        {"e164": each.e164, "raw": each.raw, "kind": each.kind} for each in page.phones
    ]
    out["addresses"] = [
        {name: getattr(each, name) for name in _ADDRESS_NAMES} for each in page.addresses
    ]
    out["links"] = [{"url": each.url, "text": each.text} for each in page.links]
    out["company_name_candidates"] = [
        {"name": name, "evidence": evidence} for name, evidence in page.company_name_candidates
    ]
    return out


def from_json(data: JsonObject) -> ScrapedPage:
    """Build a page from what `to_json` returned, also after a way through JSON text.

    Raises:
        KeyError: if the URL is missing.
    """
    known: dict[str, Any] = {
        key: data[key] for key in ScrapedPage.__dataclass_fields__ if data.get(key) is not None
    }
    # Pages stored before organisations had a place of their own.
    known.setdefault("organisations", [*known.get("jsonld", ()), *known.get("microdata", ())])
    for key in _TUPLES:
        known[key] = tuple(known.get(key, ()))
    known["phones"] = tuple(Phone(**each) for each in known.get("phones", ()))
    known["addresses"] = tuple(PostalAddress(**each) for each in known.get("addresses", ()))
    known["links"] = tuple(Link(**each) for each in known.get("links", ()))
    known["company_name_candidates"] = tuple(
        (each["name"], each["evidence"]) for each in known.get("company_name_candidates", ())
    )
    return ScrapedPage(url=known.pop("url") if "url" in known else data["url"], **known)
