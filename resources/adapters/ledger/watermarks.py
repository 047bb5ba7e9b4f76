"""Times up to which something was looked through, so that the next look begins there."""

from __future__ import annotations

from sqlalchemy import select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import meta

# When a person last wanted the directory, whatever became of runs before that.
DIRECTORY_WANTED = "directory_wanted_at"


class Watermarks:
    """Named times in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> float:
        """Epoch seconds; 0.0 where nothing was looked through yet."""
        with self._database.read() as connection:
            value = connection.execute(select(meta.c.value).where(meta.c.key == name)).scalar()
        return float(value) if value else 0.0

    def set(self, name: str, at: float) -> None:
        """Note that all before this time was looked through."""
        with self._database.write() as connection:
            connection.execute(
                self._database.upsert(meta, ["key"]).values(key=name, value=repr(at))
            )
