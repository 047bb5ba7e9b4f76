"""Unpack a list that was packed with gzip while it is read, and stop what is no list but a bomb.

Only texts are read packed: Parquet and workbooks are packed inside, and need to be read from both
ends.
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

from resources.adapters.list_source import (
    MOST_TIMES_LARGER,
    MOST_UNPACKED_BYTES,
    PREFIX_BYTES,
    ListError,
    most_unpacked_bytes,
    one_line,
)


class GunzippedFile(io.RawIOBase):
    """The content of a gzip file, its members one after the other.

    Raises: `ListError` from every reading when the file is cut off, broken, or unpacks to far more
        than a list would; `OSError` when it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._place = str(path)
        self._packed = path.open("rb")
        self._unpacked = gzip.GzipFile(fileobj=self._packed)
        self._size_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]  # mypy has no name for it in 3.11
        try:
            count = self._unpacked.readinto(target)
        except EOFError as error:
            raise ListError(
                f"{self._place} is a gzip archive that was cut off; get the whole file again"
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ListError(
                f"{self._place} is a broken gzip archive ({one_line(error)}); "
                "get the file again, or unpack it and give what is in it"
            ) from error
        self._size_bytes += count
        if self._size_bytes > MOST_UNPACKED_BYTES:
            raise ListError(
                f"{self._place} unpacks to more than {MOST_UNPACKED_BYTES / 1e9:.0f} GB; cut the "
                "list into several files"
            )
        if self._size_bytes > most_unpacked_bytes(self._packed.tell()):
            raise ListError(
                f"{self._place} unpacks to more than {MOST_TIMES_LARGER} times its size, as no "
                "list does; if it is one, unpack it and give what is in it"
            )
        return count

    def close(self) -> None:
        if not self.closed:
            self._unpacked.close()
            self._packed.close()
        super().close()


def unpacked_prefix(path: Path) -> bytes:
    """Return the first bytes of what a gzip file holds.

    Raises:
        ListError: It is broken or cut off within them.
    """
    with io.BufferedReader(GunzippedFile(path)) as stream:
        return stream.read(PREFIX_BYTES)
