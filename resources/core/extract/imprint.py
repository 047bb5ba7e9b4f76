"""The legal name of a company, as printed in an imprint or a footer.

Not in here: the name a company goes by (`company`), register numbers (`registration`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from resources.core.names import core_tokens

from .company import first_text, host_bonus
from .legal_forms import CJK_LEGAL_NAME, ENDS_WITH_FORM, FORM_TOKENS, LEGAL_NAME
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
_LETTER: Final = re.compile(r"[^\W\d_]")
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
            # In "Las Vegas NV 89101" and "Las Vegas, NV" the form is a state.
            is_state = found["form"] == "NV" and ", NV" in found.group()
            if is_state or _POSTCODE.match(text, done):
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
        is_dash = word in ("-", "–", "—", "•", "·")
        if (
            is_dash
            or (word[:1].islower() and not is_link and index < len(words) - 2)
            or (word.endswith((".", "!", "?")) and len(word) > 5 and index < len(words) - 2)
        ):
            start = index + 1
    kept = words[start:]
    while kept and (kept[0] in ("&", "and", "und", "of", "et") or not _LETTER.search(kept[0])):
        kept = kept[1:]
    return " ".join(kept) if 2 <= len(kept) <= 9 else None
