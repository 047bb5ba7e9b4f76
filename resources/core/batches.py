"""Name lists and batches, and put wanted batches into as few ranges as possible.

A batch is immutable once written: domains that a grown list brings later always go into new
batches. Nothing here reads or writes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

MAX_LIST_NAME_CHARS = 60
MAX_BATCHES = 99_999  # of a list; a greater number would not sort behind the others

_LIST_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")


def batch_key(list_name: str, number: int) -> str:
    """Return the key of a batch, which sorts by number up to 99,999.

    Args:
        list_name: A name as `list_name_from` gives it.
        number: Counted from 1 within the list.

    Raises:
        ValueError: The name could not be a part of a key (a comma splits keys in Dagster's
            ranges), or the number is below 1.

    >>> batch_key("customers", 7)
    'customers-00007'
    """
    if not _LIST_NAME.fullmatch(list_name) or len(list_name) > MAX_LIST_NAME_CHARS:
        raise ValueError(f"{list_name!r} is no list name; make one with list_name_from()")
    if number < 1:
        raise ValueError(f"batches are numbered from 1, not {number}")
    return f"{list_name}-{number:05d}"


def list_name_from(stem: str) -> str:
    """Turn the stem of a file, or a name somebody typed, into a safe list name.

    Raises:
        ValueError: Nothing is left of it, as of a name in Chinese; ask for a name then.

    >>> list_name_from("Kunden München, 2024 (neu)")
    'kunden-munchen-2024-neu'
    """
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode("ascii")
    slug = _NOT_IN_NAMES.sub("-", plain.lower()).strip("-_")
    name = slug[:MAX_LIST_NAME_CHARS].rstrip("-_")
    if not name:
        raise ValueError(
            f"no list name can be made from {stem!r}: it has no letter a to z and no digit"
        )
    return name


def contiguous_ranges(
    all_keys: Sequence[str],
    wanted: Collection[str],
    bridge: Collection[str] = (),
    max_gap: int = 20,
) -> list[tuple[str, str]]:
    """Cover the wanted keys with as few ranges as are allowed.

    One run takes one range. Settled batches between two wanted ones cost a run little, a start of
    Dagster costs seconds; so a range may run over them, but not over any others.

    Args:
        all_keys: Every key, in Dagster's order.
        wanted: The keys to cover; each is in exactly one range.
        bridge: Keys a range may run over besides; a range never begins or ends with one.
        max_gap: The most keys between two wanted ones that a range may run over.

    Returns:
        First and last key of each range, both included, in the order of `all_keys`.

    Raises:
        ValueError: A wanted key is not among all keys; it would be left out without a word.
    """
    wanted_keys = frozenset(wanted)
    bridge_keys = frozenset(bridge)
    ranges: list[tuple[str, str]] = []
    seen: set[str] = set()
    gap = 0  # keys run over since the last wanted one
    is_open = False
    for key in all_keys:
        if key in wanted_keys:
            seen.add(key)
            first = ranges.pop()[0] if is_open else key
            ranges.append((first, key))
            is_open, gap = True, 0
        else:
            gap += 1
            is_open = is_open and key in bridge_keys and gap <= max_gap
    if missing := wanted_keys - seen:
        raise ValueError(f"{len(missing)} wanted keys do not exist, such as {min(missing)!r}")
    return ranges
