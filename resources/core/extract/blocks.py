"""Blocks of visible text, and the boxes they stand in: what is left of a tree when it was walked.

In here: the shapes, and full text from them. Not in here: the walk (`walk`) and which blocks are
the main text (`main_text`).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

NO_BOX: Final = -1


class Box(NamedTuple):
    """An element that sets text apart from its neighbours (`div`, `p`, `li`, `td`, ...).

    Args:
        parent: Index of the box around it, smaller than its own; `NO_BOX` for the outermost.
        tag: Name of the element, lower case.
        mark: Its class, id, role and item property, as written, separated by spaces.
        is_hidden: Whether it is not to be seen, by attribute or inline style.
    """

    parent: int
    tag: str
    mark: str
    is_hidden: bool


class Block(NamedTuple):
    """Text between two breaks, with single spaces.

    Args:
        text: The text, never empty.
        box: Index of the innermost box around it.
        link_chars: How many of its characters are links, about.
        lead: What separates it from the block before: a line break, or a tab between cells.
    """

    text: str
    box: int
    link_chars: int
    lead: str


def joined(blocks: Iterable[Block], limit: int) -> str:
    """Return the text of blocks, cut at `limit`: one to a line, cells of a row in one line."""
    parts = [part for block in blocks for part in (block.lead, block.text)]
    return "".join(parts[1:])[:limit].rstrip()
