"""The optional list of domains that gives some companies their name and country.

Read once at start. Rows without a usable domain are passed over: the sandbox serves whatever it
is asked for, and what a bad row deserves is the product's business.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.mistakes import UsageMistake
from sandbox.places import country_code

_DOMAIN_COLUMNS = ("domain", "website", "url")
_NAME_COLUMNS = ("company_name", "name")


@dataclass(frozen=True, slots=True)
class Given:
    """What a list says about one domain; None where it says nothing."""

    name: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class DomainList:
    """All domains of a list, and the way back from a name to the first domain that has it."""

    by_domain: dict[str, Given] = field(default_factory=dict)
    by_name: dict[str, str] = field(default_factory=dict)


def bare_domain(text: str) -> str:
    """Return the host of a URL, host or domain as the sandbox keys it: lower case, no `www.`.

    Returns the empty string where there is no host. The sandbox has no Public Suffix List: a
    subdomain other than `www.` is a company of its own here.

    >>> bare_domain("https://WWW.Acme.example:8080/about?x=1")
    'acme.example'
    """
    host = text.strip().lower().partition("://")[2] or text.strip().lower()
    host = host.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0].rpartition("@")[2]
    host = host.partition(":")[0].strip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return ""
    stripped = host.removeprefix("www.")
    return stripped if "." in stripped else host if "." in host else ""


def read_domain_list(path: Path) -> DomainList:
    """Read a CSV or TSV file with a header.

    Raises:
        UsageMistake: the file cannot be read.

    Returns:
        What it says; nothing where no column is called domain, website or url.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace").replace("\0", "")
    except OSError as error:
        raise UsageMistake(
            f"cannot read the domain list {path}: {error.strerror}; give --domains a CSV file"
        ) from error
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter="\t" if "\t" in header else ",")
    columns = {name.strip().lower(): name for name in rows.fieldnames or () if name}
    if not any(name in columns for name in _DOMAIN_COLUMNS):
        return DomainList()  # a plain list names no companies: theirs are drawn
    return _index(rows, columns)


def _index(rows: Iterable[dict[str, str | None]], columns: dict[str, str]) -> DomainList:
    def cell(row: dict[str, str | None], names: tuple[str, ...]) -> str:
        found = (row.get(columns[name]) for name in names if name in columns)
        return next((value.strip() for value in found if value and value.strip()), "")

    listed = DomainList()
    for row in rows:
        domain = bare_domain(cell(row, _DOMAIN_COLUMNS))
        if not domain or domain in listed.by_domain:
            continue
        name = cell(row, _NAME_COLUMNS) or None
        listed.by_domain[domain] = Given(name, country_code(cell(row, ("country",))))
        if name:
            listed.by_name.setdefault(name.casefold(), domain)
    return listed
