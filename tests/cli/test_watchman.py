"""The watch on the watchers: a silent sensor is told, and so is a ledger that is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._utils.error import SerializableErrorInfo

from pipeline_assets.commands.watchman import LOOK_S, Watchman
from pipeline_assets.instance import open_instance
from resources.core.config import Settings, load_settings
from resources.ledger_outage import ALERT_AFTER_S
from resources.platform import Platform
from resources.sensor_watch import expected_sensors
from tests.support.postgres import postgres
from tests.support.time import NOW, ManualClock
from tests.support.webhook import Webhook, webhook

EXPECTED = {"heal_batches": 60.0, "new_domains": 30.0}


class Scene:
    """A home whose sensors tick or not, somebody who watches, and a channel that is told."""

    def __init__(self, settings: Settings, hook: Webhook) -> None:
        self.settings = settings
        self.hook = hook
        self.clock = ManualClock(NOW)
        self.said: list[str] = []
        self.watchman = Watchman(settings, EXPECTED, self.said.append, self.clock)

    def pass_time(self, seconds: float, *ticking: str) -> None:
        """Let time go by, with a look every half minute; who ticks does so before each look."""
        for _ in range(round(seconds / LOOK_S)):
            self.clock.advance(LOOK_S)
            self.tick(*ticking)
            self.watchman.look()

    def tick(self, *names: str) -> None:
        if names:
            with Platform.opened(self.settings) as platform:
                for name in names:
                    platform.ledger.ticks.note(name, EXPECTED[name], "all well", self.clock.now())


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as one:
        yield one


@pytest.fixture
def scene(tmp_path: Path, hook: Webhook) -> Scene:
    settings = load_settings(home=tmp_path, alert_urls=(hook.url(),), alert_interval=60)
    return Scene(settings, hook)


def test_while_all_tick_nobody_is_told_anything(scene: Scene) -> None:
    scene.pass_time(600, *EXPECTED)
    assert scene.hook.taken == []
    assert scene.said == []


def test_a_silent_sensor_is_one_alert_and_one_when_it_ticks_again(scene: Scene) -> None:
    scene.pass_time(120, *EXPECTED)
    scene.pass_time(600, "new_domains")
    (told,) = scene.hook.taken
    assert "heal_batches" in told.body
    assert "new_domains" not in told.body
    assert len(scene.said) == 1
    scene.pass_time(120, *EXPECTED)
    assert len(scene.hook.taken) == 2
    assert "heal_batches" in scene.hook.taken[1].body


def test_a_daemon_that_stands_still_is_one_alert_for_all_its_sensors(scene: Scene) -> None:
    scene.pass_time(120, *EXPECTED)
    scene.pass_time(900)
    (told,) = scene.hook.taken
    assert "The daemon is silent" in told.body
    (sentence,) = scene.said
    assert sentence.startswith("The daemon is silent: no sensor has ticked")


def test_a_daemon_that_never_ticked_since_we_watch_is_told_too(scene: Scene) -> None:
    scene.pass_time(900)
    assert len(scene.hook.taken) == 1


def test_a_machine_that_slept_raises_no_alarm(scene: Scene) -> None:
    scene.pass_time(120, *EXPECTED)
    scene.clock.advance(8 * 3600)
    scene.pass_time(60)
    scene.pass_time(600, *EXPECTED)
    assert scene.hook.taken == []


def test_our_sensors_are_the_expected_ones(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, stuck_after=20, recovery_interval=300, heal_interval=7)
    assert expected_sensors(settings) == {
        "new_domains": 30.0,
        "heal_batches": 7.0,
        "stuck_runs": 10.0,
    }


def test_a_database_that_is_away_for_long_is_told_and_that_it_is_back(
    tmp_path: Path, hook: Webhook
) -> None:
    with postgres() as server:
        settings = load_settings(
            home=tmp_path, alert_urls=(hook.url(),), database_url=server.url("postgres")
        )
        scene = Scene(settings, hook)
        scene.pass_time(60, *EXPECTED)
        server.stop()
        scene.pass_time(ALERT_AFTER_S - LOOK_S)
        assert hook.taken == []
        scene.pass_time(300)
        (told,) = hook.taken
        assert "The ledger cannot be used" in told.body
        assert len(scene.said) == 1
        server.start()
        scene.pass_time(300, *EXPECTED)
        assert len(hook.taken) == 2
        assert hook.taken[1].tone == "success"
        assert len(scene.said) == 1


def _note_ticks(settings: Settings, name: str, *statuses: TickStatus, at: float) -> None:
    """Let Dagster know a sensor, and ticks of it that ended so, the newest last."""
    with open_instance(settings) as instance:
        origin = RemoteInstigatorOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("pipeline"), "__repository__"), name
        )
        state = InstigatorState(
            origin,
            InstigatorType.SENSOR,
            InstigatorStatus.DECLARED_IN_CODE,
            SensorInstigatorData(last_tick_timestamp=at, last_tick_start_timestamp=at),
        )
        if instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
            instance.add_instigator_state(state)
        error = SerializableErrorInfo("Took too long\n", [], "DagsterUserCodeUnreachableError")
        for place, status in enumerate(statuses):
            instance.create_tick(
                TickData(
                    instigator_origin_id=state.instigator_origin_id,
                    instigator_name=name,
                    instigator_type=InstigatorType.SENSOR,
                    status=status,
                    timestamp=at + place,
                    selector_id=state.selector_id,
                    run_ids=[],
                    error=error if status is TickStatus.FAILURE else None,
                )
            )


def test_a_sensor_that_fails_is_told_as_failing_and_when_it_does_no_more(scene: Scene) -> None:
    scene.pass_time(60, *EXPECTED)
    _note_ticks(scene.settings, "heal_batches", TickStatus.FAILURE, at=scene.clock.now())
    scene.pass_time(30, *EXPECTED)
    assert scene.hook.taken == [], "one alone is none"
    _note_ticks(scene.settings, "heal_batches", TickStatus.FAILURE, at=scene.clock.now())
    scene.pass_time(300, "new_domains")
    (told,) = scene.hook.taken
    assert told.title == "pipeline: a sensor fails: heal_batches"
    assert "fails at each tick: Took too long" in told.body
    _note_ticks(scene.settings, "heal_batches", TickStatus.SUCCESS, at=scene.clock.now())
    scene.pass_time(60, *EXPECTED)
    assert scene.hook.titles[1:] == ["pipeline: over: a sensor fails: heal_batches"]


def test_a_clock_that_was_put_back_holds_up_no_sensor(scene: Scene) -> None:
    ahead = NOW + 3_600
    _note_ticks(scene.settings, "heal_batches", TickStatus.SUCCESS, at=ahead)
    with Platform.opened(scene.settings) as platform:
        for name, interval_s in EXPECTED.items():
            platform.ledger.ticks.note(name, interval_s, "all well", ahead)
    scene.watchman.look()
    with open_instance(scene.settings) as instance:
        (state,) = instance.all_instigator_state()
        data = state.instigator_data
        assert isinstance(data, SensorInstigatorData)
        assert data.last_tick_start_timestamp is None
        assert data.last_tick_timestamp is None
    scene.pass_time(240)
    assert len(scene.hook.taken) == 1, "a tick that is to come proves nothing"


def test_a_watch_that_fails_says_so_and_goes_on(scene: Scene) -> None:
    scene.pass_time(60, *EXPECTED)
    with Platform.opened(scene.settings) as platform:
        platform.ledger.ticks.note("heal_batches", 60.0, "all well", scene.clock.now())
    scene.watchman._expected["heal_batches"] = None  # type: ignore[assignment]  # breaks the look
    for _ in range(3):
        scene.watchman.look_whatever_happens()
    (said,) = scene.said
    assert said.startswith("The watch on the sensors failed (TypeError")
    scene.watchman._expected["heal_batches"] = 60.0
    scene.clock.advance(LOOK_S)
    scene.watchman.look_whatever_happens()
    assert len(scene.said) == 1
