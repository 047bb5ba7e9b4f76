"""The words a site uses, by language, and the industries under all their names.

Texts are in `data/`, so that a translation can be mended without touching code.
"""

import csv
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sandbox.truth import Industry

PAGES = ("about", "contact", "team", "legal", "pricing", "products", "news")


@dataclass(frozen=True, slots=True)
class Wording:
    """One language's texts; lists hold variants."""

    street: list[str]
    mailbox: list[str]
    first: list[str]
    last: list[str]
    roles: list[str]
    hero: list[str]
    summary: list[str]
    about_text: list[str]
    contact_text: list[str]
    team_text: list[str]
    products_text: list[str]
    pricing_text: list[str]
    news_title: list[str]
    news_text: list[str]
    words: dict[str, str]
    labels: dict[str, list[str]]
    paths: dict[str, list[str]]


def _data(name: str) -> str:
    return resources.files("sandbox").joinpath("data", name).read_text(encoding="utf-8")


@cache
def _wordings() -> dict[str, Wording]:
    wordings = {}
    for language, entries in tomllib.loads(_data("wording.toml")).items():
        labels = {page: entries.pop(page) for page in ("home", *PAGES)}
        paths = {page: entries.pop(f"path_{page}") for page in PAGES}
        wordings[language] = Wording(**entries, labels=labels, paths=paths)
    return wordings


def wording_of(language: str) -> Wording:
    """Return the texts of one of the six languages."""
    return _wordings()[language]


@cache
def industries(language: str) -> tuple[Industry, ...]:
    """Return all industries, each with its name in that language."""
    rows = csv.DictReader(_data("industries.tsv").splitlines(), delimiter="\t")
    return tuple(
        Industry(row["pdl"], row["label"], row["naics"], row["sector"], row[language])
        for row in rows
    )
