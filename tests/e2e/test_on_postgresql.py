"""Ledger and Dagster's records on PostgreSQL by one URL, also when its server is restarted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from resources.adapters.ledger.database import Database
from tests.campaigns.healing_servers import Part, Servers
from tests.campaigns.healing_waits import until
from tests.support.dagster_view import instance_of, materialized, partitions, statuses
from tests.support.postgres import PostgresServer, postgres
from tests.support.processes import Sandbox, pipeline, sandbox, write_list

DOMAINS = [f"company-{number:03}.example" for number in range(12)]
ASSETS = ("domain_batches", "enriched_companies", "scraped_pages", "company_profiles")
PASSWORD = "correct-horse"
BACK_S = 60.0
# Webserver, daemon, code server, its sensors and runs, and the supervisor. A server allows 100.
MOST_CONNECTIONS = 40
SERVERS = (Part.WEBSERVER, Part.DAEMON, Part.CODE_SERVER)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres() as one:
        yield one


@pytest.fixture(scope="module")
def internet() -> Iterator[Sandbox]:
    with sandbox() as one:
        yield one


def _url(server: PostgresServer) -> str:
    # As people write it: without the name of a driver.
    return server.url("postgres", PASSWORD).replace("postgresql+psycopg2://", "postgresql://")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("postgresql") / "home"


def test_a_run_keeps_everything_but_its_artifacts_in_the_database(
    server: PostgresServer, internet: Sandbox, home: Path
) -> None:
    url = _url(server)
    source = write_list(home.parent / "dozen.csv", DOMAINS)
    arguments = ("run", str(source), "--sandbox-url", internet.url, "--batch-size", "5", "--json")
    done = pipeline(*arguments, home=home, PIPELINE_DATABASE_URL=url)
    assert done.code == 0, done.err
    assert done.json["batches"] == {"total": 3, "settled": 3, "unsettled": 0}
    assert Path(done.json["outputs"]["parquet"]).stat().st_size > 0
    assert PASSWORD not in done.out + done.err

    place = home / "sandbox"
    assert not list(place.glob("*.db"))
    assert not (place / "history").exists()
    keys = partitions(place, url)
    assert len(keys) == 3
    for asset in ASSETS:
        assert set(statuses(place, asset, keys, url).values()) == {"MATERIALIZED"}
        assert sorted(set(materialized(place, asset, url))) == sorted(keys)

    said = pipeline("status", "--sandbox", "--json", home=home, PIPELINE_DATABASE_URL=url)
    assert said.code == 0, said.err
    assert "dozen" in said.out


def _connections(url: str) -> int:
    database = Database(url)
    try:
        with database.read() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            return int(connection.execute(text(query)).scalar_one())
    finally:
        database.close()


def _pids(servers: Servers) -> dict[Part, list[int]]:
    members = servers.members()
    return {part: sorted(each.pid for each in members.get(part, [])) for part in SERVERS}


def _beat_at(home: Path, url: str) -> float:
    with instance_of(home, url) as instance:
        return max(beat.timestamp for beat in instance.get_daemon_heartbeats().values())


@pytest.mark.slow
def test_servers_outlive_a_restart_of_their_database(
    server: PostgresServer, internet: Sandbox, home: Path
) -> None:
    url, place = _url(server), home / "sandbox"
    settings = {**internet.settings, "PIPELINE_DATABASE_URL": url}
    servers = Servers(place, home.parent / "servers.log", settings)
    try:
        servers.start()
        servers.dagster.launch("enrich_companies", partitions(place, url))
        until(lambda: _all_ended(servers), BACK_S, "the first run has ended")
        before = _pids(servers)
        assert _connections(url) <= MOST_CONNECTIONS

        server.stop()
        server.start()
        back_at = time.time()
        until(servers.dagster.is_loaded, BACK_S, "the webserver answers")
        until(lambda: _beat_at(place, url) > back_at, BACK_S, "the daemon beats again")
        until(lambda: max(servers.dagster.ticks()) > back_at, 2 * BACK_S, "a sensor ticks again")
        run_id = servers.dagster.launch("scrape_pages", partitions(place, url))
        until(lambda: servers.dagster.run(run_id).status == "SUCCESS", BACK_S, "a run is executed")
        assert _pids(servers) == before
        commands = [part.cmdline() for many in servers.members().values() for part in many]
        assert PASSWORD not in str(commands)
        assert PASSWORD not in servers.log.read_text()
    finally:
        servers.end()
    assert not psutil.pid_exists(before[Part.DAEMON][0])


def _all_ended(servers: Servers) -> bool:
    runs = servers.dagster.runs()
    return bool(runs) and not any(run.is_under_way for run in runs)
