"""The directory: all profiles in one table, as Parquet and CSV; what the whole thing is for."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.adapters.ledger import Ledger
from resources.adapters.ledger.artifacts import Artifact
from resources.adapters.spreadsheet import safe_cell
from resources.adapters.store import Store
from resources.core.ports import Clock
from resources.profile_builder import ASSET as PROFILES
from resources.profile_builder import SCHEMA
from resources.profile_files import newest_profiles

ASSET = "company_directory"
# Rows written at a time: a Parquet file with a group for each batch is mostly bookkeeping.
ROWS_AT_A_TIME = 2_000
COLUMNS = [name for name in SCHEMA.names if name != "evidence"]


@dataclass(frozen=True, slots=True)
class DirectoryReport:
    """What the directory holds.

    Args:
        rows: Companies, each once however many lists name it.
        fill: Share of them that have a value, by column.
        parquet, csv: Absolute paths.
        data_version: Changes with its content.
    """

    rows: int
    fill: dict[str, float]
    parquet: Path
    csv: Path
    data_version: str


class _WrittenMeanwhileError(Exception):
    """Another process has put its files in place since we began."""


class Directory:
    """Writes the directory, one batch of profiles in memory at a time."""

    def __init__(self, ledger: Ledger, store: Store, clock: Clock) -> None:
        self._ledger = ledger
        self._store = store
        self._clock = clock

    def version(self) -> str:
        """Changes when any batch's profiles have changed, or are newer than another's."""
        digest = hashlib.blake2b(digest_size=16)
        for key, version in sorted(self._ledger.artifacts.data_versions(PROFILES).items()):
            digest.update(f"{key}:{version}\n".encode())
        return digest.hexdigest()

    def is_stale(self) -> bool:
        """Whether it would look different if it were written now."""
        known = self._ledger.artifacts.find(ASSET, "")
        if known is None or not (self._store.root / known.path).exists():
            return bool(self._ledger.artifacts.of_asset(PROFILES))
        return known.fingerprint != self.version()

    def write(self) -> DirectoryReport:
        """Write both files whole, unless somebody else has written them meanwhile.

        Then theirs stay: they may be newer, and where they are not, `is_stale` says so.
        """
        found = self._ledger.artifacts.find(ASSET, "")
        version = self.version()
        parquet, table_csv = f"{ASSET}/companies.parquet", f"{ASSET}/companies.csv"
        try:
            # The transaction is open while the files are put in place, and no longer.
            with (
                ExitStack() as transaction,
                self._store.whole_file(parquet) as parquet_path,
                self._store.whole_file(table_csv) as csv_path,
            ):
                rows, filled = self._fill(parquet_path, csv_path)
                connection = transaction.enter_context(self._ledger.database.write())
                self._ledger.database.lock(connection, f"artifact:{parquet}")
                if self._ledger.artifacts.find(ASSET, "") != found:
                    raise _WrittenMeanwhileError
                self._ledger.artifacts.save(
                    Artifact(ASSET, "", parquet, rows, version, version, self._clock.now())
                )
        except _WrittenMeanwhileError:
            pass
        fill = {name: count / rows for name, count in filled.items()} if rows else {}
        root = self._store.root
        return DirectoryReport(rows, fill, root / parquet, root / table_csv, version)

    def _fill(self, parquet: Path, table_csv: Path) -> tuple[int, dict[str, int]]:
        """Write all profiles into both files. Returns the rows, and the values by column."""
        rows = 0
        filled = dict.fromkeys(COLUMNS, 0)
        with (
            pq.ParquetWriter(parquet, SCHEMA, compression="zstd") as writer,
            table_csv.open("w", encoding="utf-8-sig", newline="") as handle,
        ):
            lines = csv.writer(handle)
            lines.writerow(COLUMNS)
            for table in _in_groups(newest_profiles(self._ledger, self._store, None, SCHEMA.names)):
                writer.write_table(table)
                rows += table.num_rows
                for name in COLUMNS:
                    column = table.column(name)
                    filled[name] += table.num_rows - column.null_count
                for row in table.select(COLUMNS).to_pylist():
                    lines.writerow([safe_cell(row[name]) for name in COLUMNS])
        return rows, filled


def _in_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Small tables put together."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= ROWS_AT_A_TIME:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
