"""Items that are woven into the markup, microdata and RDFa Lite, in the shape that JSON-LD has.

`{"@type": "Store", "name": "Acme", "address": {"@type": "PostalAddress", ...}}`: types and names
without their vocabulary, a value that repeats as a list, links as written. Graphs of RDF, chains
of resources and inherited vocabularies are not worked out.

Source: WHATWG HTML, microdata; W3C RDFa Lite 1.1.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from selectolax.lexbor import LexborNode

from .json_values import bounded
from .models import JsonObject, squeeze
from .organisation_types import short_type

_MAX_NODES: Final = 2_000
"""Elements of either syntax that are read on a page."""
_MAX_CHARS: Final = 1_000_000
_MAX_ITEMS: Final = 50
_MAX_REFERENCES: Final = 20
_MAX_CLIMB: Final = 60
_MAX_VALUES: Final = 50
_NO_TEXT: Final = ("script", "style")


@dataclass(frozen=True, slots=True)
class Syntax:
    """The attributes of a syntax.

    Args:
        scope: Marks an element as an item.
        kind: Gives the item's types.
        name: Gives the property's names.
        identity: Gives the item's own address.
        values: Attributes that hold a value, in their order; without any, the text does.
    """

    scope: str
    kind: str
    name: str
    identity: str
    values: tuple[str, ...]


MICRODATA: Final = Syntax(
    "itemscope", "itemtype", "itemprop", "itemid", ("content", "datetime", "href", "src", "value")
)
RDFA: Final = Syntax(
    "typeof", "typeof", "property", "resource", ("content", "datetime", "resource", "href", "src")
)


@dataclass(slots=True)
class _Reading:
    root: LexborNode
    syntax: Syntax
    items: dict[int, JsonObject] = field(default_factory=dict)
    outermost: list[JsonObject] = field(default_factory=list)
    referred: set[int] = field(default_factory=set)
    chars: int = _MAX_CHARS


def read_items(root: LexborNode, syntax: Syntax) -> list[JsonObject]:
    """Return the outermost items in document order; those inside are values of theirs.

    Items without any property are left out.
    """
    reading = _Reading(root, syntax)
    referring: list[tuple[LexborNode, str]] = []
    for node in root.css(f"[{syntax.scope}],[{syntax.name}]")[:_MAX_NODES]:
        _read_node(reading, node)
        if syntax is MICRODATA and (references := node.attributes.get("itemref")):
            referring.append((node, references))
    for node, references in referring[:_MAX_REFERENCES]:
        _follow(reading, node, references.split()[:5])
    read = [
        each
        for each in reading.outermost
        if id(each) not in reading.referred and any(key[0] != "@" for key in each)
    ]
    # References can lead in circles, which the copy cuts.
    return [bounded(each) for each in read[:_MAX_ITEMS]]


def _read_node(reading: _Reading, node: LexborNode) -> None:
    syntax = reading.syntax
    attributes = node.attributes
    names = (attributes.get(syntax.name) or "").split()[:3]
    owner = _owner(reading, node) if names else None
    value: str | JsonObject
    if syntax.scope in attributes:
        if node.mem_id in reading.items:
            return  # Selected by both of its attributes.
        value = _new_item(syntax, attributes)
        reading.items[node.mem_id] = value
        if owner is None:
            reading.outermost.append(value)
    elif owner is None:
        return
    else:
        value = _value(reading, node, attributes)
    if owner is not None:
        _add(owner, names, value)


def _new_item(syntax: Syntax, attributes: dict[str, str | None]) -> JsonObject:
    kinds = [short_type(each) for each in (attributes.get(syntax.kind) or "").split()[:5]]
    item: JsonObject = {}
    if kinds:
        item["@type"] = kinds[0] if len(kinds) == 1 else kinds
    if identity := attributes.get(syntax.identity):
        item["@id"] = squeeze(identity, 500)
    return item


def _owner(reading: _Reading, node: LexborNode) -> JsonObject | None:
    parent = node.parent
    for _ in range(_MAX_CLIMB):
        if parent is None:
            return None
        if (item := reading.items.get(parent.mem_id)) is not None:
            return item
        parent = parent.parent
    return None


def _add(owner: JsonObject, names: Iterable[str], value: str | JsonObject) -> None:
    for name in names:
        key = short_type(name)[:60]
        if not key or key.startswith("@"):
            continue
        known = owner.get(key)
        if known is None:
            owner[key] = value
        elif not isinstance(known, list):
            owner[key] = [known, value]
        elif len(known) < _MAX_VALUES:
            known.append(value)


def _value(reading: _Reading, node: LexborNode, attributes: dict[str, str | None]) -> str:
    for name in reading.syntax.values:
        value = attributes.get(name)
        if value is not None and (name != "href" or node.tag in ("a", "link", "area")):
            return squeeze(value, 1_000)
    if reading.chars <= 0:
        return ""
    text = " ".join(_texts(node))
    reading.chars -= len(text) + 100
    return squeeze(text, 1_000)


def _texts(node: LexborNode) -> Iterator[str]:
    if node.css_first("script,style") is None:
        yield node.text(separator=" ")
        return
    for each in node.traverse(include_text=True):
        parent = each.parent
        if each.tag == "-text" and (parent is None or parent.tag not in _NO_TEXT):
            yield each.text_content or ""


def _follow(reading: _Reading, node: LexborNode, references: Iterable[str]) -> None:
    """Add properties that stand elsewhere and are referred to by the id around them."""
    item = reading.items.get(node.mem_id)
    if item is None:
        return
    for reference in references:
        if not reference.replace("-", "").replace("_", "").isalnum():
            continue
        around = reading.root.css_first(f'[id="{reference}"]')
        if around is None:
            continue
        # A selection begins with the node itself where that fits.
        for each in around.css("[itemprop]")[:_MAX_VALUES]:
            names = (each.attributes.get("itemprop") or "").split()[:3]
            if names and _owner(reading, each) is None:
                inner = reading.items.get(each.mem_id)
                if inner is None:
                    _add(item, names, _value(reading, each, each.attributes))
                elif inner is not item:
                    reading.referred.add(id(inner))
                    _add(item, names, inner)
