"""Each time limit is hit once in real runs: it is named, and all the rest is kept.

The limit on setting up a connection has its test in `tests/adapters/test_time_limits.py`: here
every connection goes to the sandbox, and where that takes none the fault is our own network's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.dagster_view import instance_of
from tests.support.processes import Result, pipeline, sandbox, write_list

# One page per site and one try per call, so that it is plain which limit comes first: a silent site
# meets the read limit, a dripping one the total, and one whose two answers (robots.txt and the home
# page) are each in time meets the limit of a domain.
CALLS = {
    "PIPELINE_FETCH__PAGES_PER_SITE": "1",
    "PIPELINE_FETCH__ATTEMPTS": "1",
    "PIPELINE_FETCH__READ_TIMEOUT": "3.2",
    "PIPELINE_FETCH__TOTAL_TIMEOUT": "4",
    "PIPELINE_FETCH__DOMAIN_TIMEOUT": "5",
    "PIPELINE_MAX_RETRIES": "0",
}
SLOW = {**CALLS, "PIPELINE_FETCH__CONCURRENCY": "1", "PIPELINE_FETCH__DOMAIN_TIMEOUT": "20"}
FAULTS = """
[[fault]]
host = "silent.example"
kind = "hang"

[[fault]]
host = "dripping.example"
kind = "slow_body"
seconds = 30

[[fault]]
host = "late.example"
kind = "latency"
seconds = 2.8

[[fault]]
host = "slow-*.example"
kind = "latency"
seconds = 1.0
"""
SOUND = [f"sound-{number}.example" for number in range(4)]
CALLS_LIST = ["silent.example", "dripping.example", "late.example", *SOUND]
BATCH_LIST = [f"slow-{number}.example" for number in range(4)]
BATCH_LIST += [f"quick-{number}.example" for number in range(4)]
STEP_LIST = [f"slow-step-{number}.example" for number in range(4)]


@dataclass(frozen=True)
class Row:
    """Where a domain stands in the ledger."""

    state: str
    kind: str | None
    rounds: int
    reason: str | None
    settled_at: float | None

    @property
    def is_settled(self) -> bool:
        return self.state not in {"pending", "waiting"}


@dataclass(frozen=True)
class Story:
    """Three lists, each run under limits of its own."""

    folder: Path
    url: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, name: str, domains: list[str], settings: Mapping[str, str]) -> Result:
        source = write_list(self.folder / f"{name}.csv", domains)
        arguments = ("run", str(source), "--sandbox-url", self.url, "--only", "PAGE_SCRAPING")
        return pipeline(*arguments, "--json", home=self.home, **settings)

    def rows(self, domains: list[str]) -> list[Row]:
        query = """select state, kind, rounds, reason, settled_at from work
                   where phase = 'PAGE_SCRAPING' and domain = ?"""
        with closing(sqlite3.connect(self.home / "sandbox" / "ledger.db")) as ledger:
            return [Row(*ledger.execute(query, (domain,)).fetchone()) for domain in domains]

    def why(self, domain: str) -> str:
        """What `pipeline why` tells."""
        done = pipeline("why", domain, "--sandbox", home=self.home)
        assert done.code == 0, done.err
        return done.out

    def log(self) -> list[str]:
        """All messages of all runs in Dagster's event log."""
        with instance_of(self.home / "sandbox") as instance:
            return [
                entry.user_message
                for run in instance.get_runs()
                for entry in instance.all_logs(run.run_id)
            ]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with sandbox() as internet:
        internet.set_faults(FAULTS)
        yield Story(tmp_path_factory.mktemp("limits"), internet.url)


@pytest.fixture(scope="module")
def calls(story: Story) -> Result:
    return story.run("calls", CALLS_LIST, CALLS)


@pytest.fixture(scope="module")
def batch(story: Story) -> Result:
    more = {"PIPELINE_BATCH_SIZE": "4", "PIPELINE_BATCH_TIMEOUT": "5"}
    return story.run("batches", BATCH_LIST, {**SLOW, **more})


@pytest.fixture(scope="module")
def step(story: Story) -> Result:
    return story.run("steps", STEP_LIST, {**SLOW, "PIPELINE_PHASE_TIMEOUT": "3"})


@pytest.mark.parametrize(
    ("domain", "limit"),
    [
        (
            "silent.example",
            "the limit of 3.2 s between two pieces of data was reached (read_timeout)",
        ),
        ("dripping.example", "the limit of 4 s for one whole call was reached (total_timeout)"),
        ("late.example", "the limit of 5 s for one domain was reached (domain_timeout)"),
    ],
)
def test_why_names_the_limit_that_a_call_or_a_domain_ran_into(
    story: Story, calls: Result, domain: str, limit: str
) -> None:
    (row,) = story.rows([domain])
    assert (row.state, row.kind, row.rounds) == ("waiting", "timeout", 1)
    # Once in what happened to it, and once in where it stands.
    assert story.why(domain).count(limit) == 2


def test_the_others_of_a_batch_are_kept_when_some_run_into_limits(
    story: Story, calls: Result
) -> None:
    assert calls.code == 1
    assert all(row.is_settled for row in story.rows(SOUND))
    found = calls.json["phases"]["PAGE_SCRAPING"]
    assert (found["waiting"], found["pending"]) == (3, 0)
    assert found["kinds"]["timeout"] == 3


def test_a_batch_ends_at_its_limit_and_the_next_one_is_worked_on(
    story: Story, batch: Result
) -> None:
    limit = "the limit of 5 s for batch batches-00001 was reached (batch_timeout)"
    slow, quick = story.rows(BATCH_LIST[:4]), story.rows(BATCH_LIST[4:])
    assert all(row.is_settled for row in [slow[0], *quick])
    (cut,) = [row for row in slow if row.kind == "timeout"]
    assert (cut.state, cut.rounds) == ("waiting", 1)
    assert cut.reason == f"{limit} with this domain in hand"
    left = slow[-1]
    assert (left.state, left.kind, left.rounds) == ("waiting", "cancelled", 0)
    assert left.reason == f"{limit}; what is left waits for the next run or retry"
    assert left.reason in story.why(BATCH_LIST[3])
    assert batch.json["batches"] == {"total": 2, "settled": 1, "unsettled": 1}


def test_a_step_ends_at_its_limit_with_what_is_in_hand_finished(story: Story, step: Result) -> None:
    limit = "the limit of 3 s for one step was reached (phase_timeout)"
    first, *_, last = story.rows(STEP_LIST)
    assert first.is_settled
    assert (last.state, last.kind, last.rounds) == ("waiting", "cancelled", 0)
    assert last.reason == f"{limit}; what is left waits for the next run"
    assert any(limit in failure for failure in step.json["failures"])
    # No domain was cut off by it: what was in hand was finished.
    unsettled = [row for row in story.rows(STEP_LIST) if not row.is_settled]
    assert {row.kind for row in unsettled} == {"cancelled"}


def test_dagsters_log_tells_of_batches_and_of_limits(
    story: Story, batch: Result, step: Result
) -> None:
    log = story.log()
    for line in (
        "Processing batch 1/2 (4 domains): batches-00001",
        "Processing batch 2/2 (4 domains): batches-00002",
        "Processing batch 1/1 (4 domains): steps-00001",
    ):
        assert line in log
    assert any("batch batches-00001 was reached (batch_timeout)" in line for line in log)
    assert any("for one step was reached (phase_timeout)" in line for line in log)


def test_the_next_run_under_wider_limits_does_the_rest_alone(
    story: Story, batch: Result, step: Result
) -> None:
    before = story.rows(BATCH_LIST)
    again = story.run("batches", BATCH_LIST, {**SLOW, "PIPELINE_BATCH_SIZE": "4"})
    assert again.code == 0, again.err
    after = story.rows(BATCH_LIST)
    assert all(row.is_settled for row in after)
    assert [new for old, new in zip(before, after, strict=True) if old.is_settled] == [
        old for old in before if old.is_settled
    ]
