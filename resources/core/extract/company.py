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
from typing import Any, Final

from resources.core.names import core_tokens

from .legal_forms import ENDS_WITH_FORM
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
    "text": 10,
    "address": 10,
    "logo": 14,
}
_HOST_BONUS: Final = 40
_AGREEMENT_BONUS: Final = 12
_MAX_NAME_CHARS: Final = 80
_MAX_CANDIDATES: Final = 12
_ADDRESS_MALUS: Final = 30
_WEB_ADDRESS: Final = re.compile(r"(?:https?://)?[\w-]{1,63}(?:\.[\w-]{1,63}){2,5}/?")
_MAX_NAME_WORDS: Final = 8
_MAX_NAME_CHARS_READ: Final = 50_000
_NOT_LETTERS: Final = re.compile(r"[\W_]+")
_TITLE_SPLIT: Final = re.compile(
    r"\s+[-–—:|•·»«>~]+\s+|\s*[|»«•·]\s*|\s+::\s+|:\s+|\s+[-–—]+|[-–—]+\s+"
)
_NOT_NAMES: Final = frozenset(
    """
    home homepage index welcome start startseite accueil inicio untitled document contact
    contacts kontakt contatti contacto about impressum imprint legal wordpress joomla drupal
    blog news shop store logo website site page company services products team login error 404
    facebook twitter instagram default my wix squarespace online menu search cart privacy all
    rights reserved close open next previous more january february march april may june july
    august september october november december google microsoft adobe mapquest openstreetmap
    """.split()
)
_CAPTION_WORDS: Final = frozenset(
    """
    address adresse anschrift email e-mail mail phone tel fax directions hours map location
    locations office headquarters us uns nous send find visit click view get mailing physical
    """.split()
)
"""Words of lines above an address that are not its addressee."""
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
    r"terms|inc\b(?=[^.]{4})|registered|,?\s(?:a|an) (?:division|subsidiary|member|part)\b).*",
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
    streets: Sequence[str] = (),
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
    places += [(each, "address") for each in _above_streets(text, streets)]
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
        score += host_bonus("".join(tokens), tokens, label) - max(0, len(tokens) - 4) * 5
        score -= _ADDRESS_MALUS if _WEB_ADDRESS.fullmatch(name) else 0
        scores.append((score, name, evidence))
    scores.sort(key=lambda each: -each[0])
    return tuple((name, evidence) for _, name, evidence in scores[:_MAX_CANDIDATES])


def host_bonus(joined: str, tokens: tuple[str, ...], label: str) -> int:
    """Return how much a name, joined and as words, gains by fitting the label of the host."""
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
    own = [each for each in items if host and host_of(first_text(each.get("url"))) == host]
    for item in [*own, *items][:5]:
        for key in ("name", "legalName", "alternateName"):
            if name := first_text(item.get(key)):
                yield name
                break


def first_text(value: Any) -> str:
    """Return a JSON-LD value, or the first of several, if it is text; else an empty string."""
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


def _above_streets(text: str, streets: Sequence[str]) -> Iterator[str]:
    """Yield the line above a printed street, which in letters and on cards is the addressee."""
    for street in streets[:3]:
        position = text.find(street)
        if position <= 0:
            continue
        line = text[max(0, position - 120) : position].rstrip().rpartition("\n")[2].strip()
        words = line.split()
        is_name = 1 < len(words) <= _MAX_NAME_WORDS and not any(c.isdigit() for c in line)
        is_name = is_name and _CAPTION_WORDS.isdisjoint(line.lower().split())
        if is_name and line[0].isupper() and line[-1] not in ":!?;,":
            yield line


def _host_in_text(label: str, text: str) -> list[str]:
    """Return how the text spells the label of the host: `peakview` is there as "Peak View"."""
    letters = re.sub(r"\W|_", "", label)
    text = text[:_MAX_NAME_CHARS_READ]
    lowered = text.lower()
    # Most pages either have the label in one word or have its first letters nowhere.
    if not 5 <= len(letters) <= 40 or letters[:2] not in lowered:
        return []
    for joint in " &'.-":
        lowered = lowered.replace(joint, "")
    if letters not in lowered:
        return []
    spellings = Counter(
        spelled
        for line, squeezed in zip(text.split("\n"), lowered.split("\n"), strict=True)
        if letters in squeezed
        for spelled in _spelled(letters, line.split())
    )
    proper = {each: n for each, n in spellings.items() if each[0].isupper()}
    return [max(proper, key=lambda each: (" " in each, proper[each]))] if proper else []


def _spelled(letters: str, words: Sequence[str]) -> Iterator[str]:
    """Yield the runs of words of a line that have exactly these letters."""
    first = letters[0] + letters[0].upper()
    for start, word in enumerate(words):
        if word[0] not in first:
            continue
        joined = ""
        for end in range(start, min(start + _MAX_NAME_WORDS, len(words))):
            joined += _NOT_LETTERS.sub("", words[end]).lower()
            if joined == letters:
                yield " ".join(words[start : end + 1]).rstrip(".,;:!?)'\"")
            if not letters.startswith(joined):
                break


def _copyright_names(text: str) -> Iterator[str]:
    lowered = text.lower()
    if not any(sign in lowered for sign in ("©", "(c)", "copyright")):
        return
    for count, found in enumerate(_COPYRIGHT.finditer(text)):
        if count >= 5:
            return
        yield _COPYRIGHT_END.sub("", found.group(1), count=1)
