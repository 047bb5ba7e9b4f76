"""One ledger per test, on each database there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.adapters.ledger.ledger import Ledger
from tests.support.ledgers import empty, new_database, open_at, postgres_server, sqlite_url
from tests.support.places import Place, place_at

DATABASES = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def _postgres_ledger(server: str) -> Iterator[Ledger]:
    with new_database(server, "contract") as url:
        ledger = open_at(url)
        yield ledger
        ledger.close()


@pytest.fixture(params=DATABASES)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    if request.param == "sqlite":
        ledger = open_at(sqlite_url(tmp_path))
        yield ledger
        ledger.close()
        return
    ledger = request.getfixturevalue("_postgres_ledger")
    empty(ledger)
    yield ledger


@pytest.fixture(params=DATABASES)
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    server = request.getfixturevalue("server")
    with new_database(server, "fresh") as url:
        yield url


@pytest.fixture
def second(ledger: Ledger) -> Iterator[Ledger]:
    """The same ledger, as another process sees it."""
    url = ledger.database.url.render_as_string(hide_password=False)
    other = open_at(url)
    yield other
    other.close()


@pytest.fixture(scope="module", params=["memory", *DATABASES])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Where several workers keep what they share; what it hands out is empty each time."""
    if request.param == "memory":
        yield Place([])
    elif request.param == "sqlite":
        with place_at(sqlite_url(tmp_path_factory.mktemp("place"))) as place:
            yield place
    else:
        server = request.getfixturevalue("server")
        with new_database(server, "place") as url, place_at(url) as place:
            yield place
