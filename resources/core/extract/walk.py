"""One walk over the parsed tree: blocks of text, the boxes they stand in, telling elements.

Every node is visited once, without recursion. The walk collects and bounds; it judges nothing.
"""

from dataclasses import dataclass, field
from typing import Final

from selectolax.lexbor import LexborNode

from .blocks import NO_BOX, Block, Boxes
from .models import MAX_TEXT_CHARS

_BOXES: Final = frozenset(
    """
    address article aside blockquote body button caption center dd details dialog dir div dl dt
    fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup html legend li main
    menu nav noscript ol option p pre search section summary table tbody td tfoot th thead tr ul
    """.split()
)
_CELLS: Final = frozenset(("td", "th"))
_BREAKS: Final = frozenset(("br", "hr"))
_WITHOUT_TEXT: Final = frozenset(
    """
    script style template iframe svg math select textarea noembed noframes title meta link base
    img
    """.split()
)
_TELLING: Final = frozenset("title meta link base script img a h1 h2 h3".split())
_MARKS: Final = frozenset(("class", "id", "role", "itemprop"))
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Soft hyphens and spaces without width, which would break words and numbers."""
_MAX_MARK_CHARS: Final = 300
_MAX_BOXES: Final = 100_000


@dataclass(slots=True)
class Walk:
    """What a walk has collected, in document order.

    Args:
        blocks: Visible text.
        boxes: Elements that set it apart.
        elements: Nodes of the elements that tell more than text: head, links, headings, images.
    """

    blocks: list[Block] = field(default_factory=list)
    boxes: Boxes = field(default_factory=Boxes)
    elements: list[LexborNode] = field(default_factory=list)
    _cells: list[int] = field(default_factory=list)
    _pieces: list[str] = field(default_factory=list)
    _link_chars: int = 0
    _total_chars: int = 0
    _last_cell: int = NO_BOX

    def run(self, root: LexborNode) -> None:  # noqa: PLR0912 - a call per node costs too much
        """Visit all nodes under and with `root`, depth first."""
        pieces, elements = self._pieces, self.elements
        stack: list[tuple[LexborNode, int, bool]] = []
        node, box, is_link = root, NO_BOX, False
        while True:
            tag = node.tag
            if tag == "-text":
                text = node.text_content or ""
                if pieces or not text.isspace():
                    pieces.append(text)
                    if is_link:
                        self._link_chars += len(text)
            else:
                inner = box
                if tag in _BOXES:
                    if pieces:
                        self._break(box)
                    inner = self._open(node, tag or "", box)
                elif tag in _BREAKS and pieces:
                    self._break(box)
                if tag in _TELLING:
                    elements.append(node)
                child = None if tag in _WITHOUT_TEXT else node.first_child
                if child is not None:
                    stack.append((node, box, is_link))
                    is_link = is_link or (tag == "a" and "href" in node.attributes)
                    node, box = child, inner
                    continue
            following = node.next
            while following is None:
                if not stack:
                    self._break(box)
                    return
                node, outer, is_link = stack.pop()
                if outer != box:
                    if pieces:
                        self._break(box)
                    box = outer
                following = node.next
            node = following

    def _break(self, box: int) -> None:
        """End a block: what was collected since the last break stands in `box`."""
        pieces = self._pieces
        text = " ".join("".join(pieces).split())
        pieces.clear()
        if not text.isascii():
            text = text.translate(_INVISIBLE)
        if text and self._total_chars < MAX_TEXT_CHARS:
            length = len(text)
            cell = self._cells[box] if box != NO_BOX else NO_BOX
            lead = "\n" if cell == NO_BOX else self._lead(cell)
            self._last_cell = cell
            self.blocks.append(Block(text, box, min(self._link_chars, length), lead))
            self._total_chars += length + 1
        self._link_chars = 0

    def _lead(self, cell: int) -> str:
        """Return a tab between cells of one row, so that a name and its number stay in one line."""
        last, parents = self._last_cell, self.boxes.parents
        is_next = last not in (NO_BOX, cell) and parents[cell] == parents[last]
        return "\t" if is_next else "\n"

    def _open(self, node: LexborNode, tag: str, parent: int) -> int:
        boxes = self.boxes
        index = len(boxes.tags)
        if index >= _MAX_BOXES:
            return parent
        mark = ""
        for name, value in node.attributes.items():
            if name in _MARKS:
                mark = f"{mark} {value}" if mark else value or ""
        boxes.parents.append(parent)
        boxes.tags.append(tag)
        boxes.marks.append(mark[:_MAX_MARK_CHARS])
        is_inside = parent != NO_BOX
        self._cells.append(index if tag in _CELLS else self._cells[parent] if is_inside else NO_BOX)
        return index
