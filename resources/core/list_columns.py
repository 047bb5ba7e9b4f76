"""Decide what the columns of a list mean: which holds the domains, the name, the country.

Lists come from spreadsheets, CRMs and text editors; nobody should have to rename a column first.
Pure: given the first rows, it answers. Reading them is `resources/adapters/list_reader.py`;
whether a value really is a domain is `resources/core/domains.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# In order of preference: a domain is worth more than a page, a page more than a mail host.
DOMAIN_ALIASES = _words(
    "domain domains companydomain domainname websitedomain primarydomain webdomain rootdomain "
    "website websites companywebsite websiteurl websiteaddress url urls companyurl homepage "
    "homepageurl web webaddress webpage webseite weburl site siteweb sitioweb sitoweb www "
    "host hosts hostname email emails emailaddress mail mailaddress"
)
NAME_ALIASES = _words(
    "companyname company name organisation organization organisationname organizationname firma "
    "firmenname legalname businessname business account accountname unternehmen"
)
COUNTRY_ALIASES = _words(
    "countrycode country countryiso isocountry hqcountry companycountry nation land"
)
_ALL_ALIASES = frozenset((*DOMAIN_ALIASES, *NAME_ALIASES, *COUNTRY_ALIASES))
_PUNCTUATION = re.compile(r"[\s_\-.:/#*\"]+")

# Looks, not truth: something, a dot, and a last part that does not begin with a digit.
_DOMAIN_LIKE = re.compile(
    r"(?:[a-z][a-z0-9+.\-]*:)?(?://)?(?P<user>[^\s/@]+@)?[^\s/@:]+[.\u3002\uff0e\uff61]"
    r"[^\s/@:.\d,;][^\s/@:.]+\.?(?::\d+)?(?:[/?#\\].*)?",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST_LOOKED_AT = 300
_LEAST_SHARE = 0.3

# Names as lists spell them, with the ISO 3166 code; not complete, an unknown one is no hint.
_COUNTRY_NAMES = """
AE united arab emirates|uae;AR argentina;AT austria;AU australia;BD bangladesh;BE belgium
BG bulgaria;BR brazil;CA canada;CH switzerland;CL chile;CN china|people's republic of china
CO colombia;CR costa rica;CY cyprus;CZ czech republic|czechia;DE germany;DK denmark;EC ecuador
EE estonia;EG egypt;ES spain;FI finland;FR france;GB united kingdom|great britain|england|scotland
GB wales|northern ireland|u.k.;GR greece;HK hong kong;HR croatia;HU hungary;ID indonesia
IE ireland|republic of ireland;IL israel;IN india;IR iran;IS iceland;IT italy;JP japan;KE kenya
KR south korea|korea|republic of korea;KZ kazakhstan;LI liechtenstein;LK sri lanka;LT lithuania
LU luxembourg;LV latvia;MA morocco;MC monaco;MT malta;MX mexico;MY malaysia;NG nigeria
NL netherlands|the netherlands|holland;NO norway;NZ new zealand;PE peru;PH philippines
PK pakistan;PL poland;PT portugal;RO romania;RS serbia;RU russia|russian federation
SA saudi arabia;SE sweden;SG singapore;SI slovenia;SK slovakia;TH thailand;TN tunisia
TR turkey|turkiye|t\u00fcrkiye;TW taiwan;UA ukraine;US united states|united states of america|usa
US u.s.|u.s.a.|america;UY uruguay;VE venezuela;VN vietnam|viet nam;ZA south africa
"""
_CODE_BY_COUNTRY = {
    name: entry[:2]
    for entry in _COUNTRY_NAMES.strip().replace("\n", ";").split(";")
    for name in entry[3:].split("|")
}
_CODE_CORRECTIONS = {"UK": "GB", "EL": "GR"}  # in wide use, and in ISO 3166 something else


class NoDomainColumnError(ValueError):
    """No column can be taken for the domains; `columns` are the ones there are."""

    def __init__(self, columns: tuple[str, ...], wanted: str | None) -> None:
        super().__init__(f"none of {columns}")
        self.columns = columns
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """What the columns of a list are called, and which one holds the domains."""

    columns: tuple[str, ...]
    domain_index: int
    has_header: bool


def choose_layout(
    sample: Sequence[Sequence[str]], *, wanted: str | None, is_plain: bool, is_named: bool = False
) -> ColumnLayout:
    """Choose the column of the domains from the first rows of a list.

    Args:
        sample: The first rows, at least one, about a hundred; a header may be the first.
        wanted: The column somebody named, in any case; columns without a header are called
            `column_1`, `column_2` and so on, or just `1`, `2`.
        is_plain: The list is a text with one value a line. Its first line is a header only if it
            is a known column name or `wanted`: an odd first value must not get lost as a header.
        is_named: The first row surely is a header, whatever it looks like.

    Raises:
        NoDomainColumnError: `wanted` is not there, or nothing looks like a domain.
    """
    first = [cell.strip() for cell in sample[0]]
    named = _index_of(wanted, first) if wanted is not None else None
    has_header = is_named or named is not None or _is_header(first, is_plain=is_plain)
    width = max(len(row) for row in sample)
    columns = _column_names(first if has_header else [], len(first) if has_header else width)
    if wanted is not None:
        if named is None:
            named = _index_of(wanted, [*columns, *_positions(columns, has_header=has_header)])
        if named is None:
            raise NoDomainColumnError(columns, wanted)
        return ColumnLayout(columns, named % len(columns), has_header)  # positions come second
    scores = _scores(sample[1:] if has_header else sample, len(columns))
    known = _known_columns(columns) if has_header else []
    if filled := [index for index in known if scores[index] > 0]:
        return ColumnLayout(columns, filled[0], has_header)
    best = max(range(len(columns)), key=scores.__getitem__)
    if scores[best] >= _LEAST_SHARE or (is_plain and scores[best] > 0):
        return ColumnLayout(columns, best, has_header)
    if known:  # its values will all be rejected, each with its reason
        return ColumnLayout(columns, known[0], has_header)
    raise NoDomainColumnError(columns, None)


def looks_like_domain(cell: str) -> float:
    """Return 1.0 for what looks like a domain or URL, 0.5 for an e-mail address, 0.0 else."""
    match = _DOMAIN_LIKE.fullmatch(cell.strip(" \t\r\n\"'<>")[:_LONGEST_LOOKED_AT])
    if match is None:
        return 0.0
    return 0.5 if match["user"] else 1.0


def is_known_column(name: str) -> bool:
    """Tell whether a header cell is a column name this module knows."""
    return _canonical(name) in _ALL_ALIASES


def hints(attributes: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the company's name and country as the list gives them.

    Providers ask for them to tell namesakes apart, so a doubtful country is better none.

    Returns:
        The name, and the country as ISO 3166-1 alpha-2 code; None for what is not there.

    >>> hints({"company": "Acme", "land": "germany"})
    ('Acme', 'DE')
    """
    by_name = {_canonical(name): value.strip() for name, value in attributes.items()}
    name = next((by_name[alias] for alias in NAME_ALIASES if by_name.get(alias)), None)
    country = next((by_name[alias] for alias in COUNTRY_ALIASES if by_name.get(alias)), None)
    return name, _country_code(country) if country else None


def _country_code(text: str) -> str | None:
    if len(text) == len("DE") and text.isascii() and text.isalpha():
        return _CODE_CORRECTIONS.get(text.upper(), text.upper())
    return _CODE_BY_COUNTRY.get(" ".join(text.lower().split()))


@lru_cache(maxsize=1_024)  # a list has few columns and many rows
def _canonical(name: str) -> str:
    return _PUNCTUATION.sub("", name.lower())


def _index_of(wanted: str, names: Sequence[str]) -> int | None:
    """Find a column by its name in any case, then by its name without punctuation."""
    for key in (str.lower, _canonical):
        target = key(wanted.strip())
        for index, name in enumerate(names):
            if target and key(name) == target:
                return index
    return None


def _positions(columns: Sequence[str], *, has_header: bool) -> list[str]:
    return [] if has_header else [str(index + 1) for index in range(len(columns))]


def _is_header(first: Sequence[str], *, is_plain: bool) -> bool:
    if any(is_known_column(cell) for cell in first):
        return True
    return not is_plain and not any(looks_like_domain(cell) for cell in first)


def _column_names(header: Sequence[str], width: int) -> tuple[str, ...]:
    """Name every column once: empty ones by their position, a second `x` becomes `x_2`."""
    names: list[str] = []
    taken: set[str] = set()
    # Counted on for each name: a file may have a hundred thousand columns of one name.
    repeats: dict[str, int] = {}
    for index in range(width):
        name = header[index][:100] if index < len(header) else ""
        name = base = name or f"column_{index + 1}"
        while name.lower() in taken:
            repeat = repeats.get(base.lower(), 2)
            repeats[base.lower()] = repeat + 1
            name = f"{base}_{repeat}"
        taken.add(name.lower())
        names.append(name)
    return tuple(names)


def _scores(rows: Sequence[Sequence[str]], width: int) -> list[float]:
    """Return for each column how much its non-empty cells look like domains, 0 to 1."""
    scores = []
    for index in range(width):
        cells = [row[index] for row in rows if index < len(row) and row[index].strip()]
        scores.append(sum(map(looks_like_domain, cells)) / len(cells) if cells else 0.0)
    return scores


def _known_columns(columns: Sequence[str]) -> list[int]:
    """Return the columns whose names say that they hold domains, the best first."""
    by_name: dict[str, int] = {}
    for index, name in enumerate(columns):
        by_name.setdefault(_canonical(name), index)
    return [by_name[alias] for alias in DOMAIN_ALIASES if alias in by_name]
