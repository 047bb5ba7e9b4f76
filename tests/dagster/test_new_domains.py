"""The sensor that takes lists in, evaluated as the daemon does, on a real instance and ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    RunRequest,
    build_sensor_context,
)
from dagster._core.definitions.sensor_definition import SensorExecutionData
from sqlalchemy import select

from pipeline_assets.definitions import build_definitions
from pipeline_assets.instance import Runs
from pipeline_assets.partitions import BATCHES, RANGE_END, RANGE_START
from resources.adapters.inbox import open_inbox
from resources.adapters.ledger.inbox import InboxFiles
from resources.adapters.ledger.schema import alerts
from resources.alerts import open_troubles, tell
from resources.artifact_writer import MANIFEST_ASSET
from resources.core.alerting import HEALING_TOPICS, Topic
from resources.core.config import load_settings
from resources.core.models import FETCHING
from resources.platform import Platform
from resources.sensor_watch import NEW_DOMAINS
from sensors.dagster_state import RunTarget
from sensors.new_domains import (
    MANIFESTS_AGAIN_S,
    MOST_BATCHES_PER_RUN,
    MOST_NEW_PARTITIONS,
    MOST_RUNS,
    manifest_runs,
    new_domains,
)
from tests.support.processes import write_list
from tests.support.time import NOW


class Daemon:
    """Evaluates the sensor, and does what the daemon would do with the result."""

    def __init__(self, instance: DagsterInstance, home: Path) -> None:
        self.instance = instance
        self.inbox = home / "inbox"
        self.inbox.mkdir(parents=True)
        self.platform = Platform.open(load_settings())
        self.run_keys: set[str | None] = set()

    def tick(self) -> SensorExecutionData:
        with build_sensor_context(instance=self.instance) as context:
            return new_domains.evaluate_tick(context)

    def apply(self, found: SensorExecutionData) -> list[RunRequest]:
        """Add partitions. Returns the runs that would be launched: a known key launches none."""
        for request in found.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(
                request.partitions_def_name, list(request.partition_keys)
            )
        new = [one for one in found.run_requests or () if one.run_key not in self.run_keys]
        self.run_keys |= {one.run_key for one in new}
        return new

    def let_settle(self) -> None:
        """Files that lie there now were first seen a minute ago."""
        seen = open_inbox(self.platform.settings).look()
        stamps = {address: one.stamp for address, one in seen.items()}
        files = InboxFiles(self.platform.ledger.database)
        files.note(stamps, self.platform.clock.now() - 60)

    @property
    def partitions(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions(str(BATCHES.name)))


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_BATCH_SIZE", "2")
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        daemon = Daemon(instance, tmp_path / "home")
        yield daemon
        daemon.platform.close()


def _domains(count: int) -> list[str]:
    return [f"company-{number}.example" for number in range(count)]


def _added(found: SensorExecutionData) -> list[str]:
    return [key for one in found.dynamic_partitions_requests or () for key in one.partition_keys]


def _ranges(requests: list[RunRequest]) -> list[tuple[str, str]]:
    return [(one.tags[RANGE_START], one.tags[RANGE_END]) for one in requests]


def _keys(name: str, count: int) -> list[str]:
    return [f"{name}-{number:05d}" for number in range(1, count + 1)]


def test_the_sensor_runs_by_default_and_aims_at_the_job_that_writes_manifests() -> None:
    assert new_domains.default_status is DefaultSensorStatus.RUNNING
    assert new_domains.minimum_interval_seconds == 30
    assert new_domains.job_name == "take_in"


def test_a_tick_that_does_nothing_says_in_words_what_it_saw(daemon: Daemon) -> None:
    assert daemon.tick().skip_message == f"{daemon.inbox} has no new file."
    write_list(daemon.inbox / "five.csv", _domains(5))
    said = daemon.tick().skip_message
    assert said == f"{daemon.inbox}/five.csv is left: it is new and may still be written."


def test_a_dropped_list_becomes_partitions_and_a_run_over_them(daemon: Daemon) -> None:
    write_list(daemon.inbox / "five.csv", _domains(5))
    daemon.let_settle()
    found = daemon.tick()
    assert found.skip_message is None
    assert _added(found) == _keys("five", 3)
    requests = daemon.apply(found)
    assert _ranges(requests) == [("five-00001", "five-00003")]
    ledger = daemon.platform.ledger
    assert set(ledger.requests.all()) == {
        (phase, key) for phase in FETCHING for key in _keys("five", 3)
    }
    runs = Runs(daemon.instance, build_definitions())
    assert runs.run("take_in", requests[0].tags) is None
    assert runs.unrecorded(MANIFEST_ASSET, _keys("five", 3)) == []
    after = daemon.tick()
    assert (_added(after), after.run_requests) == ([], [])


def test_each_tick_is_noted_with_what_it_saw(daemon: Daemon) -> None:
    write_list(daemon.inbox / "five.csv", _domains(5))
    daemon.let_settle()
    before = daemon.platform.clock.now()
    daemon.tick()
    tick = daemon.platform.ledger.ticks.all()[NEW_DOMAINS]
    assert tick.at >= before
    assert tick.interval_s == 30.0
    assert "list five: 5 rows, 5 domains" in tick.note


def test_what_a_crash_kept_from_dagster_is_added_by_the_next_tick(daemon: Daemon) -> None:
    write_list(daemon.inbox / "five.csv", _domains(5))
    daemon.let_settle()
    lost = daemon.tick()  # the daemon dies with this in its hands
    again = daemon.tick()
    assert _added(again) == _added(lost) == _keys("five", 3)
    assert len(daemon.apply(again)) == 1
    assert daemon.partitions == _keys("five", 3)
    third = daemon.tick()
    assert _added(third) == []
    assert daemon.apply(third) == []  # the same run key as before


def test_a_grown_list_adds_only_new_partitions_behind_the_others(daemon: Daemon) -> None:
    for count in (4, 5):
        write_list(daemon.inbox / "grows.csv", _domains(count))
        daemon.let_settle()
        found = daemon.tick()
        requests = daemon.apply(found)
        runs = Runs(daemon.instance, build_definitions())
        assert runs.run("take_in", requests[0].tags) is None
    assert _added(found) == ["grows-00003"]
    assert _ranges(requests) == [("grows-00003", "grows-00003")]
    assert daemon.partitions == _keys("grows", 3)


def test_a_long_list_comes_in_parts(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_BATCH_SIZE", "1")
    write_list(daemon.inbox / "long.csv", _domains(MOST_NEW_PARTITIONS + 1))
    daemon.let_settle()
    first = daemon.tick()
    assert _added(first) == _keys("long", MOST_NEW_PARTITIONS)
    requests = daemon.apply(first)
    assert _ranges(requests) == [
        ("long-00001", "long-00200"),
        ("long-00201", "long-00400"),
        ("long-00401", "long-00500"),
    ]
    assert _added(daemon.tick()) == [f"long-{MOST_NEW_PARTITIONS + 1:05d}"]


@pytest.mark.parametrize("is_healing", ["true", "false"])
def test_lists_are_taken_in_whether_or_not_healing_is_switched_on(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, is_healing: str
) -> None:
    monkeypatch.setenv("PIPELINE_ENABLE_AUTO_RECOVERY", is_healing)
    write_list(daemon.inbox / "five.csv", _domains(5))
    daemon.let_settle()
    assert _added(daemon.tick()) == _keys("five", 3)


def test_people_are_told_once_of_a_list_that_was_set_aside(daemon: Daemon) -> None:
    (daemon.inbox / "bad.csv").write_bytes(b"\x89PNG\r\n\x1a\n")
    daemon.let_settle()
    for _ in range(3):
        daemon.tick()
    with daemon.platform.ledger.database.read() as connection:
        (alert,) = connection.execute(select(alerts)).all()
    assert alert.topic == Topic.LIST_SET_ASIDE
    assert alert.subject == str(daemon.inbox / "bad.csv")
    assert "is an image" in alert.sentence


def test_an_inbox_that_cannot_be_used_is_said_and_keeps_nothing_else_from_being_done(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_list(daemon.inbox / "five.csv", _domains(5))
    daemon.let_settle()
    daemon.tick()
    monkeypatch.setenv("PIPELINE_INBOX", "nonsense://in")
    found = daemon.tick()
    assert _added(found) == _keys("five", 3)
    daemon.apply(found)
    tick = daemon.platform.ledger.ticks.all()[NEW_DOMAINS]
    assert tick.note.startswith("PIPELINE_INBOX cannot be used")


def test_troubles_of_the_inbox_are_alerts_until_they_are_over_and_healing_ends_none(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("PIPELINE_INBOX", "nonsense://in")
        daemon.tick()
    (trouble,) = open_troubles(daemon.platform.ledger)
    assert trouble.topic is Topic.INBOX
    assert trouble.sentence.startswith("PIPELINE_INBOX cannot be used")
    tell(daemon.platform.ledger, load_settings(), [], [], time.time(), about=HEALING_TOPICS)
    assert len(open_troubles(daemon.platform.ledger)) == 1
    daemon.tick()
    assert open_troubles(daemon.platform.ledger) == []


def test_a_list_that_waits_for_a_limit_of_credits_needs_a_person(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_PROVIDERS__PDL__API_KEY", "a key that costs")
    write_list(daemon.inbox / "five.csv", _domains(5))
    daemon.let_settle()
    daemon.tick()
    (trouble,) = open_troubles(daemon.platform.ledger)
    assert trouble.topic is Topic.LIMIT_MISSING
    assert "Batches of five may spend credits" in trouble.sentence
    daemon.tick()
    assert len(open_troubles(daemon.platform.ledger)) == 1
    monkeypatch.setenv("PIPELINE_MAX_CREDITS", "10")
    daemon.tick()
    assert open_troubles(daemon.platform.ledger) == []


# -- runs that write manifests --------------------------------------------------------------------

ORDER = _keys("a", 6)


def _under_way(keys: list[str], asset: str = MANIFEST_ASSET) -> RunTarget:
    return RunTarget(DagsterRun(job_name="take_in"), frozenset({asset}), keys)


def test_what_a_run_is_about_to_write_is_not_asked_for_again() -> None:
    busy = [_under_way(ORDER[:2]), _under_way(ORDER[3:], "scraped_pages")]
    found = manifest_runs(ORDER, [*ORDER[:4], ORDER[5], "not-there-00001"], busy, NOW)
    assert _ranges(found) == [("a-00003", "a-00004"), ("a-00006", "a-00006")]


def test_a_run_takes_no_more_than_its_share() -> None:
    order = _keys("a", MOST_RUNS * MOST_BATCHES_PER_RUN + 1)
    found = _ranges(manifest_runs(order, order, [], NOW))
    assert len(found) == MOST_RUNS
    assert found[:2] == [("a-00001", "a-00200"), ("a-00201", "a-00400")]


def test_only_a_few_runs_wait_in_the_queue_at_a_time() -> None:
    busy = [_under_way([key]) for key in ORDER[:MOST_RUNS]]
    assert manifest_runs(ORDER, ORDER[MOST_RUNS:], busy, NOW) == []


def test_a_run_that_wrote_nothing_is_followed_by_another_one_after_a_while() -> None:
    keys = [manifest_runs(ORDER, ORDER, [], NOW + s)[0].run_key for s in (0, 1, MANIFESTS_AGAIN_S)]
    assert keys[0] == keys[1] != keys[2]
