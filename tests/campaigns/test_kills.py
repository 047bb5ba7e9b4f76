"""The short form of the kill campaign."""

from __future__ import annotations

from tests.campaigns.kills import campaign, report


def test_twenty_kills_lose_nothing_and_buy_nothing_twice() -> None:
    outcome = campaign(kills=20, seed=11, domains=240)
    assert outcome.problems == [], report(outcome, "in short")
    assert outcome.kills.total() == 20
    assert outcome.kills["COMPANY_ENRICHMENT"]
    assert outcome.kills["PAGE_SCRAPING"]
