"""The store: files under one folder, written whole or not at all.

Every file is written in a folder beside the others, synced, and moved to its place; a reader never
sees half of one, also after a power cut. What a killed process leaves there is swept up later. What
a file means is in the ledger, not here. Page bodies are in `bodies`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.core.errors import CallError, Failure, FailureKind

WRITING = ".writing"
# No file takes that long to write: whoever began it is gone.
LEFT_OVER_AFTER_S = 3600.0


class Store:
    """A folder of artifacts.

    Args:
        root: The folder; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def whole_file(self, path: str) -> Iterator[Path]:
        """Give a temporary path to write to; afterwards the file is there whole, or not at all.

        Args:
            path: Relative to the store.

        Raises:
            CallError: STORE, naming the path and what the system said.
        """
        target = self.root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            (self.root / WRITING).mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.root / WRITING)
            os.close(handle)
        except OSError as error:
            raise store_error(target, error) from error
        temporary = Path(name)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, target)
            sync(target.parent)
        except OSError as error:
            raise store_error(target, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def sweep(self, now: float) -> None:
        """Remove what killed processes have left half-written.

        Args:
            now: Epoch seconds.
        """
        try:
            for path in (self.root / WRITING).iterdir():
                if path.stat().st_mtime < now - LEFT_OVER_AFTER_S:
                    path.unlink()
        except OSError:
            return  # there is none yet, or another process sweeps too

    def write_bytes(self, path: str, content: bytes) -> Path:
        """Write a file whole. Returns its absolute path."""
        with self.whole_file(path) as temporary:
            temporary.write_bytes(content)
        return self.root / path

    def write_table(self, path: str, table: pa.Table) -> Path:
        """Write a table as Parquet (zstd). Returns its absolute path."""
        with self.whole_file(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return self.root / path

    def read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a Parquet file of the store, or some of its columns.

        Raises:
            CallError: STORE, naming the path: it is gone or spoilt.
        """
        try:
            return pq.read_table(self.root / path, columns=list(columns) if columns else None)
        except (OSError, pa.ArrowInvalid) as error:
            raise CallError(
                Failure(
                    FailureKind.STORE,
                    f"{self.root / path} could not be read: {error}. "
                    "`pipeline run` of its list writes it again.",
                )
            ) from error

    def exists(self, path: str) -> bool:
        """Whether a file of the store is there."""
        return (self.root / path).exists()


def sync(path: Path) -> None:
    """Have a file, or what a folder lists, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def store_error(path: Path, error: OSError) -> CallError:
    """What a failed write is called: it names the path and what the system said."""
    return CallError(
        Failure(
            FailureKind.STORE,
            f"{path} could not be written: {error.strerror or error}. "
            "Free space or fix the permissions, and run again; nothing is lost.",
        )
    )
