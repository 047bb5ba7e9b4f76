"""Settings: where they come from, what is refused, and what is said then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from resources.core.config import PREFIX, Settings, load_settings
from resources.core.errors import UsageError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIPELINE_CONFIG", str(tmp_path / "pipeline.toml"))


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        yield prefix + name, info
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation, f"{prefix}{name}.")


@pytest.mark.parametrize("field", list(_fields(Settings)), ids=lambda field: field[0])
def test_every_setting_says_what_it_means(field: tuple[str, FieldInfo]) -> None:
    assert field[1].description
    assert field[1].description.endswith(".")


def test_defaults_are_those_of_the_design() -> None:
    settings = load_settings()
    assert {
        "batch_size": settings.batch_size,
        "phase_timeout": settings.phase_timeout,
        "max_retries": settings.max_retries,
        "max_rounds": settings.max_rounds,
        "retry_backoff_base": settings.retry_backoff_base,
        "checkpoint_interval": settings.checkpoint_interval,
    } == {
        "batch_size": 50,
        "phase_timeout": 3600,
        "max_retries": 3,
        "max_rounds": 8,
        "retry_backoff_base": 60,
        "checkpoint_interval": 100,
    }
    assert settings.is_live
    assert settings.fetch.allow_networks == ()


def test_the_environment_goes_before_the_file_and_arguments_before_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").write_text(
        "batch_size = 10\nmax_rounds = 4\nlease = 30\n[fetch]\nattempts = 2\nports = [80, 8080]\n"
    )
    monkeypatch.setenv("PIPELINE_MAX_ROUNDS", "5")
    monkeypatch.setenv("PIPELINE_LEASE", "20")
    monkeypatch.setenv("PIPELINE_FETCH__MAX_REDIRECTS", "1")
    settings = load_settings(lease=10)
    assert (settings.batch_size, settings.max_rounds, settings.lease) == (10, 5, 10)
    assert (settings.fetch.attempts, settings.fetch.max_redirects) == (2, 1)
    assert settings.fetch.ports == (80, 8080)


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_FETCH__ALLOW_NETWORKS", "127.0.0.0/8, fd00::/64,")
    monkeypatch.setenv("PIPELINE_FETCH__PORTS", "80,8080")
    monkeypatch.setenv("PIPELINE_CHAIN", "rdap, pdl")
    settings = load_settings()
    assert settings.fetch.allow_networks == ("127.0.0.0/8", "fd00::/64")
    assert settings.fetch.ports == (80, 8080)
    assert settings.chain == ("rdap", "pdl")


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("BATCH_SIZE", "0", "greater than or equal to 1"),
        ("BATCH_SIZE", "many", "integer"),
        ("PHASE_TIMEOUT", "0", "greater than 0"),
        ("PHASE_TIMEOUT", "inf", "finite"),
        ("MAX_CREDITS", "-1", "greater than or equal to 0"),
        ("MAX_CREDITS", "nan", "finite"),
        ("FETCH__TOTAL_TIMEOUT", "nan", "finite"),
        ("LEASE", "1", "greater than or equal to 3"),
        ("FETCH__CONNECT_TO", "localhost", "host:port"),
        ("FETCH__CONNECT_TO", "localhost:99999", "host:port"),
        ("FETCH__ALLOW_NETWORKS", "127.0.0.1/8", "10.0.0.0/8"),
        ("FETCH__ALLOW_NETWORKS", "loopback", "10.0.0.0/8"),
        ("FETCH__PORTS", "80,http", "integer"),
        ("FETCH__PORTS", "0", "greater than or equal to 1"),
        ("PROVIDERS__PDL__CONCURRENCY", "0", "greater than or equal to 1"),
        ("PROVIDERS__PDL__IS_REQUIRED", "perhaps", "boolean"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable_and_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert PREFIX + name in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("BATCHSIZE", "BATCHSIZE"),
        ("FETCH_CONNECT_TO", "FETCH_CONNECT_TO"),
        ("FETCH__TIMEOUT", "FETCH__TIMEOUT"),
        ("PROVIDERS__PDI__API_KEY", "PROVIDERS__PDI"),
    ],
)
def test_an_unknown_variable_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, named: str
) -> None:
    monkeypatch.setenv(PREFIX + name, "5")
    with pytest.raises(UsageError, match=f"{PREFIX}{named}: no such"):
        load_settings()


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text("[fetch]\ntimeout = 5\n")
    with pytest.raises(UsageError, match="PIPELINE_FETCH__TIMEOUT: no such setting"):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text("batch_size = = 5")
    with pytest.raises(UsageError, match=r"pipeline\.toml"):
        load_settings()


def test_a_refused_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PROVIDERS__PDL", '{"api_key": ["sup3r-s3cret"]}')
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert "sup3r-s3cret" not in str(caught.value)


def test_secrets_are_listed_for_the_filter_and_hidden_in_print(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_PROVIDERS__PDL__API_KEY", "pdl-key-1")
    monkeypatch.setenv("PIPELINE_DATABASE_URL", "postgresql://me:p%40ssword@db/ledger")
    settings = load_settings()
    assert {"pdl-key-1", "p%40ssword"} <= set(settings.secrets())
    assert "pdl-key-1" not in repr(settings)
    assert "p%40ssword" not in repr(settings)


def test_the_home_is_absolute_and_holds_the_ledger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_HOME", "somewhere")
    settings = load_settings()
    assert settings.home == tmp_path / "somewhere"
    assert settings.ledger_url == f"sqlite:///{tmp_path}/somewhere/ledger.db"


def test_a_database_url_goes_before_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_DATABASE_URL", "postgresql://db/ledger")
    assert load_settings().ledger_url == "postgresql://db/ledger"


def test_one_address_for_everything_makes_another_internet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().internet == "live"
    monkeypatch.setenv("PIPELINE_FETCH__CONNECT_TO", "127.0.0.1:8080")
    settings = load_settings()
    assert (settings.is_live, settings.internet) == (False, "connect_to")


def test_settings_do_not_change_once_read() -> None:
    from pydantic import ValidationError

    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.batch_size = 1
