"""The campaign's short form: twenty kills over a short list."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.campaigns.kills import Moment, draw_moment, run
from tests.campaigns.report import as_markdown

KILLS = 20


@pytest.mark.slow
def test_twenty_kills_leave_what_a_run_without_kills_leaves(tmp_path: Path) -> None:
    campaign = run(KILLS, seed=7, domains=40, folder=tmp_path)
    report = as_markdown(campaign, "a test")
    assert [check for check in campaign.checks if not check.is_passed] == [], report
    assert len(campaign.kills) == KILLS
    in_work = [kill for kill in campaign.kills if kill.phase.isupper()]
    assert len(in_work) > KILLS / 2, report
    assert {"COMPANY_ENRICHMENT", "PAGE_SCRAPING"} < {kill.phase for kill in in_work}, report


def test_moments_are_seeded_and_spread_over_the_work_that_is_left() -> None:
    def draw(left: int) -> list[Moment]:
        random = Random(7)
        return [draw_moment(random, left, 100) for _ in range(200)]

    assert draw(1000) == draw(1000)
    counts = [moment.settled for moment in draw(1000) if moment.settled is not None]
    assert 6 < sum(counts) / len(counts) < 9
    assert all(moment.is_startup for moment in draw(0))
