"""What a person reads when records can't be written: what, where, what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from pipeline_assets.commands.storage_trouble import sentence
from resources.core.config import Settings
from resources.core.redaction import remember

URL = "postgresql+psycopg2://me:correct-horse@db.example/ledger"


def _said(error: BaseException, settings: Settings) -> str:
    wrapped = OperationalError("INSERT INTO work VALUES (?)", {"secret": "row"}, error)
    remember(settings.secrets())
    return sentence(settings, wrapped)


@pytest.mark.parametrize(
    ("driver_says", "said"),
    [
        ("database is locked", "Another process has held the records in {home}"),
        ("unable to open database file", "could not be read or written: unable to open"),
    ],
)
def test_trouble_with_the_records_names_their_folder(
    tmp_path: Path, driver_says: str, said: str
) -> None:
    words = _said(sqlite3.OperationalError(driver_says), Settings(home=tmp_path))
    assert said.format(home=tmp_path) in words
    assert str(tmp_path) in words
    assert "same command goes on" in words
    assert "INSERT" not in words


def test_a_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=SecretStr(URL))
    error = psycopg2.OperationalError(
        "connection refused (correct-horse)\n\tIs the server running?"
    )
    words = _said(error, settings)
    assert words.startswith("The database postgresql+psycopg2://me:***@db.example/ledger went away")
    assert "correct-horse" not in words
    assert "\n" not in words


def test_dagsters_own_records_stay_in_the_folder_also_beside_a_server(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=SecretStr(URL))
    words = _said(sqlite3.OperationalError("disk I/O error"), settings)
    assert words.startswith(f"The records in {tmp_path} could not be read or written")
