"""`pipeline heal`: finishes what was left, mends Dagster's records, leaves alone what it must."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from dagster import AssetKey

from tests.e2e.test_kill import in_doubt, wait_until_settled
from tests.support.dagster_view import instance_of, partitions, statuses
from tests.support.processes import Result, Sandbox, pipeline, sandbox, started_pipeline, write_list

DOMAINS = [f"company-{number:03}.example" for number in range(60)]
ASSETS = ("enriched_companies", "scraped_pages", "company_profiles")
SLOW = '[[fault]]\nkind = "latency"\nseconds = 0.2\n'
QUICK = {"PIPELINE_RETRY_BACKOFF_BASE": "0.1", "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": "0.1"}


class Place:
    """A home with a list in it, and the internet that it knows."""

    def __init__(self, folder: Path, internet: Sandbox) -> None:
        self.home = folder / "home"
        self.state = self.home / "sandbox"
        self.internet = internet
        source = write_list(folder / "list.csv", DOMAINS)
        self.arguments = ("run", str(source), "--sandbox-url", internet.url, "--json")
        self.arguments += ("--batch-size", "10")

    def command(self, *arguments: str, **settings: str) -> Result:
        """Run a command on the home of the sandbox."""
        given = {**self.internet.settings, **QUICK, **settings}
        return pipeline(*arguments, home=self.state, **given)

    def stop(self, phase: str, count: int, signal_number: int) -> None:
        """Begin the list, and end the command once so many domains are settled."""
        with started_pipeline(*self.arguments, home=self.home, **QUICK) as process:
            wait_until_settled(process, self.home, phase, count)
            os.kill(process.pid, signal_number)
            process.wait(timeout=30)

    def runs(self) -> int:
        with instance_of(self.state) as instance:
            return instance.get_runs_count()

    def shown(self, asset: str) -> set[str | None]:
        return set(statuses(self.state, asset, partitions(self.state)).values())


@pytest.fixture
def place(tmp_path: Path):
    with sandbox() as internet:
        internet.set_faults(SLOW)
        yield Place(tmp_path, internet)


def test_what_a_killed_command_left_is_finished_and_bought_once(place: Place) -> None:
    place.stop("COMPANY_ENRICHMENT", 20, signal.SIGKILL)
    lost = in_doubt(place.home)
    first = place.command("heal", "--json")
    assert first.code == 0, first.err
    for asset in ASSETS:
        assert place.shown(asset) == {"MATERIALIZED"}
    assert (place.state / "store/company_directory/companies.csv").exists()
    assert sum(place.internet.calls()["billed"]["pdl"].values()) <= len(DOMAINS) + lost
    runs, calls = place.runs(), place.internet.calls()
    again = place.command("heal")
    assert (again.code, again.out) == (0, "everything requested is settled\n")
    assert (place.runs(), place.internet.calls()) == (runs, calls)


def test_what_was_asked_for_in_one_phase_is_healed_in_that_phase_alone(place: Place) -> None:
    place.arguments += ("--only", "PAGE_SCRAPING")
    place.stop("PAGE_SCRAPING", 10, signal.SIGKILL)
    assert place.command("heal").code == 0
    assert place.shown("scraped_pages") == {"MATERIALIZED"}
    assert place.shown("enriched_companies") == {None}
    assert not any(place.internet.calls()["calls"].values())


def test_records_that_dagster_lost_are_put_right_without_a_run(place: Place) -> None:
    place.internet.set_faults("preset=none")
    assert pipeline(*place.arguments, home=place.home, **QUICK).code == 0
    with instance_of(place.state) as instance:
        instance.wipe_assets([AssetKey(asset) for asset in ASSETS])
    runs = place.runs()
    assert place.shown("scraped_pages") == {None}
    advice = place.command("heal", "--dry-run")
    assert "18 would be put right in Dagster" in advice.out
    assert place.shown("scraped_pages") == {None}
    assert place.command("heal").code == 0
    assert place.runs() == runs
    for asset in ASSETS:
        assert place.shown(asset) == {"MATERIALIZED"}


def test_what_a_person_stopped_is_held_until_a_person_goes_on(place: Place) -> None:
    place.stop("COMPANY_ENRICHMENT", 20, signal.SIGINT)
    place.internet.reset()
    held = place.command("heal", "--json")
    assert held.code == 1
    assert held.json["batches"]["held"] > 0
    assert set(held.json["batches"]) <= {"held", "in_hand", "run", "nothing"}
    calls = place.internet.calls()
    assert not any(calls["calls"].values())
    assert not calls["pages"]
    assert "Held" in place.command("status").out
    assert "released" in place.command("retry", "--name", "list").out
    assert place.command("heal").code == 0
    assert place.shown("enriched_companies") == {"MATERIALIZED"}


def test_advice_says_what_would_be_done_and_does_nothing(place: Place) -> None:
    place.stop("COMPANY_ENRICHMENT", 20, signal.SIGKILL)
    runs = place.runs()
    place.internet.reset()
    advice = place.command("heal", "--dry-run", "--json")
    assert advice.code == 1
    assert {plan["phase"] for plan in advice.json["runs_due"]} == {
        "COMPANY_ENRICHMENT",
        "PAGE_SCRAPING",
    }
    assert place.runs() == runs
    assert not any(place.internet.calls()["calls"].values())


def test_what_a_service_manager_ended_goes_on_by_itself(place: Place) -> None:
    place.stop("COMPANY_ENRICHMENT", 20, signal.SIGTERM)
    assert place.command("heal").code == 0
    assert place.shown("enriched_companies") == {"MATERIALIZED"}


BAD = DOMAINS[0]
FAULT = f"""
[[fault]]
host = "*{BAD}"
kind = "status"
status = 503
"""


def test_what_a_person_stopped_while_it_waited_to_try_again_is_held(place: Place) -> None:
    place.stop("COMPANY_ENRICHMENT", 60, signal.SIGKILL)
    place.internet.set_faults(FAULT)
    waiting = {**place.internet.settings, **QUICK, "PIPELINE_RETRY_BACKOFF_BASE": "100"}
    with (
        started_pipeline("heal", home=place.state, **waiting) as process,
        sqlite3.connect(place.state / "ledger.db") as ledger,
    ):
        waits = "select count(*) from run_processes where waits_until > ?"
        deadline = time.monotonic() + 120
        while ledger.execute(waits, [time.time() + 10]).fetchone() != (1,):
            assert process.poll() is None, "it ended before it waited"
            assert time.monotonic() < deadline, "it did not get that far"
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        held = "select phase from requests where held_reason is not null"
        # Only what was left to do.
        assert ledger.execute(held).fetchall() == [("PAGE_SCRAPING",)]
    again = place.command("heal", "--json")
    assert again.json["batches"]["held"] == 1
