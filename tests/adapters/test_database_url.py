"""PIPELINE_DATABASE_URL: how it is read, and that a password in it is never shown."""

from __future__ import annotations

import pytest

from resources.adapters.database_url import is_postgres, read_url, with_patience
from resources.core.errors import UsageError

PASSWORD = "correct-horse"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_postgresql_gets_the_driver_that_is_installed(scheme: str) -> None:
    url = read_url(f"{scheme}://me:{PASSWORD}@db.example:5433/pipeline?sslmode=require")
    assert url.drivername == "postgresql+psycopg2"
    assert is_postgres(url)
    assert (url.host, url.port, url.database, url.password) == (
        "db.example",
        5433,
        "pipeline",
        PASSWORD,
    )
    assert url.query == {"sslmode": "require"}


def test_sqlite_stays_sqlite() -> None:
    url = read_url("sqlite:////tmp/ledger.db")
    assert not is_postgres(url)
    assert with_patience(url, "a program") == url


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "",
        f"postgresql://me:{PASSWORD}@host:port/db",
        f"mysql://me:{PASSWORD}@host/db",
        f"postgresql+nosuch://me:{PASSWORD}@host/db",
        f"nosuch://me:{PASSWORD}@host/db",
    ],
)
def test_what_is_no_database_of_ours_is_one_sentence_without_the_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_url(text)
    said = str(caught.value)
    assert said.startswith("PIPELINE_DATABASE_URL cannot be used: ")
    assert PASSWORD not in said
    assert caught.value.__suppress_context__


def test_patience_ends_and_what_the_url_says_itself_counts() -> None:
    url = read_url("postgresql://host/db?connect_timeout=3")
    patient = with_patience(url, "a program")
    assert patient.query["connect_timeout"] == "3"
    assert int(patient.query["keepalives_idle"]) > 0
    assert patient.query["application_name"] == "a program"
