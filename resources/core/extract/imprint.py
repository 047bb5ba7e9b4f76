"""The legal name of a company, and its register and tax numbers, as printed in an imprint.

Not in here: the name a company goes by (`company`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from resources.core.names import core_tokens

from .company import first_text, host_bonus
from .legal_forms import CJK_LEGAL_NAME, ENDS_WITH_FORM, FORM_TOKENS, LEGAL_NAME, REGISTRATION
from .models import JsonObject, squeeze
from .web_address import main_label

_MAX_LEGAL_PLACES: Final = 60
_LINKS: Final = frozenset(
    """
    & + und and et y e i en og och of de du la le les des di da del della dos do für the z o.
    van von der den zu ter ten
    """.split()
)
"""Words without a capital inside names."""
_POSTCODE: Final = re.compile(r"\s{1,2}\d{5}\b")
_CJK_FORM: Final = re.compile("株式会社|有限会社|合同会社|有限公司|有限责任公司")


def find_legal_name(
    organisations: Iterable[JsonObject], text: str, host: str, hints: Sequence[str] = ()
) -> str | None:
    """Return the name with its legal form, or None.

    Structured `legalName` first; then the printed name that is repeated most or fits the host.
    """
    for item in organisations:
        for key in ("legalName", "name"):
            name = squeeze(first_text(item.get(key)), 120)
            if name and (ENDS_WITH_FORM.search(name) or CJK_LEGAL_NAME.fullmatch(name)):
                return name
    label = re.sub(r"\W|_", "", main_label(host))
    wanted = {token for hint in hints for token in core_tokens(hint) if len(token) > 3}
    scores: dict[str, float] = {}
    for position, name in enumerate(_printed_legal_names(text)):
        tokens = core_tokens(name)
        fits = host_bonus("".join(tokens), tokens, label) + 10 * len(wanted & set(tokens))
        scores[name] = scores.get(name, fits - position / 100) + 1
    return max(scores, key=lambda each: scores[each]) if scores else None


def _printed_legal_names(text: str) -> Iterator[str]:
    """Find legal forms as words first, which is cheap, then read the name before each."""
    places: list[tuple[int, int]] = []
    for word in FORM_TOKENS.intersection(text.split()):
        position = text.find(word)
        while position >= 0 and len(places) < _MAX_LEGAL_PLACES:
            places.append((position, position + len(word)))
            position = text.find(word, position + len(word))
    done = 0
    for start, end in sorted(places):
        if start < done:
            continue
        line_start = max(text.rfind("\n", 0, start) + 1, start - 80, done)
        line_end = text.find("\n", end, end + 24)
        segment = text[line_start : line_end if line_end >= 0 else end + 24]
        for found in LEGAL_NAME.finditer(segment):
            done = line_start + found.end()
            # In "Las Vegas NV 89101" the form is a state.
            if _POSTCODE.match(text, done):
                continue
            if name := _legal_name_of(found.group()):
                yield name
    for count, found in enumerate(CJK_LEGAL_NAME.finditer(text) if _CJK_FORM.search(text) else ()):
        if count >= 20:
            return
        yield squeeze(found.group(), 60)


def _legal_name_of(printed: str) -> str | None:
    """Cut a sentence before the name: keep the capitalised words that lead to the form."""
    words = squeeze(re.sub(r"\A(?:copyright|by|the|\W|\d{4}\s)+", "", printed, flags=re.I)).split()
    start = 0
    for index, word in enumerate(words[:-1]):
        is_link = word in _LINKS
        if (word[:1].islower() and not is_link and index < len(words) - 2) or (
            word.endswith((".", "!", "?")) and len(word) > 5 and index < len(words) - 2
        ):
            start = index + 1
    kept = words[start:]
    while kept and (kept[0] in ("&", "and", "und", "of", "et") or kept[0].isdigit()):
        kept = kept[1:]
    return " ".join(kept) if 2 <= len(kept) <= 9 else None


def _near(words: Sequence[str], pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Find a pattern only around the words that belong to it, which is much the cheaper way."""
    for word in words:
        position = text.find(word)
        for _ in range(10):
            if position < 0:
                break
            if match := pattern.search(text, max(0, position - 16), position + 90):
                yield match
            position = text.find(word, position + len(word))


def find_registration(text: str) -> tuple[str, ...]:
    """Return register and tax numbers as printed, with their kind where it is part of them."""
    found: dict[str, str] = {}
    for words, pattern in REGISTRATION:
        for match in _near(words, pattern, text):
            groups = match.groupdict()
            number = squeeze(groups["number"], 40)
            if sum(each.isdigit() for each in number) < 2:
                continue
            full = f"{groups['kind']} {number}" if groups.get("kind") else number
            found.setdefault(re.sub(r"\W", "", number), full)
    return tuple(found.values())[:20]
