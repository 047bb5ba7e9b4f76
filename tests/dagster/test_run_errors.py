"""What a run leaves in Dagster when something goes wrong that nobody foresaw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from logging import ERROR
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, RunsFilter

from pipeline_assets.definitions import build_definitions
from pipeline_assets.instance import Runs, open_instance
from resources.adapters.bodies import BodyWriter
from resources.adapters.ledger.pages import PageRow
from resources.core.config import load_settings
from resources.platform import Platform
from tests.support.processes import Sandbox, pipeline, sandbox, write_list

KEY = "odd-00001"
ODD = "odd.example"


@dataclass(frozen=True)
class Place:
    """A home with a list of two domains that no phase has worked on."""

    instance: DagsterInstance
    internet: Sandbox

    def scrape(self) -> str | None:
        """Run the phase. Returns None, or in one line why it failed."""
        return Runs(self.instance, build_definitions()).run_range("scrape_pages", KEY, KEY, {})

    def newest_run(self) -> list[Any]:
        """All that Dagster has logged of the newest run."""
        (run,) = self.instance.get_runs(RunsFilter(job_name="scrape_pages"), limit=1)
        return list(self.instance.all_logs(run.run_id))

    def errors(self) -> list[str]:
        """What the newest run logged as an error."""
        return [entry.user_message for entry in self.newest_run() if entry.level == ERROR]

    def steps(self) -> list[Any]:
        """Dagster's own events of the newest run."""
        return [entry.dagster_event for entry in self.newest_run() if entry.is_dagster_event]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    source = write_list(tmp_path / "odd.csv", [ODD, "even.example"])
    with sandbox() as internet:
        arguments = ("--sandbox-url", internet.url, "--only", "PROFILE_BUILD")
        pipeline("run", str(source), *arguments, home=tmp_path / "home")
        home = {"PIPELINE_HOME": str(tmp_path / "home" / "sandbox"), "PIPELINE_MAX_RETRIES": "0"}
        for name, value in {**internet.settings, **home}.items():
            monkeypatch.setenv(name, value)
        with open_instance(load_settings()) as instance:
            # Opening it sets the homes anew.
            monkeypatch.setenv("PIPELINE_HOME", home["PIPELINE_HOME"])
            yield Place(instance, internet)


def _keep_broken_page() -> None:
    """Let a page be kept with an address that no code of ours can have written."""
    with closing(Platform.open(load_settings())) as platform:
        writer = BodyWriter(platform.store.root, "test")
        (place,) = writer.append([(b"<p>odd", "")])
        writer.close()
        row = PageRow(
            domain=ODD,
            url=f"https://{ODD}/",
            role="home",
            final_url="https://[broken",
            status=200,
            content_type=None,
            body_hash=None,
            size_bytes=0,
            fetched_at=platform.clock.now(),
            body_file=place.file,
            body_offset=place.offset,
            body_length=place.length,
        )
        platform.ledger.pages.save_many([row])


def test_a_bug_leaves_its_stack_in_the_log_and_in_what_the_failed_run_shows(place: Place) -> None:
    _keep_broken_page()
    said = place.scrape()
    assert f"The newest bug is {ODD} (batch {KEY}, after round 1)" in str(said)
    (failed,) = [event for event in place.steps() if event.is_step_failure]
    shown = failed.step_failure_data.user_failure_data
    assert shown.description == said
    assert shown.metadata["by_kind"].value == {"bug": 1}
    (logged,) = [message for message in place.errors() if message.startswith(ODD)]
    for stack in (shown.metadata["stack_traces"].value, logged):
        assert "Traceback (most recent call last)" in stack
        assert "in _site_of" in stack
        assert "ValueError: Invalid IPv6 URL" in stack
    # Given up the second time and thus settled: the run passes, and still tells of it.
    assert place.scrape() is None
    assert [message for message in place.errors() if "in _site_of" in message]


def test_a_setting_that_cannot_be_used_is_told_in_one_sentence_and_not_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_FETCH__CONNECT_TO", "no-such-name.invalid:80")
    assert str(place.scrape()).startswith(
        "PIPELINE_FETCH__CONNECT_TO names 'no-such-name.invalid', which does not resolve"
    )
    assert not [event for event in place.steps() if event.is_step_up_for_retry]
