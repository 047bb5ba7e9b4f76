"""One walk over the parsed tree: blocks of text, the boxes they stand in, telling elements.

Every node is visited once, without recursion. The walk collects and bounds; it judges nothing.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from selectolax.lexbor import LexborNode

from .blocks import NO_BOX, Block, Box
from .models import MAX_TEXT_CHARS

_HIDDEN_STYLE: Final = re.compile(r"display\s?:\s?none|visibility\s?:\s?hidden", re.I)
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
    script style template iframe svg math select textarea object canvas audio video noembed
    noframes title datalist meta link base img
    """.split()
)
_TELLING: Final = frozenset("title meta link base script img a h1 h2 h3".split())
_MARKS: Final = ("class", "id", "role", "itemprop")
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
    boxes: list[Box] = field(default_factory=list)
    elements: list[LexborNode] = field(default_factory=list)
    _pieces: list[str] = field(default_factory=list)
    _link_chars: int = 0
    _total_chars: int = 0
    _lead: str = "\n"

    def run(self, root: LexborNode) -> None:
        """Visit all nodes under and with `root`, depth first."""
        stack: list[tuple[LexborNode, int, bool]] = []
        node, box, is_link = root, NO_BOX, False
        while True:
            child, inner, is_linked = None, box, is_link
            tag = node.tag
            if tag == "-text":
                self._add_text(node.text_content or "", is_link)
            else:
                if tag in _TELLING:
                    self.elements.append(node)
                    is_linked = is_link or tag == "a"
                if tag in _BOXES:
                    self._break(box)
                    inner = self._open(node, tag or "", box)
                elif tag in _BREAKS:
                    self._break(box)
                if tag not in _WITHOUT_TEXT:
                    child = node.first_child
            if child is not None:
                stack.append((node, box, is_link))
                node, box, is_link = child, inner, is_linked
                continue
            following = node.next
            while following is None:
                if not stack:
                    self._break(box)
                    return
                node, outer, is_link = stack.pop()
                if outer != box:
                    self._close(box)
                box = outer
                following = node.next
            node = following

    def _add_text(self, text: str, is_link: bool) -> None:
        self._pieces.append(text)
        if is_link:
            self._link_chars += len(text)

    def _break(self, box: int) -> None:
        """End a block: what was collected since the last break stands in `box`."""
        if not self._pieces:
            return
        text = " ".join("".join(self._pieces).split())
        self._pieces.clear()
        if text and self._total_chars < MAX_TEXT_CHARS:
            self.blocks.append(Block(text, box, min(self._link_chars, len(text)), self._lead))
            self._total_chars += len(text) + 1
            self._lead = "\n"
        self._link_chars = 0

    def _open(self, node: LexborNode, tag: str, parent: int) -> int:
        if len(self.boxes) >= _MAX_BOXES:
            return parent
        attributes = node.attributes
        mark, is_hidden = "", False
        if attributes:
            mark = " ".join([value for name in _MARKS if (value := attributes.get(name))])[:300]
            style = attributes.get("style")
            is_hidden = (
                "hidden" in attributes
                or attributes.get("aria-hidden") == "true"
                or (style is not None and _HIDDEN_STYLE.search(style[:300]) is not None)
            )
        self.boxes.append(Box(parent, tag, mark, is_hidden))
        return len(self.boxes) - 1

    def _close(self, box: int) -> None:
        self._break(box)
        # Cells of a row stay in one line, so that a name and its number do.
        self._lead = "\t" if self.boxes[box].tag in _CELLS else "\n"
