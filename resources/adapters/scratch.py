"""Files that nobody else sees and that end with the process: rows and strings of lists.

They lie where there is room, under PIPELINE_HOME; the system's folder for temporary files is often
memory. A file is gone from its folder as soon as it is open, and so is a folder that was made for
it: whatever ends the process leaves nothing behind.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = "scratch"
# Somebody else may have found the folder empty and removed it just now.
_MOST_TRIES = 5


@contextmanager
def private_path(folder: Path | None, prefix: str) -> Iterator[str]:
    """The path of a new empty file, to be opened at once; it is gone afterwards.

    Args:
        folder: Where, made if it is missing; the system's folder for temporary files if None.

    Raises:
        OSError: it cannot be made there.
    """
    made: list[Path] = []
    try:
        path = _new_file(folder, prefix, made)
        try:
            yield path
        finally:
            os.unlink(path)
    finally:
        for each in made:
            with suppress(OSError):  # somebody else uses it
                each.rmdir()


def shown(folder: Path | None) -> str:
    """Where that is, for messages."""
    return str(folder or tempfile.gettempdir())


def _new_file(folder: Path | None, prefix: str, made: list[Path]) -> str:
    for left in reversed(range(_MOST_TRIES)):
        if folder is not None:
            made[:] = dict.fromkeys([*made, *_missing(folder)])
            folder.mkdir(parents=True, exist_ok=True)
        try:
            handle, path = tempfile.mkstemp(prefix=prefix, dir=folder)
        except FileNotFoundError:
            if not left:
                raise
        else:
            os.close(handle)
            return path
    raise AssertionError("the last try raises")


def _missing(folder: Path) -> list[Path]:
    """Folders that are not there yet, the innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]
