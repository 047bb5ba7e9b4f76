"""Blocks of visible text, and the boxes they stand in: what is left of a tree when it was walked.

In here: the shapes, and full text from them. Not in here: the walk (`walk`) and which blocks are
the main text (`main_text`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

NO_BOX: Final = -1


@dataclass(slots=True)
class Boxes:
    """Elements that set text apart from their neighbours (`div`, `p`, `li`, `td`, ...).

    Columns, one entry for each box in document order, because every page has hundreds. A box comes
    after the one around it, so `parents[index] < index`.

    Args:
        parents: Index of the box around; `NO_BOX` for the outermost.
        tags: Name of the element, lower case.
        marks: Class, id, role and item property as written, separated by spaces.
    """

    parents: list[int] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many boxes there are."""
        return len(self.tags)


class Block(NamedTuple):
    """Text between two breaks, with single spaces.

    Args:
        text: The text, never empty.
        box: Index of the innermost box around it, or `NO_BOX`.
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
