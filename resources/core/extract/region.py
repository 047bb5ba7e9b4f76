"""Which country a page speaks from, to read its national telephone numbers."""

from collections.abc import Iterable
from typing import Final

import phonenumbers

from resources.core.countries import alpha2

_TLD_REGIONS: Final = {"uk": "GB", "su": "RU"}
# Country codes that the world uses for other things.
_WORLDWIDE_TLDS: Final = frozenset(
    """
    ac ag ai am bz cc cd cm co cx fm gg gl gs im io la ly me ms mu nu pw sc sh so st sx tk to tv
    vc vg ws cf ga gq ml tf eu
    """.split()
)
_LANGUAGE_REGIONS: Final = {
    "bg": "BG", "cs": "CZ", "da": "DK", "de": "DE", "el": "GR", "et": "EE", "fi": "FI", "fr": "FR",
    "he": "IL", "hr": "HR", "hu": "HU", "is": "IS", "it": "IT", "ja": "JP", "ko": "KR", "lt": "LT",
    "lv": "LV", "nb": "NO", "nl": "NL", "no": "NO", "pl": "PL", "ro": "RO", "sk": "SK", "sl": "SI",
    "sv": "SE", "tr": "TR", "uk": "UA", "es": "ES",
}  # fmt: skip


def phone_regions(
    country: str | None, countries: Iterable[str | None], host: str, language: str | None
) -> tuple[str, ...]:
    """Return regions, likeliest first: told, addresses, top-level domain, language.

    Args:
        country: what the caller knows; ISO code or name.
        countries: countries of the page's addresses, structured ones first.
        host: host of the page.
        language: BCP 47 tag of the page; its region counts before its language alone.

    >>> phone_regions(None, [], "www.acme.co.uk", "en-us")
    ('GB', 'US')
    """
    tag = (language or "").lower().split("-")
    guesses = [
        region_code(country),
        *(region_code(each) for each in countries),
        _tld_region(host),
        region_code(tag[-1]) if len(tag) > 1 and len(tag[-1]) == 2 else None,
        _LANGUAGE_REGIONS.get(tag[0]),
    ]
    return tuple(dict.fromkeys(each for each in guesses if each in phonenumbers.SUPPORTED_REGIONS))[
        :4
    ]


def region_code(country: str | None) -> str | None:
    """Return the ISO alpha-2 code of a country given as code or name."""
    if not country or len(country) > 60:
        return None
    code = country.strip().upper()
    if code == "UK":
        return "GB"
    return code if code in phonenumbers.SUPPORTED_REGIONS else alpha2(country)


def _tld_region(host: str) -> str | None:
    tld = host.rpartition(".")[2].lower()
    if len(tld) != 2 or tld in _WORLDWIDE_TLDS:
        return None
    return _TLD_REGIONS.get(tld, tld.upper())
