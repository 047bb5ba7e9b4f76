"""What a person brings back is taken up by the next run, and no partition loses its colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.dagster_view import partitions, statuses
from tests.support.processes import Sandbox, pipeline, sandbox, write_list

SOUND = [f"sound-{number}.example" for number in range(4)]
BROKEN = "broken.example"
# One request a round, quick rounds, and no breaker in the way of the next one.
QUICK = {
    "PIPELINE_FETCH__ATTEMPTS": "1",
    "PIPELINE_RETRY_BACKOFF_BASE": "0.2",
    "PIPELINE_MAX_RETRIES": "0",
    "PIPELINE_CIRCUIT_BREAKER_THRESHOLD": "1000",
}
DOWN = f'[[fault]]\nhost = "*{BROKEN}"\nkind = "status"\nstatus = 503\n'


class Home:
    """One home whose list is run again and again on one sandbox."""

    def __init__(self, folder: Path, internet: Sandbox) -> None:
        self.internet = internet
        self._home = folder / "home"
        self._file = str(write_list(folder / "list.csv", [*SOUND, BROKEN]))

    def run(self, *arguments: str, **settings: str) -> Any:
        self.internet.reset()
        command = ("run", self._file, "--sandbox-url", self.internet.url, "--json", *arguments)
        return pipeline(*command, home=self._home, **{**QUICK, **settings})

    def ask(self, *arguments: str) -> Any:
        answer = pipeline(*arguments, "--sandbox", home=self._home)
        assert answer.code == 0, answer.err
        return answer

    def shown(self, asset: str) -> set[str | None]:
        state = self._home / "sandbox"
        return set(statuses(state, asset, partitions(state)).values())

    def asked(self) -> set[str]:
        calls = self.internet.calls()
        return {host.removeprefix("www.") for host in (*calls["pages"], *calls["robots"])}

    def whats(self, domain: str, phase: str) -> list[str]:
        events = self.ask("why", domain, "--json").json["events"]
        return [event["what"] for event in events if event["phase"] == phase]


@pytest.fixture
def home(tmp_path: Path):
    with sandbox() as internet:
        yield Home(tmp_path, internet)


def test_what_waited_for_the_right_key_is_brought_back_and_settles(home: Home) -> None:
    first = home.run(PIPELINE_PROVIDERS__PDL__API_KEY="wrong")
    assert first.code == 1
    enrichment = first.json["phases"]["COMPANY_ENRICHMENT"]
    assert (enrichment["waiting"], enrichment["kinds"]) == (5, {"auth": 5})
    assert home.shown("enriched_companies") == {"FAILED"}
    told = home.ask("failures").out
    assert "once that is mended: pipeline retry --kind auth --sandbox" in told
    back = home.ask("retry", "--kind", "auth", "--json").json
    assert back["brought_back"] == {"COMPANY_ENRICHMENT": 5, "PAGE_SCRAPING": 0}
    assert (back["settled"], back["batches"]) == (0, ["list-00001"])
    second = home.run()
    assert second.code == 0
    assert second.json["phases"]["COMPANY_ENRICHMENT"]["waiting"] == 0
    assert second.json["pages"] == 0  # what had settled was left alone
    assert home.shown("enriched_companies") == {"MATERIALIZED"}
    whats = home.whats(SOUND[0], "COMPANY_ENRICHMENT")
    assert whats[:2] == ["waiting", "brought_back"]
    assert whats[2] in {"succeeded", "not_found"}


def test_what_was_given_up_gets_a_second_chance_in_a_partition_that_stays_green(
    home: Home,
) -> None:
    home.internet.set_faults(DOWN)
    given_up = home.run(PIPELINE_MAX_ROUNDS="1")
    assert given_up.code == 0
    assert given_up.json["phases"]["PAGE_SCRAPING"]["quarantined"] == 1
    assert home.shown("scraped_pages") == {"MATERIALIZED"}
    back = home.ask("retry", "--quarantined", "--json").json
    assert (back["domains"], back["settled"]) == ([BROKEN], 1)
    assert home.shown("scraped_pages") == {"MATERIALIZED"}

    still_down = home.run()
    scraping = still_down.json["phases"]["PAGE_SCRAPING"]
    assert still_down.code == 0  # settled is settled
    assert (scraping["quarantined"], scraping["tried_again"]) == (1, 1)
    assert home.asked() == {BROKEN}
    assert home.shown("scraped_pages") == {"MATERIALIZED"}
    assert "being tried again: " in home.ask("why", BROKEN).out

    home.internet.set_faults(DOWN + "max_times = 1\n")
    healed = home.run("--wait", "2m")
    scraping = healed.json["phases"]["PAGE_SCRAPING"]
    assert healed.code == 0
    assert (scraping["succeeded"], scraping["tried_again"]) == (5, 0)
    assert home.asked() == {BROKEN}
    assert not any(home.internet.calls()["calls"].values())
    for asset in ("enriched_companies", "scraped_pages", "company_profiles"):
        assert home.shown(asset) == {"MATERIALIZED"}
    whats = home.whats(BROKEN, "PAGE_SCRAPING")
    assert (whats[:2], whats[-1]) == (["quarantined", "brought_back"], "succeeded")
    # Once while it was down all the time, and at least once in the run that waited.
    assert whats.count("waiting") == len(whats) - 3 >= 2
    rows = {
        row["domain"]: row for row in pq.read_table(healed.json["outputs"]["parquet"]).to_pylist()
    }
    assert rows[BROKEN]["missing"] is None


def test_a_second_chance_that_waits_for_a_person_is_not_waited_for(home: Home) -> None:
    assert home.run().code == 0
    # Its answers are fresh and are not bought again: only what nobody has asked for is.
    home.ask("retry", SOUND[0], "--phase", "COMPANY_ENRICHMENT")
    again = home.run("--wait", "1m", PIPELINE_PROVIDERS__PDL__API_KEY="wrong")
    assert again.code == 0
    assert again.json["phases"]["COMPANY_ENRICHMENT"]["tried_again"] == 0
    assert not any(home.internet.calls()["calls"].values())
    # Now the answers are too old, and the key is wrong.
    home.ask("retry", SOUND[0], "--phase", "COMPANY_ENRICHMENT")
    stale = {"PIPELINE_REFRESH_AFTER": "1", "PIPELINE_PROVIDERS__PDL__API_KEY": "wrong"}
    waits = home.run("--wait", "10m", **stale)
    assert waits.code == 0
    assert waits.json["phases"]["COMPANY_ENRICHMENT"]["tried_again"] == 1
    assert waits.json["seconds"] < 120
    assert "waits for you" in home.ask("status").out
    assert "tried again, but waits for you" in home.ask("why", SOUND[0]).out
    assert home.shown("enriched_companies") == {"MATERIALIZED"}
