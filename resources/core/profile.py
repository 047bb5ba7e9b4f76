"""Merge what the sources say about a company into one profile, field by field, with evidence.

Deterministic: the same facts in any order give the same profile. What a field is, and whom to
trust for it, is `profile_rules.RULES`; where facts come from is `site_facts` and the providers; how
a profile is written down is `profile_json`.

How a value wins, in this order:

1. It fits the address the other fields have (address fields only, see `_out_of_place`).
2. It is not weak: its confidence reaches `WEAK_BELOW`, by itself or with others that agree.
3. Its best source stands first in the field's order of trust.
4. Its confidence is higher; then it was seen later; then it comes first in the alphabet.

Confidence of a value that several sources give: 1 - (1 - a)(1 - b)..., over the sources that agree,
each with its best fact (so ten pages of one site count once), at most `MOST_CONFIDENCE`. It takes
them as independent, which they are not quite, hence the ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

from resources.core.models import CompanyProfile, Fact, FieldValue
from resources.core.profile_rules import RULES, FieldRule

__all__ = ["ADDRESS_FIELDS", "MAX_OTHERS", "MOST_CONFIDENCE", "RULES", "WEAK_BELOW", "merge"]

WEAK_BELOW: Final = 0.5
MOST_CONFIDENCE: Final = 0.99
DAY_S: Final = 86_400.0
MAX_OTHERS: Final = 20
ADDRESS_FIELDS: Final = ("street", "postcode", "city", "region", "country")


@dataclass(frozen=True, slots=True)
class _Claim:
    """One value of a field with all facts that give it, the best of them first."""

    facts: tuple[Fact, ...]
    confidence: float
    rank: tuple[Any, ...]

    @property
    def best(self) -> Fact:
        return self.facts[0]


def merge(domain: str, facts: Sequence[Fact], missing: Mapping[str, str]) -> CompanyProfile:
    """Merge facts into a profile.

    A list field's value is the tuple of its entries, best first. Its source, URL, time and
    confidence are those of the first entry, and `others` holds the evidence of every entry in the
    same order, then the entries that found no room. For the other fields `others` are the values
    that lost.

    Args:
        domain: Registrable domain.
        facts: All facts of all sources in any order; those of unknown fields, and values that are
            none (a telephone number without digits), are left out.
        missing: Phase to a sentence, handed through.
    """
    by_field: dict[str, list[Fact]] = {}
    for fact in facts:
        rule = RULES.get(fact.field)
        value = rule.normalise(fact.value) if rule else None
        if value is not None:
            by_field.setdefault(fact.field, []).append(replace(fact, value=value))
    misplaced = _out_of_place(by_field)
    fields: dict[str, FieldValue] = {}
    for name, rule in RULES.items():
        claims = _claims(rule, by_field.get(name, ()), misplaced)
        # A country is worth having from anybody; half of another address is not.
        if claims and (name == "country" or claims[0].best not in misplaced):
            fields[name] = _merged(rule, claims)
    return CompanyProfile(domain=domain, fields=fields, missing=dict(sorted(missing.items())))


def _merged(rule: FieldRule, claims: Sequence[_Claim]) -> FieldValue:
    best, losers = claims[0], claims[1:]
    if rule.max_entries is not None:
        evidence = tuple(replace(claim.best, confidence=claim.confidence) for claim in claims)
        value: Any = tuple(fact.value for fact in evidence[: rule.max_entries])
        others = evidence[: rule.max_entries + MAX_OTHERS]
    else:
        value = best.best.value
        others = tuple(
            replace(claim.best, confidence=claim.confidence) for claim in losers[:MAX_OTHERS]
        )
    fact = best.best
    return FieldValue(value, fact.source, fact.url, fact.at, best.confidence, others)


def _claims(
    rule: FieldRule, facts: Sequence[Fact], misplaced: frozenset[Fact]
) -> tuple[_Claim, ...]:
    """Group facts by value and sort the groups, the winner first."""
    groups: dict[tuple[bool, str], list[Fact]] = {}
    for fact in facts:
        groups.setdefault((fact in misplaced, rule.key(fact.value)), []).append(fact)
    claims = [
        _claim(rule, group, is_misplaced, key) for (is_misplaced, key), group in groups.items()
    ]
    # A value may be both in place and not, from two sources: the one in place stands for it.
    by_key: dict[str, _Claim] = {}
    for claim in sorted(claims, key=lambda claim: claim.rank):
        by_key.setdefault(rule.key(claim.best.value), claim)
    return tuple(by_key.values())


def _claim(rule: FieldRule, facts: Sequence[Fact], is_misplaced: bool, key: str) -> _Claim:
    ordered = sorted(facts, key=lambda fact: _order(rule, fact))
    best_by_source: dict[str, float] = {}
    for fact in ordered:
        known = best_by_source.get(fact.source, 0.0)
        best_by_source[fact.source] = max(known, min(max(fact.confidence, 0.0), 1.0))
    doubts = sorted(1 - confidence for confidence in best_by_source.values())
    alone = max(best_by_source.values())
    confidence = round(max(alone, min(1 - prod(doubts), MOST_CONFIDENCE)), 4)
    best = ordered[0]
    trusted = rule.rank(best.source)
    rank = (is_misplaced, confidence < WEAK_BELOW, trusted, -confidence, -_day(best), key)
    return _Claim(tuple(ordered), confidence, rank)


def _order(rule: FieldRule, fact: Fact) -> tuple[Any, ...]:
    """Return the order of facts that give the same value: who speaks for it."""
    # The time of day comes last: it decides only which of two equal facts is shown.
    rank = rule.rank(fact.source)
    return (rank, -fact.confidence, -_day(fact), fact.url, str(fact.value), -fact.at)


def _day(fact: Fact) -> int:
    """When it was seen, by days: which page of one visit came first is chance, and no evidence."""
    return int(fact.at // DAY_S)


def _out_of_place(by_field: Mapping[str, Sequence[Fact]]) -> frozenset[Fact]:
    """Return address facts that belong to another address than the one that is shown.

    Without this, the street would come from the site and the city from a provider that knows an
    older seat. The anchor is the best street, else postcode, else city; its source and page give
    the address, and another source completes it only where the two agree on postcode or city and
    do not disagree on what both name.
    """
    anchor = next(
        (
            _claims(RULES[name], by_field[name], frozenset())[0].best
            for name in ("street", "postcode", "city")
            if name in by_field
        ),
        None,
    )
    if anchor is None:
        return frozenset()
    addresses: dict[tuple[str, str], dict[str, Fact]] = {}
    for name in ADDRESS_FIELDS:
        for fact in by_field.get(name, ()):
            fields = addresses.setdefault((fact.source, fact.url), {})
            held = fields.get(name)
            if held is None or _order(RULES[name], fact) < _order(RULES[name], held):
                fields[name] = fact
    shown = addresses[anchor.source, anchor.url]
    return frozenset(
        fact
        for name in ADDRESS_FIELDS
        for fact in by_field.get(name, ())
        if (fact.source, fact.url) != (anchor.source, anchor.url)
        and not _completes(addresses[fact.source, fact.url], shown)
    )


def _completes(other: Mapping[str, Fact], shown: Mapping[str, Fact]) -> bool:
    same = {
        name: RULES[name].key(other[name].value) == RULES[name].key(fact.value)
        for name, fact in shown.items()
        if name in other
    }
    if not all(same.get(name, True) for name in ("postcode", "city", "country")):
        return False
    is_only_a_country = other.keys() == {"country"}
    return is_only_a_country or bool(same.get("postcode") or same.get("city"))
