"""What stands open, and whether sites can see who fetches from them: shown, and asked for."""

from __future__ import annotations

import io
import os

import pytest

from pipeline_assets.commands.doctor_checks import _doors
from pipeline_assets.commands.run import _ask_for_contact
from resources.core.config import load_settings
from resources.core.errors import UsageError


class Terminal(io.StringIO):
    """Somebody sits there and types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIPELINE_FETCH__")]:
        monkeypatch.delenv(name)
    # What the command sets is taken back afterwards.
    monkeypatch.setenv("PIPELINE_FETCH__CONTACT", "")
    monkeypatch.delenv("PIPELINE_FETCH__CONTACT")


def _said(**settings: object) -> str:
    return "\n".join(check.found for check in _doors(load_settings(**settings)))


def test_without_any_opened_door_doctor_says_that_all_are_closed() -> None:
    assert _said(fetch={"contact": "me@acme.example"}) == (
        "closed: only public addresses are fetched from"
    )


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"fetch": {"connect_to": "127.0.0.1:8080"}}, "127.0.0.1:8080"),
        ({"fetch": {"allow_networks": ["10.0.0.0/8"]}}, "10.0.0.0/8"),
        ({"fetch": {"ports": [80, 443, 8443]}}, "8443"),
        ({"alert_urls": ["json://10.0.0.7/hook"]}, "10.0.0.7/32"),
        ({"alert_allow_networks": ["10.9.0.0/16"], "alert_urls": ["json://a.example"]}, "10.9.0.0"),
    ],
)
def test_every_door_that_is_opened_is_shown(settings: dict[str, object], shown: str) -> None:
    assert shown in _said(**settings)


def test_a_live_run_says_that_nobody_can_see_who_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    _ask_for_contact(load_settings())
    assert "PIPELINE_FETCH__CONTACT" in capsys.readouterr().err
    _ask_for_contact(load_settings(fetch={"contact": "me@acme.example"}))
    _ask_for_contact(load_settings(fetch={"connect_to": "127.0.0.1:8080"}))
    assert capsys.readouterr().err == ""


def test_at_a_terminal_it_asks_and_goes_by_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("https://acme.example/bot\n"))
    _ask_for_contact(load_settings())
    assert load_settings().fetch.contact == "https://acme.example/bot"


def test_at_a_terminal_nobody_need_say_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    _ask_for_contact(load_settings())
    assert load_settings().fetch.contact is None


@pytest.mark.parametrize(
    "contact",
    [
        "",
        "me",
        "x\r\nCookie: a=b",
        "me@acme.example\n",
        "ftp://acme.example",
        "https://a b",
        "(x@y)z",
    ],
)
def test_what_is_no_contact_is_refused_and_gets_into_no_header(contact: str) -> None:
    with pytest.raises(UsageError, match="e-mail address"):
        load_settings(fetch={"contact": contact})
