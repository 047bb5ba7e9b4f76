"""The main text of a page: which of its blocks are what it is about.

Steps: (1) boxes named or marked as something beside the text are left out, unless hardly any
running text is left then; (2) the running text left votes for the boxes around it, teasers apart,
and the box that gathers most holds the text; (3) in that box, lists of links and remarks are
dropped. A page without an article, such as a front page, keeps all that (1) and (3) leave.

Source: the voting follows Arc90's Readability; the idea of pruning first, trafilatura.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from functools import lru_cache
from itertools import islice
from typing import Final

from .blocks import NO_BOX, Block, Boxes
from .main_text_words import (
    BESIDE,
    BESIDE_TAGS,
    BODY,
    BODY_TAGS,
    HEADINGS,
    IS_ABOUT_INSIDE,
    MAYBE_BESIDE,
    MAYBE_BESIDE_TAGS,
    PARAGRAPHS,
    REMARK,
    REPLIES,
    words_of,
)
from .teasers import find_teasers

_RUNNING_CHARS: Final = 25
"""Shorter blocks do not vote."""
_NO_LINK_CHARS: Final = 300
"""A longer block is no link, whatever the markup says: somebody forgot to close it."""
_TEASER_WEIGHT: Final = 0.05
"""What the votes of a teaser count: a list of products or of news can be the text itself."""
_LONG_CHARS: Final = 900
"""Longer blocks have no more votes than this one."""
_SHORT_TEXT_CHARS: Final = 100
"""With less text left on a page without an article, all of it is kept."""
_PARAGRAPH_VOTES: Final = 14.0
"""Votes of one paragraph of 200 characters: with less left, what is surely beside is kept."""
_KEPT: Final = 0.45
"""Share of the votes with which a box is kept although its mark means something beside."""
_KEPT_TAG: Final = 0.6
"""The same for an element whose name means something beside."""
_KEPT_WITH_HEADING: Final = 0.3
"""The same for a box that holds the page's heading or an article."""
_ARTICLE_VOTES: Final = 20.0
"""Votes of the shortest article."""
_SHARE_OF_ARTICLE: Final = 0.35
"""Share of all votes that an article has at least; with less, the page is a front page."""
_HEADING_CHARS: Final = 150
"""A longer heading is a paragraph that somebody wanted to look like one."""
_REMARK_CHARS: Final = 200
"""A longer block is never a remark nor an entry of a list of links."""
_ROOTS: Final = frozenset(("html", "body"))
_BODY_BONUS: Final = 1.2
_SEEDS: Final = 3
"""Running blocks below the heading that tell where the text is."""
_NEAR_SHARE: Final = 0.2
"""Share of the best box's votes with which the one below the heading is preferred."""
_PART_LEVELS: Final = 3
"""Boxes around the best one that may hold further parts of its text."""
_PARTS_ADD: Final = 1.25
"""How many times the votes such a box has at least."""
_FADE: Final = 0.7
_REACH: Final = 8


class Place(Enum):
    """What a box seems to be, by its name and mark."""

    UNKNOWN = auto()
    BODY = auto()
    BESIDE = auto()
    MAYBE_BESIDE = auto()
    REPLIES = auto()


def main_blocks(blocks: Sequence[Block], boxes: Boxes) -> list[Block]:
    """Return the blocks of the main text, in order; all blocks when there is no such text."""
    if not boxes:
        return list(blocks)
    teasers = find_teasers(blocks, boxes)
    votes = [
        _vote(block) * _TEASER_WEIGHT if block.box in teasers else _vote(block) for block in blocks
    ]
    places = _places(boxes)
    holds = _holds_article(blocks, boxes, places)
    beside = _beside(places, holds, boxes, _sums(blocks, votes, boxes.parents))
    left = [block for block in blocks if not beside[block.box]]
    votes = [0.0 if beside[block.box] else vote for block, vote in zip(blocks, votes, strict=True)]
    top = _top(blocks, votes, boxes, places)
    if top != NO_BOX:
        within = _within(top, boxes.parents)
        return _clean([block for block in left if within[block.box]], boxes)
    chosen = _clean(left, boxes)
    is_short = sum([len(block.text) for block in chosen]) < _SHORT_TEXT_CHARS
    return list(blocks) if is_short else chosen


def _vote(block: Block) -> float:
    """Return how much a block looks like running text."""
    length = len(block.text)
    if length < _RUNNING_CHARS or (block.link_chars * 2 > length and length < _NO_LINK_CHARS):
        return 0.0
    own = length - block.link_chars if length < _NO_LINK_CHARS else length
    return float(min(own, _LONG_CHARS) ** 0.5)


def _sums(blocks: Sequence[Block], votes: Sequence[float], parents: Sequence[int]) -> list[float]:
    """Return for every box the votes of all that is in it; those of the page come last."""
    sums = [0.0] * (len(parents) + 1)
    for block, vote in zip(blocks, votes, strict=True):
        if vote:
            sums[block.box] += vote
    # A box comes after the one around it, so one pass from the end sums all up.
    for index in range(len(parents) - 1, -1, -1):
        if sums[index]:
            sums[parents[index]] += sums[index]
    return sums


def _places(boxes: Boxes) -> list[Place]:
    """Judge every box by its name and mark alone.

    Whether it is hidden says nothing: answers and details are, until somebody clicks.
    """
    return list(map(_place, boxes.tags, boxes.marks))


@lru_cache(maxsize=16_384)
def _place(tag: str, mark: str) -> Place:
    if tag in _ROOTS:
        return Place.UNKNOWN
    if tag in BESIDE_TAGS:
        return Place.BESIDE
    places = {_place_of_name(name) for name in mark.split()}
    for place in (Place.BODY, Place.REPLIES, Place.BESIDE):
        if place in places:
            return place
    if tag in MAYBE_BESIDE_TAGS or Place.MAYBE_BESIDE in places:
        return Place.MAYBE_BESIDE
    return Place.BODY if tag in BODY_TAGS else Place.UNKNOWN


@lru_cache(maxsize=16_384)
def _place_of_name(name: str) -> Place:
    if IS_ABOUT_INSIDE.match(name):
        return Place.UNKNOWN
    words = words_of(name)
    for known, place in (
        (BODY, Place.BODY),
        (REPLIES, Place.REPLIES),
        (BESIDE, Place.BESIDE),
        (MAYBE_BESIDE, Place.MAYBE_BESIDE),
    ):
        if not known.isdisjoint(words):
            return place
    # Page builders call everything a widget, with their own name before it.
    return Place.MAYBE_BESIDE if name.startswith("widget") else Place.UNKNOWN


def _holds_article(blocks: Sequence[Block], boxes: Boxes, places: Sequence[Place]) -> list[bool]:
    """Tell for every box whether the page's heading or a box marked as its text is in it."""
    holds = [False] * (len(boxes) + 1)
    for block in blocks:
        if boxes.tags[block.box] == "h1":
            holds[block.box] = True
    for index in range(len(boxes) - 1, -1, -1):
        if holds[index] or places[index] is Place.BODY:
            holds[boxes.parents[index]] = True
    return holds


def _beside(
    places: Sequence[Place], holds: Sequence[bool], boxes: Boxes, inside: Sequence[float]
) -> list[bool]:
    """Tell for every box whether it is beside the text, and last for what stands in none."""
    parents, tags, total = boxes.parents, boxes.tags, inside[NO_BOX]
    beside = [False] * (len(parents) + 1)
    sure = 0.0
    for index, place in enumerate(places):
        if beside[parents[index]]:
            beside[index] = True
        elif place is Place.REPLIES or tags[index] in BESIDE_TAGS:
            is_most = inside[index] > (
                _KEPT_WITH_HEADING * total if holds[index] else total - _PARAGRAPH_VOTES
            )
            # An element that was never closed can hold half of the page.
            is_unclosed = place is not Place.REPLIES and inside[index] > _KEPT_TAG * total
            if not is_most and not is_unclosed:
                beside[index] = True
                sure += inside[index]
    left = total - sure
    for doubted in ((Place.BESIDE, Place.MAYBE_BESIDE), (Place.BESIDE,)):
        pruned = list(beside)
        dropped = _prune(pruned, places, doubted, holds, parents, inside, left)
        # What most of the text is marked with does not mean something beside it.
        if dropped <= _KEPT * left:
            return pruned
    return pruned


def _prune(
    beside: list[bool],
    places: Sequence[Place],
    doubted: Sequence[Place],
    holds: Sequence[bool],
    parents: Sequence[int],
    inside: Sequence[float],
    left: float,
) -> float:
    """Mark boxes of these places as beside unless much depends on them; return their votes."""
    dropped = 0.0
    was_beside = list(beside)
    for index, place in enumerate(places):
        if beside[parents[index]]:
            beside[index] = True
        elif place in doubted:
            kept = _KEPT_WITH_HEADING if holds[index] else _KEPT
            if inside[index] <= kept * left and not was_beside[index]:
                beside[index] = True
                dropped += inside[index]
    return dropped


def _top(
    blocks: Sequence[Block], votes: Sequence[float], boxes: Boxes, places: Sequence[Place]
) -> int:
    """Return the box that holds the text, or `NO_BOX` when it is all over the page."""
    scores: dict[int, float] = {}
    for block, vote in zip(blocks, votes, strict=True):
        around = block.box
        if not vote or around == NO_BOX:
            continue
        # Its own box is the paragraph; those around gain less and less.
        if boxes.tags[around] in PARAGRAPHS:
            around = boxes.parents[around]
        share = vote
        for _ in range(_REACH):
            if around == NO_BOX:
                break
            bonus = _BODY_BONUS if places[around] is Place.BODY else 1.0
            scores[around] = scores.get(around, 0.0) + share * bonus
            share *= _FADE
            around = boxes.parents[around]
    if not scores:
        return NO_BOX
    best = _best(scores, scores)
    seeds = _below_heading(blocks, votes, boxes)
    if near := [box for box in scores if box in seeds]:
        nearest = _best(scores, near)
        # Below its heading stands a page's own text, although there may be more elsewhere.
        best = nearest if scores[nearest] >= _NEAR_SHARE * scores[best] else best
    sums = _sums(blocks, votes, boxes.parents)
    best = _with_other_parts(best, sums, boxes)
    least = max(_ARTICLE_VOTES, _SHARE_OF_ARTICLE * sums[NO_BOX])
    return best if sums[best] >= least else NO_BOX


def _best(scores: Mapping[int, float], boxes: Iterable[int]) -> int:
    return min(boxes, key=lambda box: (-scores[box], box))


def _below_heading(blocks: Sequence[Block], votes: Sequence[float], boxes: Boxes) -> set[int]:
    """Return the boxes around the first running text below the page's heading."""
    around: set[int] = set()
    for tag in ("h1", "h2"):
        start = next(
            (
                index
                for index, block in enumerate(blocks)
                if boxes.tags[block.box] == tag and block.link_chars * 2 < len(block.text)
            ),
            None,
        )
        if start is None:
            continue
        running = (index for index in range(start, len(blocks)) if votes[index])
        for index in islice(running, _SEEDS):
            box = blocks[index].box
            for _ in range(_REACH):
                if box == NO_BOX or boxes.tags[box] in _ROOTS:
                    break
                around.add(box)
                box = boxes.parents[box]
        break
    return around


def _with_other_parts(best: int, sums: Sequence[float], boxes: Boxes) -> int:
    """Return the box around text that stands in several parts, split by advertisements."""
    around = best
    for _ in range(_PART_LEVELS):
        around = boxes.parents[around]
        if around == NO_BOX or boxes.tags[around] in _ROOTS:
            break
        if sums[around] >= _PARTS_ADD * sums[best]:
            best = around
    return best


def _within(top: int, parents: Sequence[int]) -> list[bool]:
    """Tell for every box whether it is the box or in it, and last, False, for what is in none."""
    within = [False] * (len(parents) + 1)
    within[top] = True
    for index in range(top + 1, len(parents)):
        within[index] = within[parents[index]]
    return within


def _clean(article: Sequence[Block], boxes: Boxes) -> list[Block]:
    """Drop lists of links, remarks, and headings without text under them."""
    chosen: list[Block] = []
    has_text_below = False
    for block in reversed(article):
        tag = boxes.tags[block.box]
        length = len(block.text)
        if length < _REMARK_CHARS:
            is_link_list = block.link_chars * 10 > length * 8 and tag not in HEADINGS
            if is_link_list or REMARK.fullmatch(block.text):
                continue
        is_heading = tag in HEADINGS and length < _HEADING_CHARS
        if is_heading and (not has_text_below or tag == "h1"):
            continue
        has_text_below = not is_heading
        chosen.append(block)
    chosen.reverse()
    return chosen
