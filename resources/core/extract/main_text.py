"""The main text of a page: which of its blocks are what it is about.

Steps: (1) boxes named or marked as something beside the text are left out, unless hardly any
running text is left then; (2) the running text left votes for the boxes around it, teasers apart,
and the box that gathers most holds the text; (3) in that box, lists of links and remarks are
dropped. A page without an article, such as a front page, keeps all that (1) and (3) leave.

Source: the voting follows Arc90's Readability; the idea of pruning first, trafilatura.
"""

from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from .blocks import NO_BOX, Block, Box
from .main_text_words import (
    BESIDE,
    BESIDE_TAGS,
    BODY,
    BODY_TAGS,
    HEADINGS,
    MAYBE_BESIDE,
    MAYBE_BESIDE_TAGS,
    PARAGRAPHS,
    REMARK,
    words_of,
)
from .teasers import find_teasers

_RUNNING_CHARS: Final = 25
"""Shorter blocks do not vote."""
_LONG_CHARS: Final = 900
"""Longer blocks have no more votes than this one."""
_SHORT_TEXT_CHARS: Final = 100
"""With less text left on a page without an article, all of it is kept."""
_PARAGRAPH_VOTES: Final = 14.0
"""Votes of one paragraph of 200 characters: with less left, what is surely beside is kept."""
_KEPT_IF_MAYBE: Final = 0.45
"""Share of the other votes with which a box is kept whose mark may also mean the text."""
_ARTICLE: Final = ((60.0, 0.35), (20.0, 0.35))
"""Votes that an article has at least (four paragraphs of 200 characters have 57), and its share of
all votes; with less, the page is a front page."""
_REMARK_CHARS: Final = 200
"""A longer block is never a remark nor an entry of a list of links."""
_ROOTS: Final = frozenset(("html", "body"))
_BODY_BONUS: Final = 1.2
_FADE: Final = 0.6
_REACH: Final = 4


class Place(Enum):
    """What a box seems to be, by its name and mark."""

    UNKNOWN = auto()
    BODY = auto()
    BESIDE = auto()
    MAYBE_BESIDE = auto()


def main_blocks(blocks: Sequence[Block], boxes: Sequence[Box]) -> list[Block]:
    """Return the blocks of the main text, in order; all blocks when there is no such text."""
    teasers = find_teasers(blocks, boxes)
    votes = [0.0 if teasers and block.box in teasers else _vote(block) for block in blocks]
    marks = [_place(box) for box in boxes]
    beside = _pruned(marks, boxes, _sums(blocks, votes, boxes))
    for index, block in enumerate(blocks):
        if beside[block.box]:
            votes[index] = 0.0
    kept = [index for index, block in enumerate(blocks) if not beside[block.box]]
    sums = _sums(blocks, votes, boxes)
    top = _top(blocks, votes, boxes, marks, sums)
    within = _within(top, boxes)
    chosen = _clean([blocks[index] for index in kept if within[blocks[index].box]], boxes)
    if top == NO_BOX and sum([len(block.text) for block in chosen]) < _SHORT_TEXT_CHARS:
        return list(blocks)
    return chosen


def _vote(block: Block) -> float:
    """Return how much a block looks like running text."""
    length = len(block.text)
    if length < _RUNNING_CHARS or block.link_chars * 2 > length:
        return 0.0
    return float(min(length - block.link_chars, _LONG_CHARS) ** 0.5)


def _sums(blocks: Sequence[Block], votes: Sequence[float], boxes: Sequence[Box]) -> list[float]:
    """Return for every box the votes of all that is in it; those of the page come last."""
    sums = [0.0] * (len(boxes) + 1)
    for block, vote in zip(blocks, votes, strict=True):
        if vote:
            sums[block.box] += vote
    # A box comes after the one around it, so one pass from the end sums all up.
    for index in range(len(boxes) - 1, -1, -1):
        sums[boxes[index].parent] += sums[index]
    return sums


def _place(box: Box) -> Place:
    """Judge a box by its name and mark alone."""
    if box.tag in _ROOTS:
        return Place.UNKNOWN
    if box.tag in BESIDE_TAGS:
        return Place.BESIDE
    place = _place_of_mark(box.mark) if box.mark else Place.UNKNOWN
    if place is Place.UNKNOWN and (box.is_hidden or box.tag in MAYBE_BESIDE_TAGS):
        return Place.MAYBE_BESIDE
    return Place.BODY if place is Place.UNKNOWN and box.tag in BODY_TAGS else place


@lru_cache(maxsize=16_384)
def _place_of_mark(mark: str) -> Place:
    mark = words_of(mark)
    if BODY.search(mark):
        return Place.BODY
    if BESIDE.search(mark):
        return Place.BESIDE
    return Place.MAYBE_BESIDE if MAYBE_BESIDE.search(mark) else Place.UNKNOWN


def _pruned(marks: Sequence[Place], boxes: Sequence[Box], inside: Sequence[float]) -> list[bool]:
    """Tell for every box whether it is beside the text, and last for what stands in none."""
    total = inside[NO_BOX]
    sure = 0.0
    beside = [False] * (len(boxes) + 1)
    for index, box in enumerate(boxes):
        if beside[box.parent]:
            beside[index] = True
        elif marks[index] is Place.BESIDE and inside[index] <= total - _PARAGRAPH_VOTES:
            beside[index] = True
            sure += inside[index]
    limit = _KEPT_IF_MAYBE * (total - sure)
    for index, box in enumerate(boxes):
        if beside[box.parent] or (marks[index] is Place.MAYBE_BESIDE and inside[index] <= limit):
            beside[index] = True
    return beside


def _top(
    blocks: Sequence[Block],
    votes: Sequence[float],
    boxes: Sequence[Box],
    marks: Sequence[Place],
    sums: Sequence[float],
) -> int:
    """Return the box that holds the text, or `NO_BOX` when it is all over the page."""
    scores = [0.0] * (len(boxes) + 1)
    for block, vote in zip(blocks, votes, strict=True):
        around = block.box
        if not vote or around == NO_BOX:
            continue
        # Its own box is the paragraph; those around gain less and less.
        if boxes[around].tag in PARAGRAPHS:
            around = boxes[around].parent
        share = vote
        for _ in range(_REACH):
            if around == NO_BOX:
                break
            scores[around] += share * (_BODY_BONUS if marks[around] is Place.BODY else 1.0)
            share *= _FADE
            around = boxes[around].parent
    best = max(range(len(boxes)), key=scores.__getitem__, default=NO_BOX)
    votes_in = sums[best]
    for least, share in _ARTICLE:
        if votes_in >= least and votes_in >= share * sums[NO_BOX]:
            return best
    return NO_BOX


def _within(top: int, boxes: Sequence[Box]) -> list[bool]:
    """Tell for every box whether it is the box or in it, and last for what stands in none."""
    if top == NO_BOX:
        return [True] * (len(boxes) + 1)
    within = [False] * (len(boxes) + 1)
    for index, box in enumerate(boxes):
        within[index] = index == top or within[box.parent]
    return within


def _clean(article: Sequence[Block], boxes: Sequence[Box]) -> list[Block]:
    """Drop lists of links, remarks, and headings without text under them."""
    chosen: list[Block] = []
    has_text_below = False
    for block in reversed(article):
        tag = boxes[block.box].tag if block.box != NO_BOX else ""
        length = len(block.text)
        if length < _REMARK_CHARS:
            is_link_list = block.link_chars * 10 > length * 8 and tag not in HEADINGS
            if is_link_list or REMARK.fullmatch(block.text):
                continue
        if tag in HEADINGS and (not has_text_below or tag == "h1"):
            continue
        has_text_below = tag not in HEADINGS
        chosen.append(block)
    chosen.reverse()
    return chosen
