"""Ledgers that an older version filled keep what they hold."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from resources.adapters.ledger.database import MIGRATIONS, Database
from resources.adapters.ledger.lists import Lists
from resources.adapters.ledger.requests import Requests
from resources.core.models import FETCHING
from resources.core.recovery import Request
from tests.support.time import NOW

FILL = """
INSERT INTO lists (id, name, created_at) VALUES (1, 'a', 1);
INSERT INTO batches (key, list_id, number, size, created_at, requested_at)
    VALUES ('a-00001', 1, 1, 1, 1, 1800000000), ('a-00002', 1, 2, 1, 1, NULL);
INSERT INTO members (list_id, domain, batch_key, position, line)
    VALUES (1, 'one.example', 'a-00001', 0, 2), (1, 'two.example', 'a-00002', 0, 3)
"""


def test_what_was_requested_before_there_were_requests_is_wanted_in_both_phases(
    fresh_url: str,
) -> None:
    database = Database(fresh_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for statement in FILL.split(";"):
            connection.execute(text(statement))
    database.migrate()
    assert Requests(database).all() == {
        (phase, "a-00001"): Request("a-00001", phase, scope="", requested_at=NOW)
        for phase in FETCHING
    }
    assert [batch.key for batch in Lists(database).batches_of("a")] == ["a-00001", "a-00002"]
    assert [one["domain"] for one in Lists(database).manifest("a-00002")] == ["two.example"]
    database.close()
