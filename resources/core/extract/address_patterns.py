"""Data: how addresses end and how streets look, by country.

A `Closing` is the line with postcode and city. All repetitions are bounded.
"""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Closing:
    """How an address ends in some countries.

    `pattern` is tried where as many digits begin as `digits` says (0: where a letter and a digit
    stand), and `before` must match right before it. `needs_street` where the form alone proves
    little.
    """

    countries: tuple[str, ...]
    pattern: re.Pattern[str]
    before: re.Pattern[str] | None = None
    needs_street: bool = True
    digits: tuple[int, ...] = (5,)


# Both begin with a plain character class, which the engine finds fast; what stands before is
# looked at afterwards.
DIGITS: Final = re.compile(r"\d{2,}")
LETTERED: Final = re.compile(r"[A-Z]\d[A-Z\d]{0,2}\s?-?\s?\d[A-Z]")
_TOWN: Final = r"(?:^|[\s,])(?P<city>[A-ZÀ-Ý][^\n,;:|()\d]{1,34}?)"
_CITY_AFTER: Final = r"(?P<city>[^\W\d_a-zà-ÿ][^\n,;:|()\d–•·]{1,34})"
_US_STATES: Final = (
    "A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|PR|RI|S[CD]|"
    "T[NX]|UT|V[TA]|W[AVIY]|Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|"
    "Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|"
    "Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|"
    "New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|"
    "Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|"
    "Washington|West Virginia|Wisconsin|Wyoming"
)
_US_SPOKEN: Final = (
    "A[krz]|C[ao]|Ct|D[ce]|Fl|Ga|I[al]|K[sy]|M[dint]|N[chjmvy]|Pa|Ri|S[cd]|T[nx]|Ut|V[at]|W[aivy]|"
    "Ariz|Calif|Colo|Conn|Fla|Ill|Ind|Mass|Mich|Minn|Penn|Tenn|Tex|Wash|Wis"
)
"""States as many people write them; those that are words (In, Or, Me, La, ...) are left out."""
_CA_PROVINCES: Final = (
    "AB|BC|MB|NB|NL|NS|NT|NU|ON|PE|QC|SK|YT|Alberta|British Columbia|Manitoba|New Brunswick|"
    "Nova Scotia|Ontario|Quebec|Québec|Saskatchewan"
)
_AU_STATES: Final = "NSW|VIC|QLD|SA|WA|TAS|ACT|NT|Victoria|Queensland|Tasmania|Vic|Qld"
CLOSINGS: Final = (
    Closing(
        ("US",),
        re.compile(r"(?P<postcode>\d{5}(?:-\d{4})?)\b"),
        re.compile(
            rf"{_TOWN}[,\s]{{1,3}}(?P<region>{_US_STATES}|{_US_SPOKEN})\.?,?\s{{1,3}}\Z", re.M
        ),
        needs_street=False,
    ),
    Closing(
        ("AU",),
        re.compile(r"(?P<postcode>\d{4})\b"),
        re.compile(rf"{_TOWN}[,\s]{{1,3}}(?P<region>{_AU_STATES})\.?[,\s]{{1,3}}\Z", re.M),
        digits=(4,),
    ),
    Closing(
        ("CA",),
        re.compile(r"(?P<postcode>[A-Z]\d[A-Z][\s-]?\d[A-Z]\d)\b"),
        re.compile(
            rf"{_TOWN}[,\s(]{{1,3}}(?P<region>{_CA_PROVINCES})\)?\.?[,\s]{{1,4}}(?:Canada[,\s]{{1,2}})?\Z",
            re.M,
        ),
        needs_street=False,
        digits=(0,),
    ),
    Closing(
        ("GB",),
        re.compile(r"(?P<postcode>[A-Z]{1,2}\d[A-Z\d]?\s{0,2}\d[ABD-HJLNP-UW-Z]{2})\b"),
        digits=(0,),
    ),
    Closing(
        ("NL",),
        re.compile(rf"(?P<postcode>[1-9]\d{{3}}\s?[A-Z]{{2}})[ ,\n]{{1,3}}{_CITY_AFTER}"),
        digits=(4,),
    ),
    Closing(
        ("PL",), re.compile(rf"(?P<postcode>\d\d-\d{{3}})[ \n]{{1,2}}{_CITY_AFTER}"), digits=(2,)
    ),
    Closing(
        ("PT",), re.compile(rf"(?P<postcode>\d{{4}}-\d{{3}})[ \n]{{1,2}}{_CITY_AFTER}"), digits=(4,)
    ),
    Closing(
        ("SE",), re.compile(rf"(?P<postcode>\d{{3}} ?\d\d)[ \n]{{1,2}}{_CITY_AFTER}"), digits=(3, 5)
    ),
    Closing(
        ("DE", "FR", "ES", "IT"),
        re.compile(rf"(?P<postcode>\d{{5}})[ \n]{{1,2}}[-–]?\s?{_CITY_AFTER}"),
    ),
    Closing(
        ("AT", "CH", "BE", "DK"),
        re.compile(rf"(?P<postcode>[1-9]\d{{3}})[ \n]{{1,2}}{_CITY_AFTER}"),
        digits=(4,),
    ),
)

_NUMBER: Final = r"\d{1,4}(?:\s?[-–/+]\s?\d{1,4})?(?:\s?[a-zA-Z]\b)?"
_ENGLISH: Final = re.compile(
    r"\b(?:\d{1,6}(?:-?[A-Za-z]\b)?(?:\s?[-–/&]\s?\d{1,6})?,?\s"
    r"(?:[^\n,\d|:;()]|\d{1,3}(?:st|nd|rd|th)\b|\d{1,3}(?=\s)){1,42}?\b"
    r"(?:Street|St|Avenue|Ave|Av|Road|Rd|Drive|Dr|Lane|Ln|Boulevard|Blvd|Court|Ct|Place|Pl|Way|"
    r"Square|Sq|Parkway|Pkwy|Highway|Hwy|Hwy\.?\s\d{1,4}|Circle|Cir|Terrace|Trail|Plaza|Crescent|"
    r"Cres|Close|Gardens|Grove|Hill|Row|Mews|Park|Parade|Pde|Quay|Wharf|Walk|Broadway|Pike|Loop|"
    r"Center|Centre|Route \d{1,4}|Rt\.? \d{1,4}|House|Expressway|Freeway|Fwy|Turnpike|Estate|Yard|"
    r"Green|Gate)\b"
    r"(?:\.?,?\s(?:[NS]\.?[EW]|[NSEW]|North|South|East|West)\b)?\.?"
    r"|P\.?\s?O\.?\s?Box\s\d{1,7})"
    r"(?:,?\s(?:Suite|Ste|Unit|Apt|Floor|Fl|Room|Rm|Building|Bldg|#)\.?\s?#?\s?[\w-]{1,8})?",
    re.I,
)
# In Britain a house or a park has a name instead of a number.
_BRITISH: Final = re.compile(
    rf"{_ENGLISH.pattern}|\b(?:Units?|Suite|Plot)\s[\w-]{{1,6}}[^\n,\d]{{0,40}}|"
    r"(?<![\w'])[A-Z][^\n,;:|\d]{2,34}?\b(?:House|Road|Street|Lane|Avenue|Drive|Park|Works|Estate|Way|Court|Square)\b",
    re.I,
)
_GERMAN_ENDS: Final = (
    "straße|strasse|str\\.|weg|platz|allee|gasse|ring|damm|ufer|Straße|Strasse|Str\\.|Weg|Platz|Allee|"
    "Ring|Damm|Ufer|markt|Markt|hof|chaussee|stieg|berg|graben|kai"
)
_GERMAN: Final = re.compile(
    rf"(?<![\w])[A-ZÄÖÜ][^\n,;:|\d]{{0,40}}?(?:{_GERMAN_ENDS})\s{{0,2}}{_NUMBER}"
)
_FRENCH: Final = re.compile(
    rf"(?:\b{_NUMBER},?\s(?:bis\s|ter\s)?)?\b(?:rue|avenue|av\.|boulevard|bd|place|chemin|allée|impasse|quai|"
    r"route|cours|square|passage|zone|za|zi)\s[^\n,;:|\d]{2,40}",
    re.I,
)
_SPANISH: Final = re.compile(
    r"(?:\b(?:calle|avda\.?|avenida|plaza|paseo|carretera|ctra\.?|ronda|camino|polígono|pol\.)|\bC/)\s?"
    r"[^\n,;:|\d]{2,40},?\s?(?:n[ºo°]?\.?\s?)?\d{0,4}",
    re.I,
)
_ITALIAN: Final = re.compile(
    r"\b(?:via|viale|piazza|corso|largo|vicolo|strada|piazzale|località|loc\.)\s[^\n,;:|\d]{2,40},?\s?"
    r"(?:n[°.]?\s?)?\d{0,4}(?:/\w{1,3})?",
    re.I,
)
_DUTCH_ENDS: Final = (
    "straat|laan|weg|plein|kade|gracht|dijk|dreef|singel|steenweg|baan|hof|park|lei"
)
_DUTCH: Final = re.compile(rf"\b[A-Z][^\n,;:|\d]{{0,30}}?(?:{_DUTCH_ENDS})\s{_NUMBER}")
_POLISH: Final = re.compile(
    r"\b(?:ul\.|al\.|pl\.|os\.|aleja|plac)\s?[^\n,;:|]{2,40}?\d{1,4}\w?(?:/\d{1,4})?", re.I
)
_PORTUGUESE: Final = re.compile(
    r"\b(?:rua|avenida|av\.|praça|largo|travessa|estrada|r\.)\s[^\n;:|\d]{2,40},?\s?(?:n[ºo°]?\.?\s?)?\d{0,4}",
    re.I,
)
_NORDIC_ENDS: Final = "gatan|vägen|gata|väg|gränd|torget|plan|vej|gade|allé|plads|vei|veien"
_NORDIC: Final = re.compile(rf"\b[A-ZÅÄÖÆØ][^\n,;:|\d]{{0,30}}?(?:{_NORDIC_ENDS})\s{_NUMBER}")
NUMBERED: Final = re.compile(rf"(?:{_GERMAN_ENDS}|{_DUTCH_ENDS}|{_NORDIC_ENDS})\s{{0,2}}\d")
"""Without this none of the patterns that begin with a name and end with a number can match."""
NEED_NUMBER: Final = frozenset((_GERMAN, _DUTCH, _NORDIC))

PLAIN_STREET: Final = re.compile(
    r"(?:^|[\n:|◊•·]\s{0,3})(?P<street>\d{1,5}(?:\s[NSEW]\.?|\s(?:North|South|East|West))?"
    r"(?:\s[A-Z][\w.'-]{1,20}){1,3}"
    r"(?:,?\s(?:Suite|Ste|Unit|Apt|Floor|Room|#)\.?\s?#?\s?[\w-]{1,8})?)[,\s]{0,3}\Z"
)
"""In North America a street may lack its kind: the line or part right before the town."""

STREETS: Final = {
    "US": _ENGLISH, "CA": _ENGLISH, "AU": _ENGLISH, "GB": _BRITISH, "DE": _GERMAN, "AT": _GERMAN,
    "CH": _GERMAN, "FR": _FRENCH, "ES": _SPANISH, "IT": _ITALIAN, "NL": _DUTCH, "BE": _DUTCH,
    "PL": _POLISH, "PT": _PORTUGUESE, "SE": _NORDIC, "DK": _NORDIC,
}  # fmt: skip
