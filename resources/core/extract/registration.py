"""Register and tax numbers as companies print them in imprints and footers.

A number is taken only beside the words that name it, or with the country's letters before it.
Whether it exists, and whose it is, is not decided here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .models import squeeze

_MAX_NUMBERS: Final = 20
_MAX_PLACES: Final = 10
_BEFORE_CHARS: Final = 24
_AFTER_CHARS: Final = 90
_LABEL_CHARS: Final = 60
"""Characters around the digits of a number in which its label stands."""
_DIGITS: Final = re.compile(r"\d[\dA-Z .,/-]{4,40}")
_NO: Final = r"(?:\s?[-:]?\s?(?:nr|no|num|nummer|number|núm|nº|n°|numer)\b)?[\s.:：#n°º-]{0,6}"
"""What stands between a label and its number."""


@dataclass(frozen=True, slots=True)
class Register:
    """A kind of number.

    Args:
        words: Lower case; where none of them stands, the pattern is not tried.
        pattern: With a group `number`, and `kind` where the printed label names the register.
        kind: The register's name where the pattern has no group for it; empty when the number
            itself begins with its country.
    """

    words: tuple[str, ...]
    pattern: re.Pattern[str]
    kind: str = ""


def _labelled(label: str, number: str, *words: str, kind: str) -> Register:
    pattern = rf"(?<!\w)(?:{label}){_NO}(?P<number>{number})(?![\w])"
    return Register(words, re.compile(pattern, re.I), kind)


_EU_VAT: Final = (
    r"(?P<number>(?:ATU\s?\d{8}|BE\s?[01]\d{3}[.\s]?\d{3}[.\s]?\d{3}|BG\s?\d{9,10}|CY\s?\d{8}[A-Z]|"
    r"CZ\s?\d{8,10}|DE\s?\d{9}|DE\s?\d{3} \d{3} \d{3}|DK\s?\d{8}|DK\s?\d\d \d\d \d\d \d\d|"
    r"EE\s?\d{9}|EL\s?\d{9}|ES\s?[A-Z]\d{7}[A-Z\d]|FI\s?\d{8}|FR\s?[A-Z\d]{2}\s?\d{3}\s?\d{3}\s?\d{3}|"
    r"GB\s?\d{3}\s?\d{4}\s?\d{2}|HR\s?\d{11}|HU\s?\d{8}|IE\s?\d[A-Z\d]\d{5}[A-Z]{1,2}|IT\s?\d{11}|"
    r"LT\s?\d{9,12}|LU\s?\d{8}|LV\s?\d{11}|MT\s?\d{8}|NL\s?\d{9}B\d\d|PL\s?\d{10}|PT\s?\d{9}|"
    r"RO\s?\d{2,10}|SE\s?\d{12}|SI\s?\d{8}|SK\s?\d{10}|CHE-\d{3}\.\d{3}\.\d{3}))(?![\w])"
)
_TAX_LABEL: Final = (
    r"(?P<kind>USt\.?-?\s?Id(?:ent)?\.?-?(?:Nr|Nummer)?|Umsatzsteuer-?\s?Id[^\n:]{0,30}|"
    r"VAT(?:\s?(?:reg(?:istration)?|ID|no|number))*|TVA(?:\s?intracommunautaire)?|"
    r"BTW(?:-?(?:nr|nummer))?|P(?:artita)?\.?\s?IVA|MwSt-?(?:Nr|Nummer)|moms(?:nr|nummer|reg)?)"
)
_TAX_WORDS: Final = ("vat", "ust", "umsatz", "tva", "btw", "iva", "mwst", "moms")
_KINDS: Final = {"p": "P.IVA", "u": "USt-IdNr.", "v": "VAT", "t": "TVA", "b": "BTW", "m": "MwSt"}
"""Short names of tax labels by their first letter."""

REGISTERS: Final[tuple[Register, ...]] = (
    Register(
        ("hra", "hrb", "gnr"),
        re.compile(
            r"\b(?P<kind>HR[AB]|GnR)[\s.:-]{0,3}(?:Nr\.?|Nummer)?[\s.:]{0,3}"
            r"(?P<number>\d{2,6}(?:\s?[A-Z]{1,2}\b)?)"
        ),
    ),
    Register(("fn ", "fn:"), re.compile(r"\bFN[\s.:]{1,3}(?P<number>\d{5,6}\s?[a-z])\b"), "FN"),
    Register(
        _TAX_WORDS,
        re.compile(
            rf"(?<!\w){_TAX_LABEL}(?!\w)[\s.:#-]{{0,4}}"
            r"(?P<number>(?:[A-Z]{2,3}[\s-]?)?[A-Z]?\d(?:[ .-]?[\dA-Z]){6,13})(?![\w])",
            re.I,
        ),
    ),
    Register((*_TAX_WORDS, "uid", "tax", "atu", "che-"), re.compile(rf"\b{_EU_VAT}")),
    Register(
        ("siret", "siren", "rcs", "r.c.s"),
        re.compile(
            r"\b(?P<kind>SIRET|SIREN|R\.?C\.?S\.?)(?:\s?n[°o]\.?)?[\s.:n°º-]{0,6}"
            r"(?P<number>(?:[A-ZÉ][A-Za-zÀ-ÿ-]{2,25}(?: [BA])? )?\d(?:[ .]?\d){8,13})(?!\d)"
        ),
    ),
    _labelled("KvK|Kamer van Koophandel", r"\d{8}", "kvk", "koophandel", kind="KvK"),
    _labelled(
        "KBO|BCE|Ondernemingsnummer|Numéro d'entreprise",
        r"(?:BE\s?)?[01]?\d{3}\.?\d{3}\.?\d{3}",
        *("kbo", "bce", "onderneming", "entreprise"),
        kind="KBO",
    ),
    _labelled("NIP", r"(?:PL\s?)?\d{3}[ -]?\d{2,3}[ -]?\d{2}[ -]?\d{2,3}", "nip", kind="NIP"),
    _labelled("KRS", r"\d{10}", "krs", kind="KRS"),
    _labelled("REGON", r"\d{9}(?:\d{5})?", "regon", kind="REGON"),
    _labelled(
        r"C\.?I\.?F\.?|N\.?I\.?F\.?|NIPC|Contribuinte",
        r"(?:ES|PT)?[ -]?"
        r"(?:[A-Z][ .-]?\d{2}[.]?\d{3}[.]?\d{2,3}|\d{3}[ .]?\d{3}[ .]?\d{3}|\d{8}[A-Z])",
        *("cif", "nif", "c.i.f", "n.i.f", "nipc", "contribuinte"),
        kind="NIF",
    ),
    _labelled(r"R\.?E\.?A\.?", r"[A-Z]{2}\s?[-–]?\s?\d{5,7}|\d{6,7}", "rea", "r.e.a", kind="REA"),
    _labelled(
        r"Org(?:anisations)?\.?\s?-?(?:nr|nummer|number|no)|Foretaksregisteret",
        r"(?:NO\s?)?\d{6}-?\d{4}|(?:NO\s?)?\d{3}\s?\d{3}\s?\d{3}",
        *("org", "foretaksreg"),
        kind="Org.nr",
    ),
    _labelled("CVR(?:-nr)?", r"(?:DK\s?)?\d{2}\s?\d{2}\s?\d{2}\s?\d{2}", "cvr", kind="CVR"),
    _labelled("Y-tunnus|Business ID", r"\d{7}-\d", "y-tunnus", "business id", kind="Y-tunnus"),
    _labelled("IČO|ICO|IČ", r"\d{2,3}\s?\d{2,3}\s?\d{2,3}", "ičo", "ico", "ič", kind="IČO"),
    _labelled("DIČ", r"(?:CZ|SK)?\d{8,10}", "dič", kind="DIČ"),
    _labelled("ABN", r"\d{2}\s?\d{3}\s?\d{3}\s?\d{3}", "abn", kind="ABN"),
    _labelled("ACN", r"\d{3}\s?\d{3}\s?\d{3}", "acn", kind="ACN"),
    _labelled("CNPJ", r"\d{2}\.?\d{3}\.?\d{3}/?\d{4}-?\d{2}", "cnpj", kind="CNPJ"),
    _labelled("EIN|Tax ID", r"\d{2}-\d{7}", "ein", "tax id", kind="EIN"),
    _labelled("GSTIN|GST", r"\d{2}[A-Z]{5}\d{4}[A-Z][A-Z\d]Z[A-Z\d]", "gst", kind="GSTIN"),
    _labelled("法人番号", r"\d{13}", "法人番号", kind="法人番号"),
    _labelled("统一社会信用代码|社会信用代码", r"[0-9A-Z]{18}", "信用代码", kind="USCC"),
    Register(
        ("company", "regist", "reg.", "reg no"),
        re.compile(
            r"(?:Company|Registration|Registered|Reg\.?|Register|Handelsregister)[\s-]{1,2}"
            r"(?:Registration\s|Registered\s|Reg\.?\s|in\s[^\n\d]{3,32}?)?[(:\s]{0,2}"
            r"(?:(?:under\s)?(?:company\s)?(?:registration\s)?(?:No|Number|Nummer|Nr)[\s.:#-]{0,3}|:\s?)"
            r"(?P<number>[A-Z]{0,2}\d{6,8})\b",
            re.I,
        ),
        "Company no.",
    ),
)


def find_registration(text: str) -> tuple[str, ...]:
    """Return register and tax numbers as printed, each with its register's name before it.

    A number that itself begins with its country's letters stands alone.
    """
    found: dict[str, str] = {}
    text = _around_digits(text)
    lowered = text.lower()
    # Some letters have more characters in lower case; then places would not be the same.
    lowered = lowered if len(lowered) == len(text) else text
    for register in REGISTERS:
        for match in _near(register, text, lowered):
            groups = match.groupdict()
            number = squeeze(groups["number"], 40)
            if sum(each.isdigit() for each in number) < 2:
                continue
            kind = groups.get("kind") or register.kind
            kind = _KINDS.get(kind[:1].lower(), kind) if register.words is _TAX_WORDS else kind
            has_country = register.words is _TAX_WORDS and number[:2].isalpha()
            full = number if has_country or not kind else f"{squeeze(kind, 20)} {number}"
            found.setdefault(re.sub(r"\W", "", number), full)
    return tuple(found.values())[:_MAX_NUMBERS]


def _around_digits(text: str) -> str:
    """Return the parts of a text in which such a number can stand, which is little of it."""
    parts: list[str] = []
    start = end = 0
    for found in _DIGITS.finditer(text):
        if found.start() - _LABEL_CHARS > end:
            parts.append(text[start:end])
            start = max(0, found.start() - _LABEL_CHARS)
        end = found.end() + _LABEL_CHARS
    return "\n".join([*parts, text[start:end]])


def _near(register: Register, text: str, lowered: str) -> Iterator[re.Match[str]]:
    """Find a pattern only around the words that belong to it, which is much the cheaper way."""
    for word in register.words:
        position = lowered.find(word)
        for _ in range(_MAX_PLACES):
            if position < 0:
                break
            end = position + _AFTER_CHARS
            if match := register.pattern.search(text, max(0, position - _BEFORE_CHARS), end):
                yield match
            position = lowered.find(word, position + len(word))
