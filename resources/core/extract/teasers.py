"""Teasers: a heading that is a link, with a few lines under it that tell of another page.

A page full of them would outvote its own text.
"""

from collections.abc import Sequence
from typing import Final

from .blocks import NO_BOX, Block, Boxes
from .main_text_words import HEADINGS

_TEASER_CHARS: Final = 700
"""A box with more text than that is no teaser."""
_LEVELS: Final = 3
"""Boxes around a heading that can be its teaser's."""


def find_teasers(blocks: Sequence[Block], boxes: Boxes) -> frozenset[int]:
    """Return the indices of the boxes that are teasers or in one."""
    chars = _candidates(blocks, boxes)
    if not chars:
        return frozenset()
    parents = boxes.parents
    sums = [0] * (len(boxes) + 1)
    for block in blocks:
        # What holds the page's own heading is no teaser.
        is_own = boxes.tags[block.box] == "h1"
        sums[block.box] += _TEASER_CHARS + 1 if is_own else len(block.text)
    for index in range(len(boxes) - 1, -1, -1):
        sums[parents[index]] += sums[index]
    teasers: set[int] = set()
    for index, parent in enumerate(parents):
        if parent in teasers or (index in chars and sums[index] <= _TEASER_CHARS):
            teasers.add(index)
    return frozenset(teasers)


def _candidates(blocks: Sequence[Block], boxes: Boxes) -> set[int]:
    found: set[int] = set()
    for block in blocks:
        box = block.box
        if block.link_chars * 10 < len(block.text) * 8 or boxes.tags[box] not in HEADINGS:
            continue
        for _ in range(_LEVELS):
            box = boxes.parents[box]
            if box == NO_BOX or box in found:
                break
            found.add(box)
    return found
