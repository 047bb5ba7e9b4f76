"""Countries and cities, with the form that phone numbers and postcodes have there.

The tables are in `data/`; `#` stands for a digit and `@` for a letter. The phone ranges are ones
that regulators keep for fiction where there are such, and valid numbers elsewhere.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

# A domain list writes countries as people do; everything else is an ISO 3166 code or its name.
_OTHER_NAMES = {
    "USA": "US",
    "UK": "GB",
    "ENGLAND": "GB",
    "HOLLAND": "NL",
    "DEUTSCHLAND": "DE",
}

# Where a company is when nothing says so: one entry for each share of a hundred or so.
HOME_COUNTRIES = (
    ("US",) * 30 + ("GB",) * 12 + ("DE",) * 14 + ("FR",) * 10 + ("ES",) * 7 + ("IT",) * 7
    + ("NL",) * 6 + ("AT",) * 3 + ("CH",) * 3 + ("BE", "BE", "IE", "CA", "CA", "AU", "SE", "PL")
)  # fmt: skip
_TLD_COUNTRIES = {"uk": "GB", "eu": "BE", "gov": "US", "edu": "US", "mil": "US"}
# Country-code domains that everybody uses as if they meant something else.
_NOT_A_COUNTRY = frozenset({"io", "co", "tv", "me", "ai", "cc", "ws", "fm", "gg", "to", "ly", "sh"})


@dataclass(frozen=True, slots=True)
class City:
    """A city, with templates for what is printed there."""

    name: str
    region: str
    postcode: str
    phone_national: str
    phone_international: str


@dataclass(frozen=True, slots=True)
class Country:
    """A country and the language its companies write in here (the six the sandbox speaks)."""

    code: str
    name: str
    continent: str
    language: str
    cities: tuple[City, ...]


def _rows(table: str) -> Iterator[dict[str, str]]:
    text = resources.files("sandbox").joinpath("data", table).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines(), delimiter="\t")


@cache
def countries() -> dict[str, Country]:
    """Return every country by its ISO 3166 alpha-2 code."""
    cities: dict[str, list[City]] = {}
    for row in _rows("cities.tsv"):
        city = City(
            row["city"],
            row["region"],
            row["postcode"],
            row["phone_national"],
            row["phone_international"],
        )
        cities.setdefault(row["code"], []).append(city)
    return {
        row["code"]: Country(
            row["code"],
            row["country"],
            row["continent"],
            row["language"],
            tuple(cities[row["code"]]),
        )
        for row in _rows("countries.tsv")
    }


@cache
def _codes_by_name() -> dict[str, str]:
    return {country.name.upper(): code for code, country in countries().items()} | _OTHER_NAMES


def country_code(text: str) -> str | None:
    """Return the code for what a list says, or None when it is no country known here."""
    wanted = text.strip().upper()
    return wanted if wanted in countries() else _codes_by_name().get(wanted)


def country_of_tld(domain: str) -> str | None:
    """Return the country that the last label of a domain stands for, if it stands for one."""
    tld = domain.rpartition(".")[2]
    code = _TLD_COUNTRIES.get(tld, tld.upper())
    return code if code in countries() and tld not in _NOT_A_COUNTRY else None
