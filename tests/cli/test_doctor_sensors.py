"""doctor says whether what heals by itself ticks, where it has run before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from resources.core.config import load_settings
from resources.platform import Platform

from .conftest import Pipeline

TICKS = {"heal_batches": 60.0, "new_domains": 30.0, "stuck_runs": 300.0}


def _check(pipeline: Pipeline, home: Path, ago_s: dict[str, float]) -> dict[str, str]:
    now = time.time()
    with Platform.opened(load_settings(home=home)) as platform:
        for name, seconds in ago_s.items():
            # The daemon has been there for long.
            for ago in (90_000.0, seconds):
                platform.ledger.ticks.note(name, TICKS[name], "all well", now - ago)
    checks = pipeline("doctor", "--json").json["checks"]
    return next(check for check in checks if check["name"] == "sensors")


def test_where_no_daemon_has_run_none_is_missed(pipeline: Pipeline, home: Path) -> None:
    found = _check(pipeline, home, {})
    assert found["level"] == "ok"
    assert "none has ticked here yet" in found["found"]


@pytest.mark.parametrize(
    ("ago_s", "level", "words"),
    [
        (dict.fromkeys(TICKS, 5.0), "ok", "heal_batches, new_domains, stuck_runs tick"),
        ({**dict.fromkeys(TICKS, 5.0), "heal_batches": 9000.0}, "fail", "Silent: heal_batches"),
        (
            {"new_domains": 5.0, "stuck_runs": 5.0},
            "fail",
            "Silent: heal_batches (has never ticked); the daemon ticks others.",
        ),
        (dict.fromkeys(TICKS, 9000.0), "warn", "no sensor has ticked for 3 h"),
    ],
    ids=["all tick", "one is silent", "one has never ticked", "the daemon is silent"],
)
def test_a_daemon_that_was_expected_and_has_not_ticked_is_named(
    pipeline: Pipeline, home: Path, ago_s: dict[str, float], level: str, words: str
) -> None:
    found = _check(pipeline, home, ago_s)
    assert found["level"] == level
    assert words in found["found"]
    assert bool(found["advice"]) == (level != "ok")


def test_status_names_one_that_has_never_ticked(pipeline: Pipeline, home: Path) -> None:
    _check(pipeline, home, {"new_domains": 5.0, "stuck_runs": 5.0})
    sensors = {one["name"]: one for one in pipeline("status", "--json").json["healing"]["sensors"]}
    assert {name for name, one in sensors.items() if one["is_silent"]} == {"heal_batches"}
    assert sensors["heal_batches"]["last_tick_at"] is None
    assert "heal_batches silent: has never ticked here" in pipeline("status").out
