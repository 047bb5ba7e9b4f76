"""The reconciler: what it asks for, and what it leaves, on a real instance and a real ledger."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, DefaultSensorStatus
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import RemotePartitionSetOrigin
from sqlalchemy import select

from pipeline_assets.company_profiles import company_profiles
from pipeline_assets.partitions import BATCHES
from pipeline_assets.recording import DUE_ONLY_TAG, REASON_TAG, SCOPE_TAG
from resources.adapters.ledger.calls import Budget
from resources.adapters.ledger.schema import members
from resources.artifact_writer import ASSET_OF
from resources.core.alerting import Topic
from resources.core.config import load_settings
from resources.core.models import Phase, RawAnswer
from resources.core.recovery import (
    COOL_DOWN_S,
    LONGEST_COOL_DOWN_S,
    MOST_DEATHS,
    MOST_FRUITLESS_RUNS,
    Action,
)
from resources.healing import Healer
from resources.phase_run import breaker_policy
from resources.profile_builder import ProfileBuilder
from resources.sensor_watch import HEAL_BATCHES
from resources.stale_profiles import OVERLAP_S
from resources.troubles import tell_of
from sensors.dagster_state import DagsterState
from sensors.directory_runs import VERSION_TAG
from sensors.heal_batches import build_heal_batches
from sensors.reconciler import REPAIRS_TAG, tell
from tests.support.healing import (
    ENRICHMENT,
    FETCHING,
    PROFILES,
    REPOSITORY,
    SCRAPING,
    HealingHome,
    healing_home,
    ranges,
)

NEVER_STARTED = (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED)
UNDER_WAY = (*NEVER_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED)
PAGES = ASSET_OF[SCRAPING]
DIRECTORY = "company_directory"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HealingHome]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_PROVIDERS__PDL__API_KEY", "key")
    with healing_home(tmp_path) as home:
        yield home


# -- what is asked for ----------------------------------------------------------------------------


def test_the_sensor_runs_by_default(home: HealingHome) -> None:
    assert build_heal_batches(load_settings()).default_status is DefaultSensorStatus.RUNNING


def test_a_run_names_its_range_its_reason_its_limit_and_whose_work_it_goes_on_with(
    home: HealingHome,
) -> None:
    home.ask(home.keys[:2], scope="invocation")
    home.change_request(home.keys[1], last_run_id="an-older-run")
    (request,) = home.sensor_tick().run_requests or ()
    assert request.job_name == "scrape_pages"
    assert ranges([request]) == [(home.keys[0], home.keys[1])]
    assert request.tags[DUE_ONLY_TAG] == "true"
    assert request.tags[SCOPE_TAG] == "invocation"
    assert request.tags["dagster/priority"] == "-1"
    assert request.tags[REASON_TAG] == "due in 2 batches: 4 pending"
    assert request.tags[REPAIRS_TAG] == "an-older-run"
    assert home.ledger.ticks.all()[HEAL_BATCHES].note.startswith("batches: 2 due")


def test_what_nobody_asked_for_is_not_begun(home: HealingHome) -> None:
    assert home.sensor_tick().run_requests == []


def test_neighbours_share_a_run_that_spans_what_is_settled_between_them(home: HealingHome) -> None:
    home.ask(home.keys)
    home.finish(home.keys[1:3])
    home.finish(home.keys[4:])
    assert ranges(home.tick(SCRAPING)) == [(home.keys[0], home.keys[3])]


def test_a_run_never_spans_a_batch_that_somebody_has_in_hand(home: HealingHome) -> None:
    home.ask(home.keys[:3])
    home.run([home.keys[1]], status=DagsterRunStatus.QUEUED)
    assert ranges(home.tick()) == [(home.keys[0],) * 2, (home.keys[2],) * 2]


def test_batches_under_different_limits_of_credits_never_share_a_run(home: HealingHome) -> None:
    home.ask(home.keys[:1], scope="one")
    home.ask(home.keys[1:2], scope="other")
    assert [plan.scope for plan in home.tick()] == ["one", "other"]


def test_a_second_tick_with_no_run_in_between_asks_for_nothing(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    assert len(home.sensor_tick().run_requests or ()) == 1
    assert home.sensor_tick().run_requests == []
    home.clock.advance(COOL_DOWN_S + 1)
    (again,) = home.tick()
    assert again.run_key.endswith(":2")


# -- what is in somebody's hands ------------------------------------------------------------------


@pytest.mark.parametrize("status", UNDER_WAY, ids=lambda status: status.value)
def test_a_batch_that_a_run_is_about_is_left(home: HealingHome, status: DagsterRunStatus) -> None:
    home.ask(home.keys[:2])
    home.run(home.keys[:2], status=status)
    assert home.tick() == []


def test_a_run_over_a_single_partition_has_that_in_hand(home: HealingHome) -> None:
    home.ask(home.keys[:2])
    home.run(tags={"dagster/partition": home.keys[0]})
    assert ranges(home.tick()) == [(home.keys[1],) * 2]


def test_a_run_from_the_browser_has_the_assets_in_hand_that_it_names(home: HealingHome) -> None:
    home.ask(home.keys[:1], FETCHING)
    job = home.definitions.get_implicit_global_asset_job_def()
    run = home.instance.create_run_for_job(
        job.get_subset(asset_selection={AssetKey(PAGES)}),
        tags={"dagster/partition": home.keys[0]},
        status=DagsterRunStatus.STARTED,
        asset_selection=frozenset({AssetKey(PAGES)}),
    )
    assert run.job_name == "__ASSET_JOB"
    assert [plan.phase for plan in home.tick()] == [ENRICHMENT]


@pytest.mark.parametrize("status", ["REQUESTED", "CANCELING", "FAILING"])
def test_targets_of_an_active_backfill_are_left(home: HealingHome, status: str) -> None:
    home.ask(home.keys, FETCHING)
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id="filling",
        asset_graph=home.definitions.resolve_asset_graph(),
        partition_names=home.keys[:4],
        asset_selection=[AssetKey(PAGES)],
        dynamic_partitions_store=home.instance,
        all_partitions=False,
        backfill_timestamp=home.clock.now(),
        tags={},
        title=None,
        description=None,
        run_config=None,
    )
    home.instance.add_backfill(backfill.with_status(BulkActionStatus[status]))
    plans = home.tick()
    assert ranges([plan for plan in plans if plan.phase is SCRAPING]) == [
        (home.keys[4], home.keys[5])
    ]
    assert ranges([plan for plan in plans if plan.phase is ENRICHMENT]) == [
        (home.keys[0], home.keys[5])
    ]


def test_targets_of_a_backfill_of_a_job_are_left(home: HealingHome) -> None:
    home.ask(home.keys)
    origin = RemotePartitionSetOrigin(
        repository_origin=REPOSITORY, partition_set_name="scrape_pages_partition_set"
    )
    home.instance.add_backfill(
        PartitionBackfill(
            "filling",
            BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=home.clock.now(),
            partition_set_origin=origin,
            partition_names=home.keys[:5],
        )
    )
    assert ranges(home.tick()) == [(home.keys[5],) * 2]


def test_what_a_living_command_drives_is_left_until_it_ends(home: HealingHome) -> None:
    home.ask(home.keys[:1], scope="driven")
    home.ledger.drivers.begin("driven", home.clock.now())
    assert home.actions() == {home.keys[0]: Action.IN_HAND}
    home.ledger.drivers.end("driven", home.clock.now())
    assert len(home.tick()) == 1


def test_what_a_command_drives_that_was_stopped_is_healed(home: HealingHome) -> None:
    home.ask(home.keys[:1], scope="driven")
    home.ledger.drivers.begin("driven", home.clock.now())
    home.clock.advance(home.platform.settings.stuck_after + 1)
    assert home.actions() == {home.keys[0]: Action.RUN}


def test_what_a_worker_has_in_hand_is_left(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    worker = home.ledger.workers.begin(SCRAPING, "a-run", home.clock.now())
    now = home.clock.now()
    home.ledger.work.claim(worker, SCRAPING, home.keys[:1], 100, now + 1, now)
    assert home.actions() == {home.keys[0]: Action.IN_HAND}


# -- what waits -----------------------------------------------------------------------------------


def test_what_is_not_due_waits_until_it_is(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    home.wait_for(home.keys[:1], "http_5xx", not_before=home.clock.now() + 100)
    assert home.tick() == []
    home.clock.advance(101)
    assert len(home.tick()) == 1


@pytest.mark.parametrize("kind", ["auth", "quota_exhausted"])
def test_a_provider_that_needs_a_person_stops_the_whole_phase(home: HealingHome, kind: str) -> None:
    home.ask(home.keys, FETCHING)
    home.wait_for(home.keys[:1], kind, ENRICHMENT)
    assert set(home.actions(ENRICHMENT).values()) == {Action.PERSON}
    assert {plan.phase for plan in home.tick()} == {SCRAPING}


def test_a_refresh_that_needs_a_person_stops_the_whole_phase_too(home: HealingHome) -> None:
    home.ask(home.keys, [ENRICHMENT])
    home.finish(home.keys[:1], ENRICHMENT)
    home.set_work(home.keys[:1], ENRICHMENT, refresh_asked=1)
    home.note_attempt(home.keys[:1], "auth", ENRICHMENT)
    assert home.tick(ENRICHMENT) == []


def _refuse(home: HealingHome, keys: Sequence[str]) -> None:
    """A provider refuses our key for these."""
    home.wait_for(keys, "auth", ENRICHMENT)


def _answered(home: HealingHome) -> None:
    now = home.clock.now()
    call = home.ledger.calls.begin("pdl", ["x.example"], None, Budget("s", None), 1.0, now)
    answer = RawAnswer(body=b"{}", url="https://pdl.example/", at=now, credits=1.0)
    home.ledger.calls.finish(call, "pdl", {"x.example": answer}, now)


def _ask_for_another(home: HealingHome) -> None:
    home.ledger.requests.ask_by_person(
        home.keys[5:], [ENRICHMENT], scope="person", now=home.clock.now()
    )


@pytest.mark.parametrize("what", [_answered, _ask_for_another])
def test_what_was_refused_once_stops_nothing_else_once_the_provider_answers_or_a_person_acts(
    home: HealingHome, what: Callable[[HealingHome], None]
) -> None:
    home.ask(home.keys, [ENRICHMENT])
    _refuse(home, home.keys[:1])
    home.clock.advance(10)
    what(home)
    actions = home.actions(ENRICHMENT)
    assert actions.pop(home.keys[0]) is Action.PERSON
    assert set(actions.values()) == {Action.RUN}
    home.clock.advance(10)
    _refuse(home, home.keys[1:2])
    assert set(home.actions(ENRICHMENT).values()) == {Action.PERSON}


def test_what_a_cancel_holds_stops_nothing_else_though_it_needs_a_person(home: HealingHome) -> None:
    home.ask(home.keys, [ENRICHMENT])
    _refuse(home, home.keys[:1])
    home.ledger.requests.hold(home.keys[:1], ENRICHMENT, "cancelled", home.clock.now())
    actions = home.actions(ENRICHMENT)
    assert actions.pop(home.keys[0]) is Action.HELD
    assert set(actions.values()) == {Action.RUN}


def test_spent_credits_stop_what_that_limit_holds_for(home: HealingHome) -> None:
    home.ask(home.keys[:3], [ENRICHMENT], scope="spent")
    home.ask(home.keys[3:], [ENRICHMENT], scope="rich")
    home.wait_for(home.keys[:1], "budget_exhausted", ENRICHMENT)
    assert ranges(home.tick()) == [(home.keys[3], home.keys[5])]


def _open_breaker(home: HealingHome) -> float:
    policy = breaker_policy(home.platform.settings)
    for _ in range(policy.threshold):
        breaker = home.ledger.breakers.failed(
            "pdl", "HTTP 503", 0, "worker", home.clock.now(), policy
        )
    return breaker.retry_at


def test_an_open_breaker_stops_its_phase_and_then_one_run_alone_finds_out(
    home: HealingHome,
) -> None:
    home.ask(home.keys, FETCHING)
    retry_at = _open_breaker(home)
    assert {plan.phase for plan in home.tick()} == {SCRAPING}
    home.clock.advance(retry_at - home.clock.now() + 1)
    probes = [plan for plan in home.tick() if plan.phase is ENRICHMENT]
    assert len(probes) == 1
    home.launched(probes[0], DagsterRunStatus.QUEUED)
    assert not [plan for plan in home.tick() if plan.phase is ENRICHMENT]


def _open(home: HealingHome, endpoint: str) -> None:
    policy = breaker_policy(home.platform.settings)
    for _ in range(policy.threshold):
        home.ledger.breakers.failed(endpoint, "HTTP 503", 0, "worker", home.clock.now(), policy)


def _pauses_told(home: HealingHome) -> dict[str, int]:
    tell_of(home.platform, home.look().healing, {})
    return {row.subject: row.hit for row in home.alerts() if row.over_at is None}


def test_whatever_is_in_use_and_paused_for_long_is_told_of(home: HealingHome) -> None:
    """Each provider by itself, required or not; sites together, where a domain waits for them."""
    with home.ledger.database.read() as connection:
        domains = connection.execute(select(members.c.domain).limit(3)).scalars().all()
    home.wait_for(home.keys[:1], "breaker_open", not_before=home.clock.now() + 9_000)
    for endpoint in ("pdl", "rdap/rdap.nic.example", "of-another-chain"):
        _open(home, endpoint)
    for host in (domains[0], f"www.{domains[1]}", domains[2], "nobody.example"):
        _open(home, f"site/{host}")
    home.clock.advance(home.platform.settings.breaker_alert_after - 1)
    assert _pauses_told(home) == {}
    home.clock.advance(1)
    assert _pauses_told(home) == {"pdl": 1, "rdap/rdap.nic.example": 1, "sites": 2}
    home.settle(home.keys[:1])
    assert _pauses_told(home) == {"pdl": 1, "rdap/rdap.nic.example": 1}


# -- what brings nothing --------------------------------------------------------------------------


def _fail_one(home: HealingHome) -> bool:
    """Let one automatic run fail without bringing anything. Whether one was asked for."""
    home.clock.advance(LONGEST_COOL_DOWN_S + 1)
    plans = home.tick()
    for plan in plans:
        run = home.launched(plan, DagsterRunStatus.STARTED)
        home.instance.report_run_failed(run, "Steps failed.")
    return bool(plans)


def test_three_runs_that_bring_nothing_are_enough_and_people_are_told_once(
    home: HealingHome,
) -> None:
    home.ask(home.keys[:2])
    assert [_fail_one(home) for _ in range(5)] == [True] * MOST_FRUITLESS_RUNS + [False] * 2
    for _ in range(2):
        tell_of(home.platform, home.look().healing, {})
    assert [row.topic for row in home.alerts()] == [Topic.NO_PROGRESS]
    assert set(home.actions().values()) == {Action.GIVEN_UP}


def test_given_up_batches_are_healed_again_once_a_person_wants_them(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    while _fail_one(home):
        pass
    home.ledger.requests.ask_by_person(
        home.keys[:1], [SCRAPING], scope="person", now=home.clock.now()
    )
    assert _fail_one(home)


def test_given_up_batches_are_healed_again_by_new_code(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    while _fail_one(home):
        pass
    home.change_request(home.keys[0], code_version="of the code before")
    assert _fail_one(home)


def test_a_run_that_settles_something_begins_the_count_anew(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    for number in range(2 * MOST_FRUITLESS_RUNS):
        assert _fail_one(home), number
        home.set_work(home.keys[:1], rounds=number + 1)


def test_a_worker_that_dies_each_time_is_given_up_without_a_wait_in_between(
    home: HealingHome,
) -> None:
    home.ask(home.keys[:1])
    asked = 0
    for _ in range(MOST_FRUITLESS_RUNS + 2):
        for plan in home.tick():
            asked += 1
            run = home.launched(plan, DagsterRunStatus.STARTED)
            home.instance.report_run_failed(run, "Run process exited unexpectedly.")
    assert asked == MOST_FRUITLESS_RUNS


def test_a_run_that_is_asked_for_and_never_begins_is_asked_for_again_and_counts_nothing(
    home: HealingHome,
) -> None:
    """As when the daemon dies with the request in hand."""
    home.ask(home.keys[:1])
    for _ in range(2 * MOST_FRUITLESS_RUNS):
        assert len(home.tick()) == 1
        assert home.tick() == []
        home.clock.advance(COOL_DOWN_S + 1)
    assert home.request(home.keys[0]).attempts == 0


def test_a_worker_that_dies_with_its_domains_in_hand_each_time_cools_down_and_is_told_of(
    home: HealingHome,
) -> None:
    """As where the machine is too small: each death looks like progress, and settles nothing."""
    home.ask(home.keys[:1])
    for number in range(1, MOST_DEATHS + 1):
        (plan,) = home.tick()
        run = home.launched(plan, DagsterRunStatus.STARTED)
        home.set_work(home.keys[:1], deaths=number)
        home.instance.report_run_failed(run, "Run process exited unexpectedly.")
        found = home.look()
        tell_of(home.platform, found.healing, {})
        assert bool(home.alerts()) == (number == MOST_DEATHS)
    (verdict,) = found.healing.verdicts.values()
    assert (verdict.action, verdict.deaths) == (Action.WAIT, MOST_DEATHS)
    assert [row.topic for row in home.alerts()] == [Topic.NO_PROGRESS]
    home.clock.advance(COOL_DOWN_S + 1)
    assert len(home.tick()) == 1
    home.settle(home.keys[:1])
    tell_of(home.platform, home.look().healing, {})
    assert [row.over_at is None for row in home.alerts()] == [False]


def test_runs_that_are_stopped_each_time_are_given_up_as_well(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    home.wait_for(home.keys[:1], "cancelled")
    assert [_fail_one(home) for _ in range(5)] == [True] * MOST_FRUITLESS_RUNS + [False] * 2
    tell_of(home.platform, home.look().healing, {})
    assert [row.topic for row in home.alerts()] == [Topic.NO_PROGRESS]


@pytest.mark.parametrize(
    ("kind", "topic"),
    [
        ("breaker_open", Topic.BREAKER_OPEN),
        ("local_network", Topic.LOCAL_TROUBLE),
        ("store", Topic.LOCAL_TROUBLE),
    ],
)
def test_what_is_tried_for_ever_is_told_of_once(home: HealingHome, kind: str, topic: Topic) -> None:
    home.ask(home.keys[:1])
    home.wait_for(home.keys[:1], kind)
    for _ in range(MOST_FRUITLESS_RUNS + 2):
        assert _fail_one(home)
        tell_of(home.platform, home.look().healing, {})
    assert [row.topic for row in home.alerts()] == [topic]


# -- profiles and the directory -------------------------------------------------------------------


def test_profiles_are_built_when_a_batch_has_settled_and_the_directory_after_them(
    home: HealingHome,
) -> None:
    home.ask(home.keys[:2], FETCHING)
    for phase in FETCHING:
        home.finish(home.keys[:2], phase)
    (plan,) = home.tick()
    assert (plan.phase, plan.first, plan.last) == (PROFILES, home.keys[0], home.keys[1])
    assert home.tick() == []  # asked for once
    for key in home.keys[:2]:
        home.platform.profiles.build(key)
    home.record(home.keys[:2], PROFILES)
    found = home.look()
    assert (found.healing.plans, found.healing.is_directory_due) == ([], True)
    home.platform.directory.write()
    assert home.look().sentence == "everything requested is settled"


def _built(home: HealingHome, keys: Sequence[str]) -> None:
    for key in keys:
        home.platform.profiles.build(key)
    home.record(keys, PROFILES)


def test_a_look_counts_again_only_what_may_have_changed_though_profiles_stay_stale(
    home: HealingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.ask(home.keys, FETCHING)
    for phase in FETCHING:
        home.finish(home.keys, phase)
    _built(home, home.keys[1:])
    assert set(home.actions(PROFILES)) == {home.keys[0]}
    home.clock.advance(OVERLAP_S + 1)
    assert set(home.actions(PROFILES)) == {home.keys[0]}
    counted: list[str] = []
    count = ProfileBuilder.stale_fingerprints

    def counting(builder: ProfileBuilder, keys: Sequence[str]) -> dict[str, str]:
        counted.extend(keys)
        return count(builder, keys)

    monkeypatch.setattr(ProfileBuilder, "stale_fingerprints", counting)
    assert set(home.actions(PROFILES)) == {home.keys[0]}
    assert counted == []
    home.settle(home.keys[2:3])
    assert set(home.actions(PROFILES)) == {home.keys[0], home.keys[2]}
    assert counted == [home.keys[2]]
    _built(home, home.keys[:3])
    assert home.actions(PROFILES) == {}
    assert home.ledger.stale_profiles.all() == {}


def test_profiles_of_a_list_are_built_whose_domains_another_one_had_settled_long_ago(
    home: HealingHome,
) -> None:
    for phase in FETCHING:
        home.finish(home.keys[:1], phase)
    home.look()
    home.clock.advance(10 * OVERLAP_S)
    home.look()
    home.ask(home.keys[:1], FETCHING)
    assert home.actions(PROFILES) == {home.keys[0]: Action.RUN}


def test_profiles_wait_while_their_batch_is_being_worked_on(home: HealingHome) -> None:
    home.ask(home.keys[:1], FETCHING)
    home.finish(home.keys[:1], ENRICHMENT)
    home.run(home.keys[:1])
    assert home.actions(PROFILES) == {home.keys[0]: Action.IN_HAND}


def _stale_directory(home: HealingHome) -> None:
    home.ask(home.keys[:1], FETCHING)
    for phase in FETCHING:
        home.finish(home.keys[:1], phase)
    home.platform.profiles.build(home.keys[0])
    home.record(home.keys[:1], PROFILES)


def test_a_directory_that_cannot_be_written_is_given_up_and_told_of_once(home: HealingHome) -> None:
    _stale_directory(home)
    asked = 0
    for _ in range(MOST_FRUITLESS_RUNS + 2):
        home.clock.advance(LONGEST_COOL_DOWN_S + 1)
        if home.look().healing.is_directory_due:
            asked += 1
            tags = {VERSION_TAG: home.platform.directory.version()}
            run = home.run(asset=DIRECTORY, tags=tags)
            home.instance.report_run_failed(run, "Steps failed.")
    assert asked == MOST_FRUITLESS_RUNS
    for _ in range(2):
        tell_of(home.platform, home.look().healing, {})
    assert [(row.topic, row.subject) for row in home.alerts()] == [(Topic.NO_PROGRESS, DIRECTORY)]


def test_a_directory_run_that_failed_is_not_followed_by_one_at_every_tick(
    home: HealingHome,
) -> None:
    _stale_directory(home)
    request = (home.sensor_tick().run_requests or [])[0]
    assert request.job_name == "write_directory"
    run = home.run(asset=DIRECTORY, tags=request.tags)
    home.instance.report_run_failed(run, "Steps failed.")
    assert home.sensor_tick().run_requests == []


def test_a_cancelled_directory_run_is_left_until_there_are_new_profiles(home: HealingHome) -> None:
    _stale_directory(home)
    tags = {VERSION_TAG: home.platform.directory.version()}
    home.instance.report_run_canceled(home.run(asset=DIRECTORY, tags=tags))
    home.clock.advance(LONGEST_COOL_DOWN_S + 1)
    assert not home.look().healing.is_directory_due
    home.settle(home.keys[:1])
    home.platform.profiles.build(home.keys[0])
    assert not home.look().healing.is_directory_due  # they say the same as before
    home.settle(home.keys[:1])
    home.set_work(home.keys[:1], kind="gone", reason="It has moved to another name.")
    home.platform.profiles.build(home.keys[0])
    assert home.look().healing.is_directory_due


# -- Dagster's record -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_failed", [True, False], ids=["failed", "missing"])
def test_what_is_settled_is_put_right_in_dagster_without_a_run(
    home: HealingHome, is_failed: bool
) -> None:
    home.ask(home.keys[:2])
    if is_failed:
        home.instance.report_run_failed(home.run(home.keys[:2]), "Steps failed.")
    home.settle(home.keys[:2])
    runs = home.instance.get_runs_count()
    found = home.look()
    assert sorted(found.mended) == [(SCRAPING, key) for key in home.keys[:2]]
    assert home.instance.get_runs_count() == runs
    assert DagsterState(home.instance).recorded(PAGES) == frozenset(home.keys[:2])
    record = home.instance.fetch_materializations(AssetKey(PAGES), limit=1).records[0]
    tags = record.asset_materialization.tags
    assert {"dagster/data_version", "dagster/code_version"} <= set(tags)
    again = home.look()
    assert (again.mended, [p for p in again.healing.plans if p.phase is SCRAPING]) == ([], [])


def test_what_is_settled_is_put_right_though_a_refresh_of_it_still_waits(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    home.settle(home.keys[:1])
    home.set_work(home.keys[:1], refresh_asked=1, not_before=home.clock.now() + 100)
    home.note_attempt(home.keys[:1], "timeout", SCRAPING)
    home.instance.report_run_failed(home.run(home.keys[:1]), "Steps failed.")
    assert home.look().mended == [(SCRAPING, home.keys[0])]
    assert home.actions() == {home.keys[0]: Action.WAIT}


def test_a_batch_whose_record_cannot_be_put_right_keeps_no_other_one_from_it(
    home: HealingHome,
) -> None:
    home.ask(home.keys[:3])
    home.settle(home.keys[:3])
    in_the_way = home.platform.store.root / PAGES / f"{home.keys[1]}.parquet" / "not a file"
    in_the_way.mkdir(parents=True)
    found = home.look()
    assert sorted(found.mended) == [(SCRAPING, home.keys[0]), (SCRAPING, home.keys[2])]
    (fault,) = found.faults
    assert home.keys[1] in fault.sentence
    assert "1 could not be looked after" in found.sentence
    for _ in range(2):
        tell(home.platform, found)
    assert [(row.topic, row.subject) for row in home.alerts()] == [
        (Topic.NOT_LOOKED_AFTER, f"{home.keys[1]} in {SCRAPING}")
    ]
    shutil.rmtree(in_the_way.parent)
    home.clock.advance(60)
    tell(home.platform, home.look())
    assert [row.over_at is None for row in home.alerts()] == [False]


def test_partitions_that_dagster_does_not_know_are_added_first(home: HealingHome) -> None:
    home.ask(home.keys)
    for key in home.keys[2:]:
        home.instance.delete_dynamic_partition(str(BATCHES.name), key)
    assert ranges(home.tick()) == [(home.keys[0], home.keys[-1])]
    assert list(home.instance.get_dynamic_partitions(str(BATCHES.name))) == home.keys


# -- advice ---------------------------------------------------------------------------------------


def test_switched_off_it_says_what_it_would_do_and_changes_nothing(
    home: HealingHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_ENABLE_AUTO_RECOVERY", "false")
    home.ask(home.keys[:3])
    home.settle(home.keys[2:3])
    run = home.run(home.keys[:1], tags={"pipeline/process": "elsewhere/boot/1/0.0"})
    home.instance.delete_dynamic_partition(str(BATCHES.name), home.keys[5])
    found = home.sensor_tick()
    assert found.run_requests == []
    assert "runs would be asked for" in (found.skip_message or "")
    assert "1 would be put right in Dagster" in (found.skip_message or "")
    assert home.status_of(run) is DagsterRunStatus.STARTED
    assert home.request(home.keys[1]).launched_at is None
    assert DagsterState(home.instance).recorded(PAGES) == frozenset()
    assert home.keys[5] not in home.instance.get_dynamic_partitions(str(BATCHES.name))


def test_advice_tells_what_follows_once_dead_runs_are_closed(home: HealingHome) -> None:
    home.ask(home.keys[:1])
    run = home.run(home.keys[:1])
    assert home.look(is_advice=True).healing.plans == []
    assert len(home.look(is_advice=True, dead=[run.run_id]).healing.plans) == 1


# -- what it costs --------------------------------------------------------------------------------


class CountingInstance:
    """Counts what is asked of an instance, and hands it on."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name == "get_status_by_partition":
            return self._status
        return getattr(self._instance, name)

    def _status(self, key: AssetKey, *arguments: Any) -> Any:
        self.asked[key.path[-1]] += 1
        return self._instance.get_status_by_partition(key, *arguments)


def test_one_look_asks_for_the_status_of_each_asset_once(home: HealingHome) -> None:
    home.ask(home.keys, FETCHING)
    home.settle(home.keys[:3])
    counting = CountingInstance(home.instance)
    seen = DagsterState(counting).seen()  # type: ignore[arg-type]
    Healer(home.platform).look(seen, home.clock.now())
    assert counting.asked == {ASSET_OF[phase]: 1 for phase in Phase}


assert company_profiles.key.path[-1] == ASSET_OF[PROFILES]
