"""JSON-LD: read it although it is broken, and find the organisations in it.

Repairs what publishers really get wrong: HTML or JavaScript comments and CDATA around the
JSON, raw line breaks and control characters inside strings, trailing commas, a semicolon at the
end. Anything else is left out. RDF processing (contexts, frames) is not done.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from .models import MAX_ORGANISATIONS, JsonObject
from .organisation_types import is_organisation_type

_MAX_NODES: Final = 20_000
_MAX_DEPTH: Final = 12
_MAX_STRING: Final = 2_000
_MAX_ITEMS: Final = 50
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
# A string, or what stands between strings: comments and commas are only touched outside.
_TOKENS: Final = re.compile(
    r'"(?>[^"\\]++|\\.)*+"?|/\*(?>[^*]++|\*(?!/))*+(?:\*/)?|//[^\n]*+|,(?=\s*+[}\]])', re.S
)
# A comment without brackets is a remark; of one with brackets only the marks go.
_WRAPPERS: Final = re.compile(r"<!--[^{}\[\]>]{0,500}-->|<!--|-->|<!\[CDATA\[|\]\]>")
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
    text = _WRAPPERS.sub(" ", text).strip().rstrip(";").strip()
    repaired = _TOKENS.sub(_repair, text)
    for candidate in (_CONTROL.sub(" ", text), _CONTROL.sub(" ", repaired)):
        try:
            value, _ = json.JSONDecoder(strict=False).raw_decode(candidate.strip())
        except (ValueError, RecursionError):
            continue
        return value
    return None


def _repair(found: re.Match[str]) -> str:
    token = found.group()
    return token if token[0] == '"' else " "


def find_organisations(scripts: list[str]) -> list[JsonObject]:
    """Return the organisations of all scripts, `@graph` flattened and `@id` references filled.

    Order: as in the page. Each is a copy without anything deeper or longer than the bounds.
    """
    objects = [each for text in scripts for each in _objects(parse_jsonld(text))]
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
        budget = [2_000]
        copy = _bounded(_resolved(each, by_id), 0, budget)
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
        if isinstance(value, list) and depth < _MAX_DEPTH:
            pending.extend((each, depth + 1) for each in reversed(value[:_MAX_NODES]))
        elif isinstance(value, dict):
            yield value
            if depth < _MAX_DEPTH:
                nested = (value[key] for key in reversed(_NESTED) if key in value)
                pending.extend((each, depth + 1) for each in nested)


def _resolved(item: JsonObject, by_id: Mapping[str, JsonObject]) -> JsonObject:
    """Fill references such as `"address": {"@id": "#address"}`, one level deep."""
    out = dict(item)
    for key, value in item.items():
        if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("@id"), str):
            out[key] = by_id.get(value["@id"], value)
    return out


def _bounded(value: Any, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if isinstance(value, str):
        # A lone surrogate, possible in JSON escapes, could not be stored.
        return value[:_MAX_STRING].encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        items = list(value.items())[:_MAX_ITEMS] if depth < _MAX_DEPTH and budget[0] > 0 else []
        return {_bounded(str(k), depth, budget): _bounded(v, depth + 1, budget) for k, v in items}
    if isinstance(value, list):
        kept = value[:_MAX_ITEMS] if depth < _MAX_DEPTH and budget[0] > 0 else []
        return [_bounded(each, depth + 1, budget) for each in kept]
    if isinstance(value, int) and not -(2**53) < value < 2**53:
        return str(value) if value.bit_length() < 4_000 else None
    # json reads NaN and Infinity, which no JSON writer takes back.
    return None if isinstance(value, float) and value - value != 0 else value
