"""One sentence about a disk that is full, or a database that went away, in the middle of a command.

Our own ledger and Dagster's records may both fail, whichever is written to first; a person reads
the same sentence: what, where, and what to do.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO, cast

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from resources.adapters.ledger.database import BUSY_TIMEOUT_S
from resources.core.config import Settings
from resources.core.redaction import redact

# Less than this is as good as nothing: a database needs room for a page and its journal.
FULL_BELOW_BYTES = 2**20
AFTERWARDS = "Everything finished so far is kept, and the same command goes on from there."
_DAGSTERS_OWN = "Exception while writing logger call to event log"


def sentence(settings: Settings, error: Exception) -> str:
    """What is wrong, where, and what to do; without secrets and stack traces."""
    said = redact(_first_line(error)).rstrip(".")
    if settings.database_url is not None and _is_of_server(error):
        name = make_url(settings.ledger_url).render_as_string(hide_password=True)
        return (
            f"The database {name} went away or does not answer: {said}. Bring it up again, or "
            f"check PIPELINE_DATABASE_URL. {AFTERWARDS}"
        )
    if "database is locked" in said:
        return (
            f"Another process has held the records in {settings.home} for longer than "
            f"{BUSY_TIMEOUT_S} s without a pause. If it stands still (Ctrl-Z, a debugger), let it "
            f"go on or end it. {AFTERWARDS}"
        )
    free = shutil.disk_usage(settings.home).free
    if free < FULL_BELOW_BYTES:
        return (
            f"The disk of {settings.home} is full: no space left to write records ({said}). Free "
            f"some space there. {AFTERWARDS}"
        )
    return (
        f"The records in {settings.home} could not be read or written: {said} "
        f"({free / 1e6:.0f} MB are free there). Check the disk and the folder's permissions. "
        f"{AFTERWARDS}"
    )


@contextmanager
def without_dagsters_words() -> Iterator[None]:
    """Keep back what Dagster prints by itself, statement and parameters, when it can't log.

    It raises the same error afterwards, and that becomes the one sentence.
    """
    with redirect_stderr(cast(TextIO, _Filtered(sys.stderr))):
        yield


class _Filtered:
    """A stream that leaves out one message."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith(_DAGSTERS_OWN) else self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _is_of_server(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and "sqlite" not in type(error.orig).__module__


def _first_line(error: Exception) -> str:
    """The driver's own words, where there are any: SQLAlchemy adds statement and parameters."""
    orig = getattr(error, "orig", None)
    lines = str(orig or error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
