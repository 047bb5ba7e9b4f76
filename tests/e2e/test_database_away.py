"""A PostgreSQL ledger that goes away in mid-run, and comes back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from resources.adapters.ledger.database import Database
from tests.support.postgres import PostgresServer, postgres
from tests.support.processes import Sandbox, pipeline, sandbox, started_pipeline, write_list

DOMAINS = [f"company-{number:03}.example" for number in range(60)]
SLOW = '[[fault]]\nkind = "latency"\nseconds = 0.2\n'
PASSWORD = "correct-horse"


@dataclass(frozen=True)
class Scene:
    """A list, an internet, and a ledger on a server of its own."""

    folder: Path
    internet: Sandbox
    server: PostgresServer

    @property
    def url(self) -> str:
        return self.server.url("ledger", PASSWORD)

    @property
    def arguments(self) -> tuple[str, ...]:
        source = write_list(self.folder / "list.csv", DOMAINS)
        return ("run", str(source), "--sandbox-url", self.internet.url, "--batch-size", "10")

    def query(self, query: str) -> list[tuple[object, ...]]:
        database = Database(self.url)
        try:
            with database.read() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            database.close()

    def wait_until_settled(self, process: subprocess.Popen[str], phase: str, count: int) -> None:
        query = f"""select count(*) from work
                    where phase = '{phase}' and state not in ('pending', 'waiting')"""
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, "it ended before that"
            assert time.monotonic() < deadline, "it did not get that far"
            try:
                if self.query(query)[0][0] >= count:  # type: ignore[operator]
                    return
            except SQLAlchemyError:
                pass  # the schema is being made
            time.sleep(0.05)

    def finish(self) -> None:
        """Run the same command again: nothing is lost, nothing was bought twice."""
        unanswered = self.query(
            "select coalesce(sum(domains), 0) from calls "
            "where provider = 'pdl' and answered_at is null"
        )[0][0]
        self.internet.set_faults("preset=none")
        done = pipeline(
            *self.arguments, "--json", home=self.folder / "home", PIPELINE_DATABASE_URL=self.url
        )
        assert done.code == 0, done.err
        for counts in done.json["phases"].values():
            assert counts["waiting"] == counts["pending"] == counts["quarantined"] == 0
        billed = sum(self.internet.calls()["billed"]["pdl"].values())
        assert billed <= len(DOMAINS) + unanswered  # type: ignore[operator]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with sandbox() as internet, postgres() as server:
        admin = Database(server.url("postgres"))
        autocommit = admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with autocommit as connection:
            connection.execute(text("CREATE DATABASE ledger"))
        admin.close()
        internet.set_faults(SLOW)
        yield Scene(tmp_path, internet, server)


@pytest.mark.parametrize("phase", ["COMPANY_ENRICHMENT", "PAGE_SCRAPING", "PROFILE_BUILD"])
def test_a_database_that_goes_away_is_named_and_nothing_is_lost(scene: Scene, phase: str) -> None:
    home = scene.folder / "home"
    with started_pipeline(*scene.arguments, home=home, PIPELINE_DATABASE_URL=scene.url) as process:
        scene.wait_until_settled(process, phase, 20)
        scene.server.stop()
        out, said = process.communicate(timeout=120)
    assert process.returncode == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("pipeline: The database postgresql+psycopg2://postgres:***@/ledger")
    assert "Bring it up again" in last
    assert "same command goes on" in last
    assert PASSWORD not in out + said
    assert "Traceback" not in said
    scene.server.start()
    assert scene.query("select max(rounds) from work") == [(0,)]
    scene.finish()


def test_a_database_that_is_soon_back_is_waited_for(scene: Scene) -> None:
    home = scene.folder / "home"
    with started_pipeline(*scene.arguments, home=home, PIPELINE_DATABASE_URL=scene.url) as process:
        scene.wait_until_settled(process, "PAGE_SCRAPING", 20)
        scene.server.stop()
        scene.server.start()
        out, said = process.communicate(timeout=120)
    assert process.returncode == 0, out + said
    assert scene.query("select max(rounds), max(deaths) from work") == [(0, 0)]
    scene.finish()
