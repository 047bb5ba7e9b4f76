"""Read the Public Suffix List that tldextract brings along.

tldextract itself is not imported: it imports requests, 0.17 s that every start of the command
line would pay, to be able to download a newer list, which must not happen at run time anyway.
What the rules mean is decided in `resources/core/domains.py`.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from resources.core.domains import SuffixRules, SuffixSection

_PACKAGE = "tldextract"
_SNAPSHOT = ".tld_set_snapshot"
_PRIVATE_MARK = "===BEGIN PRIVATE DOMAINS==="


class SuffixListMissingError(RuntimeError):
    """The bundled list is not where tldextract keeps it: a broken or a changed installation."""


@cache
def bundled_rules() -> SuffixRules:
    """Return the rules of the bundled list; read once, at the first call (about 15 ms).

    Raises:
        SuffixListMissingError: tldextract is not installed, or keeps its list elsewhere.
    """
    return parse_rules(_bundled_text())


def parse_rules(text: str) -> SuffixRules:
    """Parse the list's own format (publicsuffix.org/list), names turned into punycode."""
    exact: dict[str, SuffixSection] = {}
    wildcard: dict[str, SuffixSection] = {}
    exception: dict[str, SuffixSection] = {}
    section = SuffixSection.ICANN
    for line in text.splitlines():
        if not line or line.startswith("//"):
            if _PRIVATE_MARK in line:
                section = SuffixSection.PRIVATE
            continue
        words = line.split()  # a rule ends at the first white space
        if not words:
            continue
        rule = words[0] if words[0].isascii() else _punycode(words[0])
        if rule.startswith("!"):
            exception[rule[1:]] = section
        elif rule.startswith("*."):
            wildcard[rule[2:]] = section
        else:
            exact[rule] = section
    return SuffixRules(exact=exact, wildcard=wildcard, exception=exception)


def _punycode(rule: str) -> str:
    """Encode the labels of a rule; the list holds them normalised, so no mapping is needed."""
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
        for label in rule.split(".")
    )


def _bundled_text() -> str:
    spec = importlib.util.find_spec(_PACKAGE)  # finds a package without running its code
    if spec is None or spec.origin is None:
        raise SuffixListMissingError(
            f"the package {_PACKAGE} is not installed; run `make setup` to install it"
        )
    path = Path(spec.origin).with_name(_SNAPSHOT)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SuffixListMissingError(
            f"{_PACKAGE} has no file {_SNAPSHOT} beside it; reinstall it with `make setup`"
        ) from error
