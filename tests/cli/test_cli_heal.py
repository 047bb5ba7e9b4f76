"""`pipeline heal`: without a daemon, people are told all the same."""

from __future__ import annotations

import time
from pathlib import Path

from resources.adapters.ledger.requests import Launch
from resources.core.config import load_settings
from resources.core.models import Phase
from resources.core.recovery import MOST_FRUITLESS_RUNS
from resources.phase_run import CODE_VERSIONS
from resources.platform import Platform
from tests.support.ledgers import add_list
from tests.support.webhook import webhook

from .conftest import Pipeline

PHASE = Phase.PAGE_SCRAPING


def test_what_healing_gives_up_is_told_by_the_command_as_by_the_sensor(
    pipeline: Pipeline, home: Path
) -> None:
    with Platform.opened(load_settings(home=home)) as platform:
        ledger, now = platform.ledger, time.time()
        add_list(ledger, "a", ["one.example"], batch_size=1, now=now)
        ledger.requests.ask(["a-00001"], [PHASE], scope="scope", now=now)
        progress = ledger.work.tallies(PHASE, ["a-00001"])["a-00001"].progress
        launch = Launch("a-00001", PHASE, MOST_FRUITLESS_RUNS, progress, CODE_VERSIONS[PHASE])
        ledger.requests.note_launches([launch], now)
    with webhook() as taker:
        for _ in range(2):
            answer = pipeline("heal", env={"PIPELINE_ALERT_URLS": taker.url()})
            assert answer.code == 1, (answer.out, answer.err)
    (title,) = taker.titles
    assert "automatic runs bring nothing" in title
