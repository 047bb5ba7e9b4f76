"""Takes a list in: reads the file, normalises each row, writes batches; nothing vanishes.

accepted + duplicates + rejected = rows. The same file again adds nothing; a grown one adds only
what is new, in new batches. Reading comes first and writes nothing, so that a file that cannot be
used leaves nothing behind.
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


class ListContent:
    """A file's rows, normalised.

    Args:
        name: The list's name.
        source: The file's name.
        digest: Of the file's bytes and the column asked for.
    """

    def __init__(self, name: str, source: str, digest: str) -> None:
        self.name = name
        self.source = source
        self.digest = digest
        self.rows = 0
        self.duplicates = 0
        self.members: dict[str, NewMember] = {}
        self.rejected: list[Rejected] = []
        self._suffixes = bundled_rules()

    def take(self, row: ListRow) -> None:
        """Count and keep one row: accepted, duplicate or rejected."""
        self.rows += 1
        found = normalize(row.value, self._suffixes)
        if not isinstance(found, NormalizedDomain):
            self.rejected.append(Rejected(row.line, row.raw, found.reason, found.detail))
            return
        name, country = hints(row.attributes)
        known = self.members.get(found.domain)
        if known is not None:
            self.duplicates += 1
            _keep_name(known, name)
            return
        self.members[found.domain] = NewMember(
            found.domain, row.line, name, country, row.attributes
        )

    def most_frequent_reason(self) -> str:
        return Counter(row.reason for row in self.rejected).most_common(1)[0][0]


def _keep_name(member: NewMember, name: str | None) -> None:
    """A duplicate's other name is a hint: the company may be known by it."""
    if not name or name == member.name or name in member.other_names:
        return
    if len(member.other_names) < MOST_OTHER_NAMES:
        member.other_names.append(name)


def read_list(path: Path, *, name: str | None = None, column: str | None = None) -> ListContent:
    """Read a file as the list `name` (the file's stem unless given); writes nothing.

    Raises:
        UsageError: the file can't be used; says what, where and what to do.
    """
    try:
        digest = f"{file_digest(path)}:{column or ''}"
        content = ListContent(list_name_from(name or path.stem), path.name, digest)
        for row in open_list(path, column):
            content.take(row)
    except (ListError, ValueError) as error:
        raise UsageError(str(error)) from error
    if not content.members:
        raise UsageError(
            f"{path} holds no usable domain: all {content.rows} rows were rejected "
            f"({content.most_frequent_reason()}). Check the column, or name it with --column."
        )
    return content


def take_in(ledger: Ledger, clock: Clock, content: ListContent, batch_size: int) -> IngestReport:
    """Write a list's new domains as new batches, all of it or nothing."""
    same = ledger.lists.same_ingest(content.name, content.digest)
    if same is not None:
        return same
    known = ledger.lists.known_domains(content.name)
    return ledger.lists.add(
        content.name,
        source=content.source,
        digest=content.digest,
        rows=content.rows,
        accepted=len(content.members),
        duplicates=content.duplicates,
        new=[member for domain, member in content.members.items() if domain not in known],
        rejected=content.rejected,
        batch_size=batch_size,
        now=clock.now(),
    )
