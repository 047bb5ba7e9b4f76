"""Artifacts that were written to the store: which file holds which state of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import artifacts


@dataclass(frozen=True, slots=True)
class Artifact:
    """One written file.

    Args:
        asset: Asset name.
        batch_key: Partition; empty for an asset without partitions.
        path: Relative to the store.
        rows: Rows in it.
        data_version: Changes with its content (times aside).
        fingerprint: State of the ledger it was made from; equal means nothing new has settled.
        at: Epoch seconds.
    """

    asset: str
    batch_key: str
    path: str
    rows: int
    data_version: str
    fingerprint: str
    at: float


class Artifacts:
    """Rows of artifacts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, artifact: Artifact) -> None:
        """Note a file that is whole in the store."""
        with self._database.write() as connection:
            connection.execute(
                self._database.upsert(artifacts, ["asset", "batch_key"]).values(
                    {name: getattr(artifact, name) for name in Artifact.__slots__}
                )
            )

    def of_asset(self, asset: str) -> dict[str, Artifact]:
        """All artifacts of an asset, by batch key."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(*(artifacts.c[name] for name in Artifact.__slots__)).where(
                    artifacts.c.asset == asset
                )
            ).all()
        return {row[1]: Artifact(*row) for row in rows}

    def fingerprints(self, asset: str) -> dict[str, str]:
        """What each artifact of an asset was made from, by batch key."""
        return self._column(asset, "fingerprint")

    def data_versions(self, asset: str) -> dict[str, str]:
        """The content's version of each artifact of an asset, by batch key."""
        return self._column(asset, "data_version")

    def _column(self, asset: str, name: str) -> dict[str, str]:
        query = select(artifacts.c.batch_key, artifacts.c[name]).where(artifacts.c.asset == asset)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def find(self, asset: str, batch_key: str) -> Artifact | None:
        """One artifact, or None when it was never written."""
        with self._database.read() as connection:
            row = connection.execute(
                select(artifacts).where(
                    artifacts.c.asset == asset, artifacts.c.batch_key == batch_key
                )
            ).first()
        return Artifact(**row._mapping) if row else None
