"""Batches whose profiles were not up to date when they were last looked at.

Kept so that a look begins where the one before ended: what was stale then and has not been built
since is stale still, without its domains being counted again.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import stale_profiles


class StaleProfiles:
    """Rows of them, one a batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[str, str]:
        """What each of them would be built from, by batch key."""
        columns = (stale_profiles.c.batch_key, stale_profiles.c.fingerprint)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(select(*columns))}

    def change(self, stale: Mapping[str, str], current: Mapping[str, str]) -> None:
        """Write what a look has found.

        Args:
            stale: What batches would be built from that are stale now and were not, or from
                something else.
            current: Batches that are up to date now, with what they were noted with before; a row
                that somebody else has written since then stays.
        """
        with self._database.write() as connection:
            if stale:
                connection.execute(
                    self._database.upsert(stale_profiles, ["batch_key"]),
                    [{"batch_key": key, "fingerprint": value} for key, value in stale.items()],
                )
            if current:
                connection.execute(
                    delete(stale_profiles).where(
                        stale_profiles.c.batch_key == bindparam("b_key"),
                        stale_profiles.c.fingerprint == bindparam("b_fingerprint"),
                    ),
                    [{"b_key": key, "b_fingerprint": value} for key, value in current.items()],
                )
