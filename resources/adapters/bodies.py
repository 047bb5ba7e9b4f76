"""Page bodies, many to a file: to sync one file for each page would cost more than to fetch it.

Each worker appends to files of its own, so that nobody waits for anybody. Bodies are kept as they
were sent, mostly compressed already. A body counts once its row is in the ledger; rows are written
after the file is synced, so that what a killed worker leaves at a file's end is never looked at.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.adapters.inflate import BrokenEncodingError, TooLargeError, inflate
from resources.adapters.store import store_error, sync

FOLDER = "bodies"
# A file is closed at this size, so that old ones can be moved away or removed.
FILE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body lies: `length` bytes from `offset` in a file, encoded as `encoding` says.

    Args:
        file: Relative to the store.
        offset: In bytes.
        length: In bytes.
        encoding: Content encodings in the order they were applied, by comma; empty for none.
    """

    file: str
    offset: int
    length: int
    encoding: str


def digest_of(body: bytes) -> str:
    """A body's name by its content, unpacked: BLAKE2b, 32 bytes, in hex."""
    return hashlib.blake2b(body, digest_size=32).hexdigest()


class BodyReader:
    """Reads bodies of a store.

    Args:
        root: The store's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def sent(self, place: Place) -> bytes | None:
        """A body as it was sent; None when its file is gone or too short."""
        try:
            with (self._root / place.file).open("rb") as file:
                found = os.pread(file.fileno(), place.length, place.offset)
        except FileNotFoundError:
            return None
        return found if len(found) == place.length else None

    def body(self, place: Place, digest: str, most: int) -> bytes | None:
        """A body, unpacked; None when it is not there or is not what it was."""
        sent = self.sent(place)
        try:
            body = None if sent is None else inflate(sent, place.encoding, most)
        except (BrokenEncodingError, TooLargeError):
            return None
        return body if body is not None and digest_of(body) == digest else None


class BodyWriter:
    """Appends bodies to files of one worker. Used by one thread at a time; close it after use.

    Args:
        root: The store's folder.
        worker_id: Names the files.
        file_bytes: Size at which the next file is begun.
    """

    def __init__(self, root: Path, worker_id: str, file_bytes: int = FILE_BYTES) -> None:
        self._root = root
        self._worker_id = worker_id
        self._file_bytes = file_bytes
        self._number = 0
        self._file: int | None = None
        self._name = ""
        self._end = 0

    def append(self, bodies: Sequence[tuple[bytes, str]]) -> list[Place]:
        """Keep bodies, each with its encodings; they are on the disk afterwards.

        Raises:
            CallError: STORE, naming the path and what the system said; nothing was kept.
        """
        try:
            file = self._open()
            os.lseek(file, self._end, os.SEEK_SET)
            _write_all(file, b"".join(sent for sent, _ in bodies))
            os.fdatasync(file)
        except OSError as error:
            path = self._root / (self._name or FOLDER)
            # Space that a half-written body takes may be what everybody else lacks.
            if self._file is not None:
                os.ftruncate(self._file, self._end)
            raise store_error(path, error) from error
        places = []
        for sent, encoding in bodies:
            places.append(Place(self._name, self._end, len(sent), encoding))
            self._end += len(sent)
        return places

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is not None and self._end < self._file_bytes:
            return self._file
        self.close()
        self._number += 1
        self._name = f"{FOLDER}/{self._worker_id}-{self._number:04}"
        path = self._root / self._name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._end = 0
        sync(path.parent)
        return self._file


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
