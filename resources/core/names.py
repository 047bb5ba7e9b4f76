"""Compare company names: fold spelling, strip legal forms, measure how far two names agree.

Used to match and to merge. Which agreement is enough is decided there, not here. Folding is for
comparison alone; what is shown to people is never folded.
"""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import product


def _words(text: str) -> list[str]:
    return text.split()


# Letters that Unicode does not decompose.
_LATIN = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})
_CYRILLIC = str.maketrans(
    dict(
        zip(
            "абвгдезийклмнопрстуфыэіґ",
            _words("a b v g d e z i i k l m n o p r s t u f y e i g"),
            strict=True,
        )
    )
    | {"ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ь": ""}
    | {
        "ё": "e",
        "ї": "i",
        "ў": "u",
        "ю": "yu",
        "я": "ya",
        "є": "ye",
        "ѓ": "g",
        "ќ": "k",
        "љ": "lj",
        "њ": "nj",
        "џ": "dz",
    }
    | {"ј": "j", "ћ": "c", "ђ": "dj", "ѕ": "dz"}
)
_GREEK = str.maketrans(
    dict(
        zip(
            "αβγδεζηικλμνξοπρσςτυφω",
            _words("a v g d e z i i k l m n x o p r s s t y f o"),
            strict=True,
        )
    )
    | {"θ": "th", "χ": "ch", "ψ": "ps"}
)
_CONNECTORS = frozenset(_words("and und et e y i en og och ja the"))
_LEGAL_FORMS = frozenset(
    _words("""
    ab ad ag aktiengesellschaft aktiebolag aps as asa ba bhd bt bv bvba cic cjsc co company coop
    corp corporation cv cvba da dd dba doo dooel ead eg ehf eingetragen eirl ek eood ev gbr
    gesmbh gmbh gesellschaft haftung mbh hf iks inc incorporated is jsc kb kd kft kg kgaa kk kkt
    haftungsbeschraenkt haftungsbeschrankt
    kommanditgesellschaft ks lda limitada limited llc llp lp ltd ltda ltee mit beschraenkter
    beschrankter nv nyrt oao oe og ohg ood ooo oy oyj pao pjsc plc plt pte pty pvt private pvtltd
    rt sa sab sae sagl saoc saog sarl sas sasu sca scop scrl sdn se sia sicav sl sll slp slu snc
    sp spa spj spk spol spzoo srl sro st ste sti tao tov ug ua uab vof z zao zoo zrt oo ao
    anonima anonyme societe societa sociedad responsabilite limitee cp epe ike mchj toov
    """)
)
# Forms that stand before the name.
_LEADING_FORMS = frozenset(_words("ao firma oao ooo pao pt sia societe tov uab zao"))
_CJK_FORMS = re.compile(
    "株式会社|有限会社|合同会社|股份有限公司|有限责任公司|有限公司|주식회사|유한회사"
)
# "s.r.o." and "E.ON" are one word, "o. o." too, "J. Smith" is not.
_INITIALS = re.compile(r"\b(\w)\.(?:(?=\w)|\s(?=\w\b))")
_CLOSE_TOKEN = 0.85
_COMPACT_EQUAL = 0.95
_LONGEST_KEPT = 200


def fold(text: str) -> str:
    """Return text for comparison: lower case, no accents, Latin letters, single spaces.

    >>> fold("  Société  Générale "), fold("Яндекс"), fold("Łódź")
    ('societe generale', 'yandeks', 'lodz')
    """
    if len(text) <= _LONGEST_KEPT:
        return _fold_short(text)
    return _folded(text)


# The same few names and addresses are compared again and again while one profile is merged.
@lru_cache(maxsize=8_192)
def _fold_short(text: str) -> str:
    return _folded(text)


def _folded(text: str) -> str:
    latin = text.lower() if text.isascii() else _latin(text.casefold())
    return " ".join("".join(c if _is_of_word(c) else " " for c in latin).split())


# The pages of a site repeat the same few names.
@lru_cache(maxsize=8_192)
def core_tokens(name: str) -> tuple[str, ...]:
    """Return the words of a name that tell companies apart: folded, without legal forms.

    A name that is nothing but a legal form keeps it.

    >>> core_tokens("The Acme Widgets GmbH & Co. KG"), core_tokens("Fiat S.p.A.")
    (('acme', 'widgets'), ('fiat',))
    """
    return _core(name.casefold())


def similarity(first: str, second: str) -> float:
    """Return how far two names agree, 0 to 1; 1 when only spelling or legal form differ.

    Words are paired by likeness and weighted by length, so that "Siemens" and "Siemens
    Healthineers" stay apart, as do "Studio 54" and "Studio 55".

    >>> similarity("Müller AG", "MUELLER"), similarity("Data Bricks Inc", "Databricks")
    (1.0, 0.95)
    """
    # In one order, whichever name was given first: pairing words is not the same both ways.
    pairs = (sorted(pair) for pair in product(_spellings(first), _spellings(second)))
    return max((_agreement(one, other) for one, other in pairs), default=0.0)


def _spellings(name: str) -> set[tuple[str, ...]]:
    """Return the tokens with umlauts as one letter, and as two: both are usual."""
    lowered = unicodedata.normalize("NFC", name.casefold())
    return {_core(lowered), _core(lowered.translate(_UMLAUTS))} - {()}


def _core(lowered: str) -> tuple[str, ...]:
    text = _CJK_FORMS.sub(" ", lowered.replace("a/s", "as").replace("i/s", "is"))
    text = _INITIALS.sub(r"\1", text.replace("'", "").replace("\u2019", ""))
    tokens = fold(text).replace("ks", "x").split()  # Яндекс is Yandex
    words = [token for token in tokens if token not in _CONNECTORS] or tokens
    start, end = 0, len(words)
    while end - start > 1 and words[end - 1] in _LEGAL_FORMS:
        end -= 1
    while end - start > 1 and words[start] in _LEADING_FORMS:
        start += 1
    return tuple(words[start:end])


def _agreement(first: tuple[str, ...], second: tuple[str, ...]) -> float:
    if first == second:
        return 1.0
    if "".join(first) == "".join(second):
        return _COMPACT_EQUAL
    left, matched = list(second), 0.0
    for token in sorted(first, key=len, reverse=True):
        best, likeness = _closest(token, left)
        if best is not None:
            left.remove(best)
            matched += likeness * (len(token) + len(best))
    return round(matched / (len("".join(first)) + len("".join(second))), 4)


def _closest(token: str, others: list[str]) -> tuple[str | None, float]:
    """Return the most alike of the others, if it is close enough to be the same word."""
    best: str | None = None
    likeness = 0.0
    for other in others:
        ratio = 1.0 if token == other else SequenceMatcher(None, token, other).ratio()
        if ratio > likeness:
            best, likeness = other, ratio
    has_digit = any(character.isdigit() for character in token)
    if likeness < (1.0 if has_digit or len(token) < 4 else _CLOSE_TOKEN):
        return None, 0.0
    return best, likeness


def _is_of_word(character: str) -> bool:
    """Tell letters, digits and vowel signs (of Indic scripts) from what separates words."""
    if character.isascii():
        return character.isalnum()
    return character.isalnum() or unicodedata.category(character) in ("Mn", "Mc")


def _latin(text: str) -> str:
    # Cyrillic first: decomposed, "й" would be "и" with an accent.
    lettered = unicodedata.normalize("NFC", text).translate(_LATIN).translate(_CYRILLIC)
    decomposed = unicodedata.normalize("NFKD", lettered)
    bare = "".join(letter for letter in decomposed if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", bare).translate(_GREEK)
