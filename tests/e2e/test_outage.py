"""A provider goes away in the middle of `pipeline run --wait`, and comes back: ten minutes' outage
in a time lapse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from resources.adapters.ledger.breakers import BreakerChange
from resources.adapters.ledger.schema import work
from resources.core.breaker import BreakerPolicy, Status
from resources.core.models import Phase
from tests.support.dagster_view import instance_of
from tests.support.ledgers import open_at, sqlite_url
from tests.support.processes import Result, pipeline, sandbox, started_pipeline, write_list
from tests.support.recorder import PDL, Exchange, recorder

DOMAINS = [f"company-{number:03}.example" for number in range(600)]
TIMEOUT_S = 1.0
SETTINGS = {
    "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": f"{TIMEOUT_S:g}",
    "PIPELINE_RETRY_BACKOFF_BASE": "0.3",
    "PIPELINE_FETCH__READ_TIMEOUT": "1",
}
OPENINGS = 3
# A call about one company that is not known there answers 404.
ANSWERED = {200, 404}
# So slow that the provider goes away with most domains still to be asked for.
SLOW = '[[fault]]\nkind = "latency"\napi = "pdl"\nseconds = 0.5\n'
OUTAGE = '[[fault]]\nkind = "outage"\napi = "pdl"\nhang_s = 5\n'


@dataclass(frozen=True)
class Story:
    """What happened.

    Args:
        run: How the run ended.
        asked: Every call that reached the provider.
        changes: Of the provider's breaker, oldest first.
        rounds: Of each domain in the enrichment.
        during: What `status` said while the provider was away, as JSON and for a person.
        log: All messages of the runs' logs in Dagster.
    """

    run: Result
    asked: Sequence[Exchange]
    changes: Sequence[BreakerChange]
    rounds: dict[str, int]
    during: tuple[Any, str]
    log: str


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def _messages(home: Path) -> str:
    with instance_of(home) as instance:
        runs = instance.get_runs()
        return "\n".join(
            entry.user_message for run in runs for entry in instance.all_logs(run.run_id)
        )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("outage")
    source = write_list(folder / "list.csv", DOMAINS)
    home = folder / "home"
    with sandbox() as internet, recorder(internet) as record:
        internet.set_faults(SLOW)
        arguments = ("run", str(source), "--sandbox-url", record.url, "--json", "--wait", "3m")
        arguments += ("--only", Phase.COMPANY_ENRICHMENT)
        with started_pipeline(*arguments, home=home, **SETTINGS) as process:
            _wait_until(lambda: sum(one.status == 200 for one in record.to(PDL)) >= 2)
            internet.set_faults(OUTAGE)
            ledger = open_at(sqlite_url(home / "sandbox"))

            def openings() -> int:
                changes = ledger.breakers.changes(prefix="pdl", limit=100)
                return sum(change.new is Status.OPEN for change in changes)

            _wait_until(lambda: openings() >= 1)
            said = [pipeline("status", "--sandbox", *more, home=home) for more in ((), ("--json",))]
            _wait_until(lambda: openings() >= OPENINGS)
            internet.set_faults("preset=none")
            out, err = process.communicate(timeout=150)
        with ledger.database.read() as connection:
            query = select(work.c.domain, work.c.rounds)
            found = connection.execute(query.where(work.c.phase == Phase.COMPANY_ENRICHMENT))
            rounds = {row.domain: row.rounds for row in found}
        yield Story(
            Result(process.returncode, out, err),
            record.to(PDL),
            ledger.breakers.changes(prefix="pdl", limit=100)[::-1],
            rounds,
            (said[1].json, said[0].out),
            _messages(home / "sandbox"),
        )
        ledger.close()


def test_the_run_ends_by_itself_with_everything_settled(story: Story) -> None:
    assert story.run.code == 0, story.run.err
    enrichment = story.run.json["phases"][Phase.COMPANY_ENRICHMENT]
    assert enrichment["quarantined"] == enrichment["waiting"] == enrichment["pending"] == 0
    assert enrichment["succeeded"] + enrichment["not_found"] == len(DOMAINS)


def test_each_cool_down_sends_one_call_at_most_and_none_too_early(story: Story) -> None:
    opened = [change.at for change in story.changes if change.new is Status.OPEN]
    closed = [change.at for change in story.changes if change.new is Status.CLOSED]
    assert len(opened) >= OPENINGS
    assert len(closed) == 1
    policy = BreakerPolicy(timeout_s=TIMEOUT_S)
    for number, (start, end) in enumerate(zip(opened, [*opened[1:], *closed], strict=True)):
        sent = [call for call in story.asked if start <= call.at < end]
        assert len(sent) == 1, (number, start, end, sent)
        assert sent[0].at >= start + policy.wait_s(number + 1)
        assert len(sent[0].domains) == 1, "a call to try it puts one domain at risk, not a hundred"


def test_a_call_that_was_not_let_out_uses_up_no_round(story: Story) -> None:
    failed = Counter(
        domain for call in story.asked if call.status not in ANSWERED for domain in call.domains
    )
    assert set(story.rounds) == set(DOMAINS)
    assert all(rounds <= failed[domain] for domain, rounds in story.rounds.items())
    # Otherwise this says nothing: these were due all the time and were not let out.
    answered_at = {
        domain: call.at
        for call in story.asked
        if call.status in ANSWERED
        for domain in call.domains
    }
    back_at = story.changes[-2].at
    held_back = [d for d in DOMAINS if failed[d] == 0 and answered_at[d] > back_at]
    assert len(held_back) >= 50
    assert all(story.rounds[domain] == 0 for domain in held_back)


def test_nothing_is_bought_twice(story: Story) -> None:
    answered = Counter(
        domain for call in story.asked if call.status in ANSWERED for domain in call.domains
    )
    assert set(answered.values()) == {1}


def test_each_change_is_in_the_ledger_with_time_and_reason(story: Story) -> None:
    times = [change.at for change in story.changes]
    assert times == sorted(times)
    assert all(change.reason for change in story.changes)
    assert "calls failed in a row" in story.changes[0].reason
    assert story.changes[-1].reason == "a probe succeeded"


def test_status_says_that_calls_are_paused_and_since_when(story: Story) -> None:
    found, shown = story.during
    (paused,) = found["breakers"]["providers"]
    assert paused["endpoint"] == "pdl"
    assert paused["status"] in {"open", "half_open"}
    assert paused["since"] is not None
    assert found["breakers"]["changes"][-1]["new"] == "open"
    assert "pdl" in shown
    assert "Breaker" in shown
    assert "so far" in shown


def test_the_runs_log_in_dagster_tells_it(story: Story) -> None:
    assert "Calls to pdl are paused until" in story.log
    assert "pdl answers again" in story.log
