"""Takes a list in: reads the file, normalises each row, writes batches; nothing vanishes.

accepted + duplicates + rejected = rows. The same file again adds nothing; a grown one adds only
what is new, in new batches. Reading comes first and writes nothing to the ledger, so that a file
that cannot be used leaves nothing behind. Memory does not grow with the list: between the two steps
its rows lie in a temporary file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from resources.adapters.ledger import Ledger
from resources.adapters.ledger.lists import IngestReport, Rejected
from resources.adapters.list_reader import ListError, ListRow, file_digest, open_list
from resources.adapters.list_source import Form
from resources.adapters.list_spool import ListSpool, SpoolError
from resources.adapters.suffix_list import bundled_rules
from resources.core.batches import list_name_from
from resources.core.domains import NormalizedDomain, normalize
from resources.core.errors import UsageError
from resources.core.list_columns import hints
from resources.core.ports import Clock

_PACKED_SUFFIXES = (".gz", ".gzip")


class ListContent:
    """A file's rows, normalised, in a temporary file of their own.

    Args:
        name: The list's name.
        source: The file's name.
        digest: Of the file's bytes and the column asked for.
        scratch: Folder of the temporary file; the system's if None.

    Attributes:
        form: How the file is written, and which of its columns are not kept.
    """

    def __init__(
        self, name: str, source: str, digest: str, form: Form, scratch: Path | None = None
    ) -> None:
        self.name = name
        self.source = source
        self.digest = digest
        self.form = form
        self.rows = 0
        self.accepted = 0
        self.duplicates = 0
        self._suffixes = bundled_rules()
        self._spool = ListSpool(scratch)

    def take(self, row: ListRow) -> None:
        """Count and keep one row: accepted, duplicate or rejected."""
        self.rows += 1
        found = normalize(row.value, self._suffixes)
        if not isinstance(found, NormalizedDomain):
            self._spool.reject(Rejected(row.line, row.raw, found.reason, found.detail))
            return
        name, country = hints(row.attributes)
        if self._spool.add(found.domain, row.line, name, country, row.attributes):
            self.accepted += 1
        else:
            self.duplicates += 1

    def domains(self) -> Iterator[list[str]]:
        """Yield the accepted domains in the order of the file, in parts."""
        return self._spool.domains()

    def lacks(self, domains: list[str]) -> list[str]:
        """Return those of the domains that the file does not have."""
        return self._spool.lacks(domains)

    def companies(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield domain, name and country of each company in the order of the file."""
        return self._spool.companies()

    def most_frequent_reason(self) -> str:
        return self._spool.reasons.most_common(1)[0][0]

    def write(self, ledger: Ledger, batch_size: int, now: float) -> IngestReport:
        """Write what is new to the ledger; once broken off, the same file again adds the rest.

        Raises:
            UsageError: the list is too long, or the disk of its temporary file is full.
        """
        try:
            # Asked before the transaction: while that is open nobody else can write to SQLite.
            self._spool.leave_out(lambda part: ledger.lists.known_among(self.name, part))
            return self._write(ledger, batch_size, now)
        except SpoolError as error:
            raise UsageError(str(error)) from error

    def _write(self, ledger: Ledger, batch_size: int, now: float) -> IngestReport:
        return ledger.lists.add(
            self.name,
            source=self.source,
            digest=self.digest,
            rows=self.rows,
            accepted=self.accepted,
            duplicates=self.duplicates,
            new=self._spool.members(),
            new_count=self._spool.new_count(),
            rejected=self._spool.rejected(),
            batch_size=batch_size,
            now=now,
        )

    def close(self) -> None:
        """Give the space on disk back at once; else the end of this object does."""
        self._spool.close()


def read_list(
    path: Path,
    *,
    name: str | None = None,
    column: str | None = None,
    scratch: Path | None = None,
) -> ListContent:
    """Read a file as the list `name` (the file's stem unless given); writes nothing to the ledger.

    Args:
        scratch: Folder for temporary files, made if it is missing; the system's if None.

    Raises:
        UsageError: the file can't be used; says what, where and what to do.
    """
    try:
        digest = f"{file_digest(path)}:{column or ''}"
        list_name = list_name_from(name or _stem(path))
        reader = open_list(path, column, scratch)
        content = ListContent(list_name, path.name, digest, reader.form, scratch)
        for row in reader:
            content.take(row)
    except (ListError, SpoolError, ValueError) as error:
        raise UsageError(str(error)) from error
    if not content.accepted:
        raise UsageError(
            f"{path} holds no usable domain: all {content.rows} rows were rejected "
            f"({content.most_frequent_reason()}). Check the column, or name it with --column."
        )
    return content


def take_in(ledger: Ledger, clock: Clock, content: ListContent, batch_size: int) -> IngestReport:
    """Write a list's new domains as new batches; once broken off, it is gone on with."""
    same = ledger.lists.same_ingest(content.name, content.digest)
    return same or content.write(ledger, batch_size, clock.now())


def _stem(path: Path) -> str:
    """The name of a file without its ending, and without that of its packing."""
    is_packed = path.suffix.lower() in _PACKED_SUFFIXES
    return Path(path.stem).stem if is_packed else path.stem
