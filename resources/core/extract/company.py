"""The company's name: candidates from all over the page, the best one, the legal name.

The rule. Each place where names stand has a weight: JSON-LD and microdata organisations, then
`og:site_name`, `application-name`, the logo's words, the copyright line, the legal name (imprint),
the parts of the title, and the host's label as the text spells it. A name that spells the host's
own label gains most, as does one that other places repeat; a name that is only a word such as
"Home" is no candidate. Highest sum wins, the earlier place at a tie. Nothing here compares
companies with each other.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from resources.core.names import core_tokens

from .legal_forms import (
    CJK_LEGAL_NAME,
    ENDS_WITH_FORM,
    FORM_TOKENS,
    LEGAL_NAME,
    REGISTRATION,
)
from .models import JsonObject, squeeze
from .web_address import host_of, main_label

WEIGHTS: Final = {
    "jsonld": 60,
    "microdata": 55,
    "og:site_name": 50,
    "application-name": 40,
    "copyright": 34,
    "legal_name": 28,
    "title": 20,
    "text": 18,
    "logo": 14,
}
_HOST_BONUS: Final = 40
_AGREEMENT_BONUS: Final = 12
_MAX_NAME_CHARS: Final = 80
_MAX_CANDIDATES: Final = 12
_MAX_LEGAL_PLACES: Final = 60
_CJK_FORM: Final = re.compile("株式会社|有限会社|合同会社|有限公司|有限责任公司")
_TITLE_SPLIT: Final = re.compile(
    r"\s+[-–—:|•·»«>~]+\s+|\s*[|»«•·]\s*|\s+::\s+|:\s+|\s+[-–—]+|[-–—]+\s+"
)
_NOT_NAMES: Final = frozenset(
    """
    home homepage index welcome start startseite accueil inicio untitled document contact
    contacts kontakt contatti contacto about impressum imprint legal wordpress joomla drupal
    blog news shop store logo website site page company services products team login error 404
    facebook twitter instagram default my wix squarespace online menu search cart privacy all
    rights reserved
    """.split()
)
_NAME_NOISE: Final = re.compile(
    r"\A(?:welcome to|willkommen (?:bei|auf)|bienvenue (?:chez|sur)|about|contact|home of|logo of|"
    r"the official (?:web)?site of)\s+(?:the\s+website\s+of\s+)?|"
    r"\s+(?:logo|home\s?page|official site|website)\Z",
    re.I,
)
_COPYRIGHT: Final = re.compile(
    r"(?:©|\(c\)\s|copyright\s{0,3}(?=©|\(c\)|&copy;|by\s|\d{4}))[\s,.:©-]{0,5}"
    r"(?:(?:copyright|\(c\)|by|\d{4})[\s,.:&©–-]{0,4}){0,5}([^\n©|]{2,90})",
    re.I,
)
_COPYRIGHT_END: Final = re.compile(
    r"\s*(?:all rights?|alle rechte|tous droits|todos los|tutti i diritti|reserved|\s[-–]\s|"
    r"[|•·]|\b(?:19|20)\d\d\b|\.\s|\bis an?\b|designed|website|web design|site by|powered|privacy|"
    r"terms|inc\b(?=[^.]{4})|registered).*",
    re.I | re.S,
)


def name_candidates(
    url: str,
    organisations: Sequence[JsonObject],
    items: Sequence[JsonObject],
    meta: dict[str, str],
    title: str | None,
    logos: Sequence[str],
    text: str,
    legal_name: str | None,
) -> tuple[tuple[str, str], ...]:
    """Return (name, evidence) pairs, best first, by the rule above."""
    host = host_of(url)
    places: list[tuple[str, str]] = []
    places += [(each, "jsonld") for each in _organisation_names(organisations, host)]
    places += [(each, "microdata") for each in _organisation_names(items, host)]
    for key in ("og:site_name", "application-name"):
        if key in meta:
            places += [(part, key) for part in _title_parts(meta[key])[:1]]
    places += [(each, "copyright") for each in _copyright_names(text)]
    places += [(each, "logo") for logo in logos for each in _with_lead(logo)]
    places += [(legal_name, "legal_name")] if legal_name else []
    places += [(each, "title") for part in _title_parts(title or "") for each in _with_lead(part)]
    places += [(each, "text") for each in _host_in_text(main_label(host), text)]
    return _ranked(places, host)


def _ranked(places: Iterable[tuple[str, str]], host: str) -> tuple[tuple[str, str], ...]:
    label = re.sub(r"\W|_", "", main_label(host))
    names: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, evidence in places:
        cleaned = clean_name(name)
        if cleaned and len(names) < 40:
            names.setdefault((cleaned, evidence), core_tokens(cleaned))
    scores: list[tuple[int, str, str]] = []
    for (name, evidence), tokens in names.items():
        others = {
            kind for (_, kind), other in names.items() if kind != evidence and other == tokens
        }
        score = WEIGHTS[evidence] + _AGREEMENT_BONUS * len(others)
        score += _host_bonus("".join(tokens), tokens, label) - max(0, len(tokens) - 4) * 5
        scores.append((score, name, evidence))
    scores.sort(key=lambda each: -each[0])
    return tuple((name, evidence) for _, name, evidence in scores[:_MAX_CANDIDATES])


def _host_bonus(joined: str, tokens: tuple[str, ...], label: str) -> int:
    if len(label) < 2 or not joined:
        return 0
    initials = "".join(each[0] for each in tokens)
    if joined == label:
        return _HOST_BONUS
    if len(joined) > 3 and (joined in label or (len(label) > 3 and label in joined)):
        return _HOST_BONUS * 3 // 4
    is_abbreviated = len(tokens) > 1 and (label == initials or label.startswith(tokens[0]))
    return _HOST_BONUS // 2 if is_abbreviated and len(tokens[0]) + len(label) > 5 else 0


def clean_name(name: str) -> str | None:
    """Trim what pages put around a name; None when no name is left.

    >>> clean_name("Welcome to Acme Tools!"), clean_name("Home")
    ('Acme Tools', None)
    """
    name = _NAME_NOISE.sub("", squeeze(name, 200)).strip(" \t-–—|,:;!*'\"“”«»™®.")
    name = name.replace("®", "").replace("™", "").strip()
    found = ENDS_WITH_FORM.search(name + ".")
    if found:
        name += "."
    if not 2 <= len(name) <= _MAX_NAME_CHARS or not any(each.isalpha() for each in name):
        return None
    words = [each.strip(".,!'").casefold() for each in name.split()]
    if all(
        each in _NOT_NAMES or each in ("us", "uns", "the", "to", "page", "me") for each in words
    ):
        return None
    return name if "@" not in name and "://" not in name else None


def _organisation_names(items: Sequence[JsonObject], host: str) -> Iterator[str]:
    """Names of the organisations, that of the page's own host first."""
    own = [each for each in items if host and host_of(_as_text(each.get("url"))) == host]
    for item in [*own, *items][:5]:
        for key in ("name", "legalName", "alternateName"):
            if name := _as_text(item.get(key)):
                yield name
                break


def _as_text(value: Any) -> str:
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else ""


def _title_parts(title: str) -> list[str]:
    parts = [part for part in _TITLE_SPLIT.split(title[:300]) if part]
    # The name stands at an end; the shorter end is likelier the name than the slogan.
    return sorted({parts[0]: 0, parts[-1]: 0}, key=len) if parts else []


def _with_lead(name: str) -> list[str]:
    """Return a name, and what stands before its first comma unless a legal form follows."""
    lead, comma, rest = name.partition(",")
    is_list = bool(comma) and not ENDS_WITH_FORM.search(f",{rest.rstrip(' .')}")
    return [lead, name] if is_list else [name]


def _host_in_text(label: str, text: str) -> list[str]:
    """Return how the text spells the label of the host: `peakview` is there as "Peak View"."""
    letters = re.sub(r"\W|_", "", label)
    if not 5 <= len(letters) <= 40:
        return []
    spellings = Counter(found.group() for found in _spelled(letters).finditer(text[:50_000]))
    proper = {each: n for each, n in spellings.items() if each[0].isupper() and "\n" not in each}
    return [max(proper, key=lambda each: (" " in each, proper[each]))] if proper else []


@lru_cache(maxsize=1_024)
def _spelled(letters: str) -> re.Pattern[str]:
    between = r"[ &'.-]{0,2}"
    return re.compile(rf"(?<![\w.@/-]){between.join(letters)}(?![\w@-]|\.\w)", re.I)


def _copyright_names(text: str) -> Iterator[str]:
    for count, found in enumerate(_COPYRIGHT.finditer(text)):
        if count >= 5:
            return
        yield _COPYRIGHT_END.sub("", found.group(1), count=1)


def find_legal_name(
    organisations: Iterable[JsonObject], text: str, host: str, hints: Sequence[str] = ()
) -> str | None:
    """Return the name with its legal form, or None.

    Structured `legalName` first; then the printed name that is repeated most or fits the host.
    """
    for item in organisations:
        for key in ("legalName", "name"):
            name = squeeze(_as_text(item.get(key)), 120)
            if name and (ENDS_WITH_FORM.search(name) or CJK_LEGAL_NAME.fullmatch(name)):
                return name
    label = re.sub(r"\W|_", "", main_label(host))
    wanted = {token for hint in hints for token in core_tokens(hint) if len(token) > 3}
    scores: dict[str, float] = {}
    for position, name in enumerate(_printed_legal_names(text)):
        tokens = core_tokens(name)
        fits = _host_bonus("".join(tokens), tokens, label) + 10 * len(wanted & set(tokens))
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
        is_link = word in (
            "&",
            "+",
            "und",
            "and",
            "et",
            "y",
            "e",
            "of",
            "de",
            "du",
            "la",
            "für",
            "the",
            "z",
            "o.",
        )
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
