"""Make hostile markup harmless before the parser sees it.

The parser is linear on ordinary pages but not on three kinds of markup: tens of thousands of
nested elements (the end-tag search: 13 s at 80,000 `<div>`), tens of thousands of attributes on
one tag (the duplicate check: 8 s at 50,000), and unclosed formatting elements, which HTML
re-creates in every later paragraph (n x m nodes). This module finds them in one linear pass, only
on pages that are large or full of tags, and rewrites those.

Not in here: any judgement of content. An ordinary page passes unchanged.
"""

import re
from typing import Final

MAX_DEPTH: Final = 1_000
"""Nesting that is left alone; browsers stop at 512, real pages at about 60."""
_FLAT_DEPTH: Final = 60
"""Nesting that is left once a page had to be rewritten."""
MAX_TAGS: Final = 100_000
"""Tags after which a page is cut off; large real pages have 20,000."""
MAX_ATTRIBUTES_CHARS: Final = 8_000
_SURE_CHARS: Final = 40_000
"""A page that is shorter has too few attributes to do harm."""
_SUSPECT_CHARS: Final = 400_000
"""From here on every tag is read; below, a cheaper look decides whether that is needed."""
_QUOTED_ENDS: Final = 3
"""A page with more attributes that begin with `>` may hide the end of a tag in them."""
_SUSPECT_TAGS: Final = 10_000
_SUSPECT_NODES: Final = 1_500_000
_FEW_TAGS: Final = 2_000
_TAGS_PER_PARAGRAPH: Final = 5_000

_ATTRIBUTE: Final = (
    r"(?>[\s/]++|[^\s/>][^\s/>=]*+(?>\s*+=\s*+(?>\"[^\"]*+\"?|'[^']*+'?|[^\s>\"'][^\s>]*+)?)?)"
)
# Possessive throughout: a position is never read twice, so the pass is linear on any input.
_TOKEN: Final = re.compile(
    r"<!--(?>-?>|(?>[^-]++|-(?!-!?>))*+(?>--!?>)?)"
    rf"|<(?P<end>/?)(?P<name>[a-zA-Z][^\s/>]*+)(?P<attributes>{_ATTRIBUTE}*+)>?"
)
_MANY_ATTRIBUTES: Final = re.compile(rf"{_ATTRIBUTE}{{1000}}+")
_QUOTED_END: Final = re.compile(r"=[\"']>")
_LONG_TAG: Final = re.compile(rf"<[a-zA-Z][^>]{{{MAX_ATTRIBUTES_CHARS}}}")
"""A tag that is long without any `>`, even in quotes: cheap to look for, not the whole truth."""
_TAG: Final = re.compile(rf"<[a-zA-Z][^\s/>]*+(?P<attributes>{_ATTRIBUTE}*+)")
_FORMATTING: Final = frozenset(
    """
    b big code em font i nobr s small strike strong tt u
    """.split()
)
_FORMATTING_TAG: Final = re.compile(r"<(?:" + "|".join(sorted(_FORMATTING)) + r")[\s/>]", re.I)
_VOID: Final = frozenset(
    """
    area base br col embed hr img input link meta param source track wbr
    """.split()
)
_RAW: Final = frozenset(
    ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"]
)
_IMPLIED_END: Final = frozenset(
    """
    p li dd dt option optgroup tr td th thead tbody tfoot
    """.split()
)
_BARRIERS: Final = frozenset(
    ["applet", "caption", "html", "marquee", "object", "td", "th", "table", "template"]
)


def make_parsable(text: str) -> str:
    """Return markup that parses in little time; the same string unless it looks hostile."""
    tags = text.count("<")
    if tags > MAX_TAGS:
        text = text[: -len(text.split("<", MAX_TAGS)[MAX_TAGS]) - 1]
    is_hostile = _has_overloaded_tag(text)
    if not is_hostile and tags > _FEW_TAGS:
        formatting = len(_FORMATTING_TAG.findall(text))
        is_hostile = formatting * tags > _SUSPECT_NODES * max(1, tags // _TAGS_PER_PARAGRAPH)
    if not is_hostile and tags > _SUSPECT_TAGS:
        is_hostile = _is_too_deep(text)
    return _rewritten(text) if is_hostile else text


def _has_overloaded_tag(text: str) -> bool:
    if len(text) < _SURE_CHARS or (len(text) < _SUSPECT_CHARS and not _may_be_overloaded(text)):
        return False
    # A search for the many attributes themselves would be quadratic; each tag is read once here.
    found = _TAG.findall(text)
    longest: int = max(map(len, found), default=0)
    return longest > MAX_ATTRIBUTES_CHARS and any(map(_is_overloaded, found))


def _may_be_overloaded(text: str) -> bool:
    return len(_QUOTED_END.findall(text)) > _QUOTED_ENDS or _LONG_TAG.search(text) is not None


def _is_overloaded(attributes: str) -> bool:
    return len(attributes) > MAX_ATTRIBUTES_CHARS and bool(_MANY_ATTRIBUTES.match(attributes))


def _is_too_deep(text: str) -> bool:
    stack: list[str] = []
    position = 0
    search = _TOKEN.search
    while found := search(text, position):
        position = found.end()
        name = found["name"]
        if name is None:
            continue
        name = name.lower()
        if name in _RAW and not found["end"]:
            position = _end_of_raw(text, name, position)
        elif found["end"]:
            _close(stack, name)
        elif name not in _VOID and name not in _FORMATTING:
            if name in _IMPLIED_END and stack and stack[-1] == name:
                stack.pop()
            stack.append(name)
            if len(stack) > MAX_DEPTH:
                return True
    return False


def _close(stack: list[str], name: str) -> int:
    """Pop up to and with `name`, if HTML would; return how many were popped."""
    for back in range(1, min(len(stack), 60) + 1):
        open_name = stack[-back]
        if open_name == name:
            del stack[-back:]
            return back
        if open_name in _BARRIERS and name not in _BARRIERS:
            return 0
    return 0


def _end_of_raw(text: str, name: str, position: int) -> int:
    found = re.compile(f"</{name}", re.I).search(text, position)
    return found.start() if found else len(text)


def _rewritten(text: str) -> str:
    """Drop formatting tags, tags nested too deep and attributes beyond a bound."""
    out: list[str] = []
    stack: list[str] = []
    position = 0
    while found := _TOKEN.search(text, position):
        out.append(text[position : found.start()])
        position = found.end()
        if found["name"] is None:
            continue
        name = found["name"].lower()
        if name in _RAW and not found["end"]:
            stop = _end_of_raw(text, name, position)
            out.append(_short_tag(found) + text[position:stop] + f"</{name}>")
            position = stop
        elif name in _VOID:
            out.append(_short_tag(found))
        elif name in _FORMATTING or name in _RAW:
            continue
        elif found["end"]:
            closed = stack[-60:]
            popped = _close(stack, name)
            out.extend(f"</{each}>" for each in reversed(closed[len(closed) - popped :]))
        elif len(stack) < _FLAT_DEPTH:
            stack.append(name)
            out.append(_short_tag(found))
        else:
            out.append("\n")
    out.append(text[position:])
    return "".join(out)


def _short_tag(found: re.Match[str]) -> str:
    attributes: str = found["attributes"]
    if _is_overloaded(attributes):
        attributes = ""
    return f"<{found['name']}{attributes}>"
