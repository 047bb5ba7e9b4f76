"""doctor and status say which alert channel nobody hears anything through."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from resources.alerts import tell
from resources.core.alerting import Topic, Trouble
from resources.core.config import load_settings
from resources.platform import Platform
from tests.support.webhook import webhook

from .conftest import Pipeline

AWAY = Trouble(Topic.BREAKER_OPEN, "pdl", "Calls to pdl are paused.")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _checks(pipeline: Pipeline, urls: str = "") -> list[tuple[str, str]]:
    checks = pipeline("doctor", "--json", env={"PIPELINE_ALERT_URLS": urls}).json["checks"]
    return [(one["level"], one["found"]) for one in checks if one["name"] == "alerts"]


def test_without_a_channel_doctor_says_that_nobody_is_told(pipeline: Pipeline) -> None:
    ((level, found),) = _checks(pipeline)
    assert level == "warn"
    assert "No channel is set" in found


def test_a_channel_that_fails_is_seen_in_doctor_and_status_until_it_takes_a_message(
    pipeline: Pipeline, home: Path
) -> None:
    with webhook() as hook, Platform.opened(load_settings(home=home)) as platform:
        urls = f"{hook.url()},slakc://a/b"
        settings = load_settings(home=home, alert_urls=(hook.url(), "slakc://a/b"))
        hook.status = 503
        tell(platform.ledger, settings, [AWAY], [], time.time() - 300)
        unusable, failing = _checks(pipeline, urls)
        assert unusable[0] == failing[0] == "fail"
        assert "slakc:// (2 of 2 in PIPELINE_ALERT_URLS) is no address" in unusable[1]
        assert "Alerts to json:// (1 of 2 in PIPELINE_ALERT_URLS) could not be sent" in failing[1]
        assert "5 min ago" in failing[1]
        status = pipeline("status", "--json").json["healing"]
        assert [one["channel"][:7] for one in status["alert_channels_failing"]] == [
            "json://",
            "slakc:/",
        ]
        assert "could not be sent" in pipeline("status").out
        hook.status = 200
        tell(platform.ledger, settings, [AWAY], [], time.time())
        assert [level for level, _ in _checks(pipeline, urls)] == ["fail", "ok"]
