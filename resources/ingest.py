"""Takes a list in: reads the file, normalises each row, writes batches; nothing vanishes.

accepted + duplicates + rejected = rows. The same file again adds nothing; a grown one adds only
what is new, in new batches.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from resources.adapters.ledger import Ledger
from resources.adapters.ledger.lists import IngestReport, NewMember, Rejected
from resources.adapters.list_reader import ListError, ListRow, file_digest, open_list
from resources.adapters.suffix_list import bundled_rules
from resources.core.batches import list_name_from
from resources.core.domains import NormalizedDomain, normalize
from resources.core.errors import UsageError
from resources.core.list_columns import hints
from resources.core.ports import Clock

MOST_OTHER_NAMES = 10


def ingest(
    ledger: Ledger,
    clock: Clock,
    path: Path,
    *,
    name: str | None = None,
    column: str | None = None,
    batch_size: int,
) -> IngestReport:
    """Take a file in as the list `name` (the file's stem unless given).

    Raises:
        UsageError: the file can't be used; nothing was written.
    """
    try:
        list_name = list_name_from(name or path.stem)
        digest = f"{file_digest(path)}:{column or ''}"
        same = ledger.lists.same_ingest(list_name, digest)
        if same is not None:
            return same
        reading = _Reading(ledger.lists.known_domains(list_name))
        for row in open_list(path, column):
            reading.take(row)
    except (ListError, ValueError) as error:
        raise UsageError(str(error)) from error
    if not reading.accepted:
        raise UsageError(
            f"{path} holds no usable domain: all {reading.rows} rows were rejected "
            f"({reading.most_frequent_reason()}). Check the column, or name it with --column."
        )
    return ledger.lists.add(
        list_name,
        source=path.name,
        digest=digest,
        rows=reading.rows,
        accepted=reading.accepted,
        duplicates=reading.duplicates,
        new=list(reading.new.values()),
        rejected=reading.rejected,
        batch_size=batch_size,
        now=clock.now(),
    )


def read_domains(path: Path, column: str | None) -> set[str]:
    """All registrable domains of a file, without writing anything.

    Raises:
        ListError: the file can't be used.
    """
    reading = _Reading(set())
    for row in open_list(path, column):
        reading.take(row)
    return set(reading.new)


class _Reading:
    """What has been read of a file so far."""

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._seen: set[str] = set()
        self._suffixes = bundled_rules()
        self.rows = 0
        self.duplicates = 0
        self.new: dict[str, NewMember] = {}
        self.rejected: list[Rejected] = []

    @property
    def accepted(self) -> int:
        return len(self._seen)

    def take(self, row: ListRow) -> None:
        self.rows += 1
        found = normalize(row.value, self._suffixes)
        if not isinstance(found, NormalizedDomain):
            self.rejected.append(Rejected(row.line, row.raw, found.reason, found.detail))
            return
        name, country = hints(row.attributes)
        if found.domain in self._seen:
            self.duplicates += 1
            self._keep_name(found.domain, name)
            return
        self._seen.add(found.domain)
        if found.domain not in self._known:
            self.new[found.domain] = NewMember(
                found.domain, row.line, name, country, row.attributes
            )

    def _keep_name(self, domain: str, name: str | None) -> None:
        """A duplicate's other name is a hint: the company may be known by it."""
        member = self.new.get(domain)
        if member is None or not name or name == member.name or name in member.other_names:
            return
        if len(member.other_names) < MOST_OTHER_NAMES:
            member.other_names.append(name)

    def most_frequent_reason(self) -> str:
        return Counter(row.reason for row in self.rejected).most_common(1)[0][0]
