"""Organisations written as microdata, read into the shape that JSON-LD has.

Only items of an organisation type are read; RDFa and microformats are not.
"""

from typing import Final

from selectolax.lexbor import LexborNode

from .models import MAX_ORGANISATIONS, JsonObject, squeeze
from .organisation_types import is_organisation_type, short_type

_MAX_PROPERTIES: Final = 100
_MAX_CLIMB: Final = 60
_MAX_CHARS: Final = 1_000_000
_ATTRIBUTES: Final = ("content", "datetime", "href", "src")


def read_microdata(root: LexborNode) -> list[JsonObject]:
    """Return organisation items in document order, at most `MAX_ORGANISATIONS`."""
    found: list[JsonObject] = []
    budget = _MAX_CHARS
    for node in root.css("[itemscope][itemtype]"):
        kind = short_type(node.attributes.get("itemtype") or "")
        if not is_organisation_type(kind):
            continue
        item, used = _read_item(node, kind, budget)
        budget -= used
        if len(item) > 1:
            found.append(item)
        if len(found) >= MAX_ORGANISATIONS or budget <= 0:
            break
    return found


def _read_item(node: LexborNode, kind: str, budget: int) -> tuple[JsonObject, int]:
    """Read one item and the items directly inside it (its address)."""
    own = node.mem_id
    items: dict[int, JsonObject] = {own: {"@type": kind}}
    used = 0
    for each in node.css("[itemprop]")[:_MAX_PROPERTIES]:
        if each.mem_id == own:
            continue
        owner = items.get(_owner_id(each, own))
        attributes = each.attributes
        names = (attributes.get("itemprop") or "").split()
        if owner is None or not names:
            continue
        value: str | JsonObject
        if "itemscope" in attributes:
            value = {"@type": short_type(attributes.get("itemtype") or "")}
            items[each.mem_id] = value
        else:
            value, read = _value(each, attributes)
            used += read
        for name in names[:3]:
            owner.setdefault(name[:60], value)
        if used > budget:
            break
    return items[own], used


def _owner_id(node: LexborNode, stop: int) -> int:
    parent = node.parent
    for _ in range(_MAX_CLIMB):
        if parent is None:
            return 0
        if parent.mem_id == stop or "itemscope" in parent.attributes:
            return parent.mem_id
        parent = parent.parent
    return 0


def _value(node: LexborNode, attributes: dict[str, str | None]) -> tuple[str, int]:
    for name in _ATTRIBUTES:
        value = attributes.get(name)
        if value and (name != "href" or node.tag in ("a", "link", "area")):
            return squeeze(value, 1_000), len(value)
    text = node.text(separator=" ")
    return squeeze(text, 1_000), len(text)
