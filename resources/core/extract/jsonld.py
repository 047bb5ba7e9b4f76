"""JSON-LD: read it although it is broken, and find the organisations in it.

Repairs what publishers really get wrong: HTML or JavaScript comments and CDATA around the
JSON, raw line breaks and control characters inside strings, trailing commas, a semicolon at the
end. Anything else is left out. RDF processing (contexts, frames) is not done.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from .json_values import MAX_DEPTH, bounded
from .models import MAX_OBJECTS, MAX_ORGANISATIONS, JsonObject
from .organisation_types import is_organisation_type

_MAX_NODES: Final = 20_000
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
# A string, or what stands between strings and is no JSON: comments are only touched outside. Of an
# HTML comment with brackets in it, which holds the JSON itself, only the marks go.
_TOKENS: Final = re.compile(
    r'"(?>[^"\\]++|\\.)*+"?|/\*(?>[^*]++|\*(?!/))*+(?:\*/)?|//[^\n]*+|'
    r"<!--[^{}\[\]>\"]{0,500}-->|<!--|-->|<!\[CDATA\[|\]\]>",
    re.S,
)
_COMMAS: Final = re.compile(r'"(?>[^"\\]++|\\.)*+"?|,(?=\s*+[}\]])', re.S)
_TELLING: Final = ("name", "legalName", "address", "telephone", "email", "url")
_NESTED: Final = (
    "@graph", "mainEntity", "mainEntityOfPage", "publisher", "about", "author", "provider",
    "creator", "copyrightHolder", "sourceOrganization", "hiringOrganization", "itemListElement",
    "item", "isPartOf",
)  # fmt: skip


def parse_jsonld(text: str) -> Any:
    """Parse one script, repairing it if need be; None when nothing can be made of it.

    >>> parse_jsonld('<!-- {"name": "Acme",} -->')
    {'name': 'Acme'}
    """
    try:
        return orjson.loads(text)
    except (ValueError, RecursionError):
        pass
    repaired = _COMMAS.sub(_repair, _TOKENS.sub(_repair, text))
    for candidate in (_CONTROL.sub(" ", text).strip(), _CONTROL.sub(" ", repaired).strip()):
        try:
            value, _ = json.JSONDecoder(strict=False).raw_decode(candidate)
        except (ValueError, RecursionError):
            continue
        return value
    return None


def _repair(found: re.Match[str]) -> str:
    token = found.group()
    return token if token[0] == '"' else " "


def read_jsonld(scripts: Iterable[str]) -> list[JsonObject]:
    """Return the objects of all scripts in their order, lists opened, each bounded in size."""
    found: list[JsonObject] = []
    for text in scripts:
        value = parse_jsonld(text)
        for each in value[:MAX_OBJECTS] if isinstance(value, list) else [value]:
            if isinstance(each, dict) and each and len(found) < MAX_OBJECTS:
                found.append(bounded(each))
    return found


def find_organisations(items: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the organisations in items, `@graph` flattened and `@id` references filled.

    Order: as in the items. An organisation that is there twice is returned once.
    """
    objects = list(_objects(list(items)))
    by_id = {
        each["@id"]: each for each in objects if isinstance(each.get("@id"), str) and len(each) > 1
    }
    found: list[JsonObject] = []
    seen: set[str] = set()
    for each in objects:
        if len(found) >= MAX_ORGANISATIONS:
            break
        is_told = any(key in each for key in _TELLING)
        if not is_told or not any(is_organisation_type(name) for name in type_names(each)):
            continue
        copy = bounded(_resolved(each, by_id))
        key = json.dumps(copy, sort_keys=True, default=str)
        if key not in seen:
            seen.add(key)
            found.append(copy)
    return found


def type_names(item: Mapping[str, Any]) -> list[str]:
    """Return the `@type` of an object as a list of strings."""
    kind = item.get("@type")
    kinds = kind if isinstance(kind, list) else [kind]
    return [each for each in kinds[:20] if isinstance(each, str)]


def _objects(root: Any) -> Iterator[JsonObject]:
    pending: list[tuple[Any, int]] = [(root, 0)]
    visited = 0
    while pending and visited < _MAX_NODES:
        value, depth = pending.pop()
        visited += 1
        if isinstance(value, list) and depth < MAX_DEPTH:
            pending.extend((each, depth + 1) for each in reversed(value[:_MAX_NODES]))
        elif isinstance(value, dict):
            yield value
            if depth < MAX_DEPTH:
                nested = (value[key] for key in reversed(_NESTED) if key in value)
                pending.extend((each, depth + 1) for each in nested)


def _resolved(item: JsonObject, by_id: Mapping[str, JsonObject]) -> JsonObject:
    """Fill references such as `"address": {"@id": "#address"}`, one level deep."""
    out = dict(item)
    for key, value in item.items():
        if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("@id"), str):
            out[key] = by_id.get(value["@id"], value)
    return out
