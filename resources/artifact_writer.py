"""Writes a batch's artifact: the Parquet file of one asset and partition, and its row.

File and row are written within one transaction, and only while the ledger still holds what they
were made from: a process that stood still in the middle never puts an older file over a newer one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from resources.adapters import tables
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.artifacts import Artifact
from resources.adapters.store import Store
from resources.core.models import Phase
from resources.core.ports import Clock

PREVIEW_ROWS = 8
ASSET_OF = {
    Phase.COMPANY_ENRICHMENT: "enriched_companies",
    Phase.PAGE_SCRAPING: "scraped_pages",
    Phase.PROFILE_BUILD: "company_profiles",
}
MANIFEST_ASSET = "domain_batches"


@dataclass(frozen=True, slots=True)
class Written:
    """An artifact with what people look at in Dagster.

    Args:
        artifact: Its row.
        schema: Its columns.
        preview: Its first rows.
        fill: Share of rows that have a value, by column, 0 to 1.
        credits: What the rows' answers have cost, whenever they were bought.
    """

    artifact: Artifact
    schema: pa.Schema
    preview: Sequence[dict[str, Any]]
    fill: dict[str, float]
    credits: float


class ArtifactWriter:
    """Makes artifacts from what the ledger holds; the same content gives the same version."""

    def __init__(self, ledger: Ledger, store: Store, clock: Clock) -> None:
        self._ledger = ledger
        self._store = store
        self._clock = clock

    def write_manifest(self, batch_key: str) -> Written:
        """Write the immutable manifest of a batch."""
        rows = tables.manifest_rows(self._ledger.lists.manifest(batch_key))
        written = self.write(MANIFEST_ASSET, batch_key, rows, tables.MANIFEST, fingerprint="fixed")
        assert written is not None, "a manifest never changes"
        return written

    def write_phase(self, phase: Phase, batch_key: str) -> Written:
        """Write what a fetching phase has found for a batch when it is written."""
        while True:
            written = self._write_phase(phase, batch_key)
            if written is not None:
                return written

    def _write_phase(self, phase: Phase, batch_key: str) -> Written | None:
        def fingerprint() -> str:
            return self._ledger.work.tallies(phase, [batch_key])[batch_key].fingerprint

        made_from = fingerprint()
        results = self._ledger.work.results(phase, batch_key)
        if phase is Phase.PAGE_SCRAPING:
            rows, schema = tables.scraped_rows(results), tables.SCRAPED
        else:
            rows, schema = tables.enriched_rows(results), tables.ENRICHED
        return self.write(
            ASSET_OF[phase], batch_key, rows, schema, made_from, lambda: fingerprint() == made_from
        )

    def write(
        self,
        asset: str,
        batch_key: str,
        rows: Sequence[dict[str, Any]],
        schema: pa.Schema,
        fingerprint: str,
        is_current: Callable[[], bool] = lambda: True,
    ) -> Written | None:
        """Write rows as Parquet, unless the same content is there already.

        Args:
            is_current: Asked within the transaction: whether the ledger still holds what the
                rows were made from. What it writes itself is committed with the artifact's row.

        Returns: None when it does not; nothing was written, and the caller begins again.
        """
        path = f"{asset}/{batch_key}.parquet"
        version = tables.data_version(rows)
        table = pa.Table.from_pylist(list(rows), schema=schema)
        with self._ledger.database.write() as connection:
            self._ledger.database.lock(connection, f"artifact:{path}")
            if not is_current():
                return None
            known = self._ledger.artifacts.find(asset, batch_key)
            is_same = known is not None and known.data_version == version
            at = known.at if known is not None and is_same else self._clock.now()
            if not is_same or not self._store.exists(path):
                self._store.write_table(path, table)
            artifact = Artifact(asset, batch_key, path, len(rows), version, fingerprint, at)
            if artifact != known:
                self._ledger.artifacts.save(artifact)
        credits = sum(row.get("credits") or 0.0 for row in rows)
        return Written(artifact, schema, rows[:PREVIEW_ROWS], _fill(rows, schema), credits)


def _fill(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> dict[str, float]:
    filled: Counter[str] = Counter()
    for row in rows:
        filled.update(name for name, value in row.items() if value not in (None, "", [], "[]"))
    return {name: filled[name] / len(rows) for name in schema.names} if rows else {}
