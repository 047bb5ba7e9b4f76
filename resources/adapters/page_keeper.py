"""Keeps fetched pages: bodies in the store first, then their rows, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resources.adapters.bodies import BodyReader, BodyWriter, Place
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.pages import PageRow, Pages


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page to keep.

    Args:
        row: Its row, without the body's place.
        sent: Its body as it was sent.
        encoding: Of the body; see `bodies.Place`.
    """

    row: PageRow
    sent: bytes
    encoding: str


class PageKeeper:
    """Writes and reads the pages of one worker.

    Args:
        commits: The worker's writes; pages are written on its thread.
        bodies: The worker's files.
    """

    def __init__(
        self, pages: Pages, commits: CommitQueue, bodies: BodyWriter, reader: BodyReader
    ) -> None:
        self._pages = pages
        self._commits = commits
        self._bodies = bodies
        self._reader = reader

    async def keep(self, fetched: Fetched) -> PageRow:
        """Keep a page. Returns its row once body and row are on the disk.

        Raises:
            CallError: STORE, when the body could not be written.
        """
        return await self._commits.commit_one_of(self._keep_many, fetched, is_progress=True)

    async def keep_unchanged(self, row: PageRow) -> None:
        """Keep that a page was asked for and is as it was."""
        await self._commits.commit_one_of(self._save_many, row, is_progress=True)

    def sent(self, row: PageRow) -> tuple[bytes, str] | None:
        """The body of a kept page as it was sent, with its encoding; None when it is gone."""
        place = place_of(row)
        sent = None if place is None else self._reader.sent(place)
        return None if place is None or sent is None else (sent, place.encoding)

    def _save_many(self, rows: Sequence[PageRow]) -> Sequence[None]:
        self._pages.save_many(rows)
        return [None] * len(rows)

    def _keep_many(self, pages: Sequence[Fetched]) -> Sequence[PageRow]:
        places = self._bodies.append([(page.sent, page.encoding) for page in pages])
        rows = [_placed(page.row, place) for page, place in zip(pages, places, strict=True)]
        self._pages.save_many(rows)
        return rows


def place_of(row: PageRow) -> Place | None:
    """Where a kept page's body lies; None when it is kept nowhere."""
    if row.body_file is None or row.body_offset is None or row.body_length is None:
        return None
    return Place(row.body_file, row.body_offset, row.body_length, row.body_encoding or "")


def _placed(row: PageRow, place: Place) -> PageRow:
    return replace(
        row,
        body_file=place.file,
        body_offset=place.offset,
        body_length=place.length,
        body_encoding=place.encoding,
    )
