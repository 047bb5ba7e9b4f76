"""The bundled list, read without tldextract's code, says what tldextract says."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import idna
import pytest
import tldextract

from resources.adapters import suffix_list
from resources.adapters.suffix_list import (
    SuffixListMissingError,
    bundled_rules,
    parse_rules,
)
from resources.core.domains import SuffixSection

ROOT = Path(__file__).parents[2]


def _names() -> list[str]:
    """Return every rule of the list with up to three labels before it, and unknown suffixes."""
    rules = bundled_rules()
    bases = [*rules.exact, *rules.wildcard, *rules.exception, "unknown-tld", "a.unknown-tld"]
    rng = random.Random(20_250_407)
    names = []
    for base in bases:
        for depth in range(4):
            front = "".join(rng.choice(["a.", "www.", "city.", "b-c.", "1."]) for _ in range(depth))
            names.append(front + base)
    return names


# tldextract walks a tree and takes the branch of a longer rule (*.ex.futurecms.at) although the
# name ends there; by the list's algorithm *.futurecms.at matches it. 8 of 39,020 names.
TLDEXTRACT_DIFFERS = {
    "ex.futurecms.at",
    "in.futurecms.at",
    "oci.customer-oci.com",
    "ocp.customer-oci.com",
    "ocs.customer-oci.com",
    "privatelink.snowflake.app",
    "sub.wc.psl.hrsn.dev",
    "svc.firenet.ch",
}


def _is_explained(name: str) -> bool:
    """Tell whether a wildcard matches a name that is also only a stage of a longer wildcard."""
    rules = bundled_rules()
    return name in rules.wildcard and name.partition(".")[2] in rules.wildcard


def test_suffixes_agree_with_tldextract_on_every_rule() -> None:
    reference = tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )
    rules = bundled_rules()
    names = _names()
    assert len(names) > 35_000
    differing = set()
    for name in names:
        expected = reference(name).suffix
        suffix, _ = rules.suffix_of(name)
        # For the default rule tldextract says "no suffix", the list's algorithm "the last label".
        if suffix != (expected or name.rpartition(".")[2]):
            differing.add(name)
    assert {name for name in differing if not _is_explained(name)} == set()
    if tldextract.__version__ == "5.4.0":
        assert differing == TLDEXTRACT_DIFFERS


def _suffix_by_the_letter(host: str, rules: set[str]) -> str:
    """Follow the six steps of publicsuffix.org/list word by word, slowly."""
    labels = host.split(".")
    matching: list[str] = []
    for start in range(len(labels)):
        tail = labels[start:]
        for rule in (".".join(tail), ".".join(["*", *tail[1:]]), "!" + ".".join(tail)):
            matching.extend({rule} & rules)
    exceptions = [rule for rule in matching if rule.startswith("!")]
    if exceptions:
        return exceptions[0].partition(".")[2]
    prevailing = max(matching, key=lambda rule: rule.count("."), default="*")
    return ".".join(labels[-(prevailing.count(".") + 1) :])


def test_suffixes_are_those_of_the_algorithm_taken_by_the_letter() -> None:
    parsed = bundled_rules()
    rules = {
        *parsed.exact,
        *(f"*.{name}" for name in parsed.wildcard),
        *(f"!{name}" for name in parsed.exception),
    }
    differing = [
        name for name in _names() if parsed.suffix_of(name)[0] != _suffix_by_the_letter(name, rules)
    ]
    assert differing == []


def test_sections_agree_with_tldextract() -> None:
    reference = tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )
    rules = bundled_rules()
    for name in ["a.github.io", "a.co.uk", "b.uk.com", "a.b.run.app", "www.ck", "city.kobe.jp"]:
        _, section = rules.suffix_of(name)
        assert (section is SuffixSection.PRIVATE) == reference(name).is_private, name


def test_rules_in_other_scripts_are_encoded_as_idna_does() -> None:
    text = suffix_list._bundled_text()
    rules = [line.split()[0] for line in text.splitlines() if line and not line.startswith("//")]
    foreign = [rule for rule in rules if not rule.isascii()]
    assert len(foreign) > 400
    parsed = bundled_rules()
    for rule in foreign:
        assert idna.encode(rule, uts46=True).decode("ascii") in parsed.exact


def test_comments_blank_lines_and_remarks_behind_a_rule_are_no_rules() -> None:
    rules = parse_rules(
        "// note\n\ncom\n*.ck remark\n!www.ck\n   \n// ===BEGIN PRIVATE DOMAINS===\nblog.com\n"
    )
    assert rules.exact == {"com": SuffixSection.ICANN, "blog.com": SuffixSection.PRIVATE}
    assert rules.wildcard == {"ck": SuffixSection.ICANN}
    assert rules.exception == {"www.ck": SuffixSection.ICANN}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suffix_list, "_PACKAGE", "no_such_package_here")
    with pytest.raises(SuffixListMissingError, match="no_such_package_here is not installed"):
        suffix_list._bundled_text()


def test_a_moved_list_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suffix_list, "_SNAPSHOT", "elsewhere.dat")
    with pytest.raises(SuffixListMissingError, match=r"no file elsewhere\.dat"):
        suffix_list._bundled_text()


def test_normalizing_imports_nothing_heavy() -> None:
    """`pipeline normalize` answers in half a second; requests alone would take a third of it."""
    code = (
        "import sys\n"
        "from resources.adapters.suffix_list import bundled_rules\n"
        "import resources.adapters.list_reader\n"
        "bundled_rules()\n"
        "heavy = {'requests', 'tldextract', 'pandas', 'sqlalchemy', 'dagster'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
