"""Telephone numbers: in text and in `tel:` links, checked against each country's numbering plan.

Runs of digits are cut out with one linear pattern, obvious other things (dates, register numbers)
are thrown out, and only what is left goes to phonenumbers, which is slow. A number without any
country stays with `e164` None, and only if a word says that it is a telephone number.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from .models import MAX_CONTACTS, Phone, PhoneKind, squeeze
from .phone_words import FAX_AFTER, LABEL, NOISE, NOT_A_PHONE, NUMBER_OF_PHONE, OTHER_NUMBER

_MAX_RUNS: Final = 400
_RUN: Final = re.compile(r"\d[\d ()./\t\u2010-\u2015\u2212\u00b7+\[\]-]{5,60}\d")
_LEAD: Final = " +("
_NANP: Final = re.compile(
    r"(?:\+?1[-. ]?)?\(?[2-9]\d\d\)?[-. /]{1,3}[2-9][\dA-Z]{2}[-. ]{0,3}[\dA-Z]{4}"
)
_PIECES: Final = (
    re.compile(r"\s[/|]\s|[\t]+| {2,}"),
    re.compile(r"(?<=\d)\s+(?=[+(])"),
    re.compile(r"\s+[-\u2010-\u2015]\s+|\s?/\s?"),
)
_VANITY: Final = re.compile(
    r"(?P<area>8(?:00|33|44|55|66|77|88))\)?[-. ]{1,2}(?P<word>[A-Z\d](?:-?[A-Z\d]){6,10})\b"
)
_KEYS: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
_IN_BRACKETS: Final = re.compile(r"\(\+?([1-9]\d{0,2}[ -]\d{1,4})\)")
"""Country and area code in one pair of brackets, as in (41 21) 802 7000."""
_TRUNK_ZERO: Final = re.compile(r"[(\[]\s?0\s?[)\]]")
_FIXED_ZERO: Final = ("+39", "0039")


def find_phones(
    text: str, tel_links: Sequence[tuple[str, str]], regions: Sequence[str]
) -> tuple[Phone, ...]:
    """Return the numbers of a page, those in the text first, each once.

    Args:
        text: visible text with its line breaks.
        tel_links: (href, anchor text) of `tel:` and `fax:` links.
        regions: ISO country codes to read national numbers with, likeliest first.
    """
    found: dict[str, tuple[Phone, bool]] = {}
    for raw, kind, is_labelled in _numbers(text, tuple(regions)):
        _add(found, raw, kind, is_labelled, regions)
    for raw, number in _vanity_numbers(text):
        _add(found, raw, None, True, ("US",), number)
    for href, label in tel_links:
        scheme, _, number = href.partition(":")
        said = LABEL.search(label)
        is_fax = scheme.lower() == "fax" or (said is not None and said.lastgroup == "fax")
        _add(
            found,
            number.replace("%20", " ").split(";")[0],
            "fax" if is_fax else None,
            True,
            regions,
        )
    return tuple(phone for phone, _ in found.values())[:MAX_CONTACTS]


@lru_cache(maxsize=8_192)
def parse_phone(raw: str, regions: tuple[str, ...]) -> tuple[str, bool] | None:
    """Return (E.164, is mobile) of a number that is valid in the first region it fits, or None.

    >>> parse_phone("(0221) 99 88 77 0", ("US", "DE"))
    ('+492219988770', False)
    """
    number = raw.strip()
    if not number.startswith(_FIXED_ZERO) or "+" in number[4:]:
        number = _TRUNK_ZERO.sub(" ", number)
    if country_code := _IN_BRACKETS.match(number):
        number = f"+{country_code[1]} {number[country_code.end() :]}"
    number = number.replace("(+", "+").replace("[", " ").replace("]", " ")
    if number.startswith("00"):
        number = "+" + number[2:]
    tried = list(regions[:4])
    if _NANP.fullmatch(number):
        if tried[:1] in ([], ["US"], ["CA"]) and (e164 := _north_american(number)):
            return e164, False
        if "US" not in tried:
            tried.append("US")
    for region in ["ZZ"] if number.startswith("+") else tried:
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            continue
        # The first test is much the faster one for +1, which many countries share.
        if not (
            phonenumbers.is_valid_number_for_region(parsed, region)
            or phonenumbers.is_valid_number(parsed)
        ):
            continue
        e164 = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
        # In North America the number does not tell mobiles.
        is_national = parsed.country_code == 1
        return e164, not is_national and (
            phonenumbers.number_type(parsed) == PhoneNumberType.MOBILE
        )
    return None


def _north_american(number: str) -> str | None:
    """Return E.164 by the numbering plans of the US and Canada alone, which is ten times faster."""
    digits = re.sub(r"\D", "", number)[-10:]
    is_valid = len(digits) == 10 and any(plan.fullmatch(digits) for plan in _plans())
    return f"+1{digits}" if is_valid else None


@lru_cache(maxsize=1)
def _plans() -> tuple[re.Pattern[str], ...]:
    patterns = []
    for region in ("US", "CA"):
        plan = PhoneMetadata.metadata_for_region(region)
        if plan is None:
            continue
        kinds = (
            plan.fixed_line,
            plan.toll_free,
            plan.premium_rate,
            plan.voip,
            plan.personal_number,
        )
        patterns += [each.national_number_pattern for each in kinds if each is not None]
    return tuple(re.compile(each) for each in patterns if each)


def _add(
    found: dict[str, tuple[Phone, bool]],
    raw: str,
    kind: PhoneKind | None,
    is_labelled: bool,
    regions: Sequence[str],
    number: str = "",
) -> None:
    """Add a number; `number` is what is dialled where `raw` is printed in letters."""
    raw = squeeze(raw, 60)
    digits = re.sub(r"\D", "", number or raw)
    parsed = parse_phone(number or raw, tuple(regions))
    # What does not fit any known country is only kept where no country is known at all.
    if parsed is None and (
        regions or not is_labelled or not 8 <= len(digits) <= 15 or _is_doubtful(raw)
    ):
        return
    e164, is_mobile = parsed or (None, False)
    key = e164 or digits
    if e164 is None and any(known.lstrip("+").endswith(digits.lstrip("0")) for known in found):
        return
    known = found.get(key)
    if known is None or (kind is not None and not known[1]):
        chosen: PhoneKind = kind or ("mobile" if is_mobile else "phone")
        chosen = "mobile" if chosen == "phone" and is_mobile else chosen
        found[key] = (Phone(e164, known[0].raw if known else raw, chosen), kind is not None)


def _vanity_numbers(text: str) -> Iterator[tuple[str, str]]:
    """Yield (as printed, in digits) of free numbers in letters, as in 1-800-FLOWERS."""
    for count, found in enumerate(_VANITY.finditer(text)):
        if count >= _MAX_RUNS:
            return
        word = re.sub(r"\W", "", found["word"])[:7]
        if sum(each.isalpha() for each in word) >= 3:
            yield found.group(), f"({found['area']}) {word.translate(_KEYS)}"


def _numbers(text: str, regions: tuple[str, ...]) -> Iterator[tuple[str, PhoneKind | None, bool]]:
    previous_end = 0
    previous: tuple[int, PhoneKind | None] = (-1, None)
    for count, found in enumerate(_RUN.finditer(text)):
        if count >= _MAX_RUNS:
            return
        start, end = found.span()
        while start > found.start() - 4 and start and text[start - 1] in _LEAD:
            start -= 1
        run = text[start:end].lstrip()
        start = end - len(run)
        line_start = max(text.rfind("\n", max(0, start - 60), start) + 1, start - 60, previous_end)
        before = text[line_start:start]
        kind = _label(text, before, line_start)
        if (
            kind is None
            and previous[0] >= 0
            and re.fullmatch(
                r"[\s,;/&|]{0,4}(?:or|and|und|et|y|e|o|oder|ou)?[\s,;/&|]{0,4}",
                text[previous[0] : start],
            )
        ):
            kind = previous[1]
        after = text[end : end + 24]
        if FAX_AFTER.match(after):
            kind = "fax"
        previous_end, previous = end, (end, kind)
        if (kind is None and _is_doubtful(run)) or NOISE.search(run):
            continue
        if _stands_alone(text, start, end, before, kind):
            for piece in _split(run, regions):
                if kind or not _is_doubtful(piece):
                    yield piece, kind, kind is not None


def _label(text: str, before: str, line_start: int) -> PhoneKind | None:
    """Name the kind by the nearest word before, in the same line or a short line above."""
    labels = list(LABEL.finditer(before))
    if not labels and len(before.strip()) <= 3:
        above = text[max(0, line_start - 40) : line_start].rstrip().rpartition("\n")[2]
        labels = (
            list(LABEL.finditer(above)) if len(above) <= 25 and not above[-1:].isdigit() else []
        )
    if not labels:
        return None
    last = labels[-1]
    # "Tel/Fax: 123" is first of all a telephone.
    is_both = (
        len(labels) > 1
        and labels[-2].lastgroup == "phone"
        and labels[-1].lastgroup == "fax"
        and len(last.string[labels[-2].end() : last.start()].strip(" ./&+-and")) == 0
    )
    match "phone" if is_both else last.lastgroup:
        case "fax":
            return "fax"
        case "mobile":
            return "mobile"
        case _:
            return "phone"


def _stands_alone(text: str, start: int, end: int, before: str, kind: PhoneKind | None) -> bool:
    last = text[start - 1] if start else " "
    following = text[end] if end < len(text) else " "
    if last in "@/=&%_$€£~" or (last.isalnum() and not kind):
        return False
    if following in "%€$£@_" or (
        following.isalpha()
        and not text[end : end + 3].lower().startswith(("x", "ext", "fax", "tel"))
    ):
        is_plain = kind is not None or _NANP.fullmatch(text[start:end]) is not None
        return is_plain and following not in "%€$£@_"
    tail = before[-40:]
    return not OTHER_NUMBER.search(tail) or NUMBER_OF_PHONE.search(tail) is not None


def _is_doubtful(piece: str) -> bool:
    """Tell a number that needs a word beside it: bare digits, dates and the like."""
    piece = piece.strip()
    return (piece.isdigit() and not piece.startswith("0")) or NOT_A_PHONE.fullmatch(
        piece
    ) is not None


def _split(run: str, regions: tuple[str, ...]) -> Iterator[str]:
    """Cut a run of digits into numbers: as a whole if that is one, else at likely borders."""
    pieces = [run.strip(" ./-\t")]
    for pattern in _PIECES:
        pieces = [
            part
            for piece in pieces
            for part in ([piece] if _fits(piece, regions) else pattern.split(piece))
        ]
    if not any(_fits(piece, regions) for piece in pieces) and (inner := _NANP.search(run)):
        # A postcode or a count stands before the number.
        pieces = [inner.group()]
    for piece in pieces:
        if sum(character.isdigit() for character in piece) >= 6:
            yield piece


def _fits(piece: str, regions: tuple[str, ...]) -> bool:
    return parse_phone(squeeze(piece, 60), regions) is not None
