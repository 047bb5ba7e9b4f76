"""The watch on the watchers: a silent sensor is told, and so is a ledger that is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_assets.commands.watchman import LOOK_S, Watchman
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
