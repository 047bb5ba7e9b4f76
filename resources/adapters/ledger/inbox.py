"""Files of the inbox: what was seen of them, who works on one, and what became of it.

Every change of a file's row names the claim it is made under in the same statement, so that of two
processes only one goes on. What is decided about a file is in `core/inbox`; what is in the folder
itself, in `adapters/inbox`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, Select, delete, exists, insert, or_, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import artifacts, batches, inbox_files, lists, requests
from resources.adapters.ledger.workers import ProcessIdentity, current_process, is_process_gone
from resources.core.inbox import FileState, KnownFile, SetAside
from resources.core.models import FETCHING, Phase

# Whoever reads for longer renews it; else somebody else begins, which costs time and nothing more.
CLAIM_S = 120.0
FORGOTTEN_AFTER_S = 90 * 86_400.0
ROWS_PER_STATEMENT = 2_000

_columns = inbox_files.c


class InboxFiles:
    """Rows of files; one that is not closed yet stands for what lies in the inbox now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- looks ------------------------------------------------------------------------------------

    def open_files(self, now: float) -> dict[str, KnownFile]:
        """All files that are not put away, by address."""
        with self._database.read() as connection:
            rows = connection.execute(select(inbox_files).where(_columns.closed_at.is_(None))).all()
        return {row.address: _known(row, now) for row in rows}

    def note(self, stamps: Mapping[str, str], now: float) -> None:
        """Write down what files look like that nobody works on; the wait begins anew.

        Args:
            stamps: By address.
        """
        if not stamps:
            return
        with self._database.write() as connection:
            self._database.lock(connection, "inbox")
            rows = connection.execute(
                select(_columns.address, _columns.state).where(_columns.closed_at.is_(None))
            )
            known = {row.address: row.state for row in rows}
            new = [
                {
                    "address": address,
                    "stamp": stamp,
                    "state": FileState.SEEN,
                    "first_seen_at": now,
                    "at": now,
                }
                for address, stamp in stamps.items()
                if address not in known
            ]
            for start in range(0, len(new), ROWS_PER_STATEMENT):
                connection.execute(insert(inbox_files), new[start : start + ROWS_PER_STATEMENT])
            for address, stamp in stamps.items():
                if known.get(address) == FileState.SEEN:
                    connection.execute(
                        update(inbox_files)
                        .where(
                            _columns.address == address,
                            _columns.closed_at.is_(None),
                            _columns.state == FileState.SEEN,
                        )
                        .values(stamp=stamp, first_seen_at=now, at=now, tries=0, sentence="")
                    )

    def forget(self, gone: Collection[KnownFile]) -> None:
        """Drop files that are gone before they were read."""
        with self._database.write() as connection:
            for known in gone:
                connection.execute(
                    delete(inbox_files).where(_columns.id == known.id, _is_still(known))
                )

    def close(self, gone: Collection[KnownFile], now: float) -> None:
        """Note that nothing remains to be done about files that are gone."""
        with self._database.write() as connection:
            for known in gone:
                connection.execute(
                    update(inbox_files)
                    .where(_columns.id == known.id, _is_still(known))
                    .values(closed_at=now, at=now, claim=None)
                )

    # -- work on one file -------------------------------------------------------------------------

    def claim(self, known: KnownFile, now: float) -> str | None:
        """Be the only one to work on a file. Returns the claim; None when somebody was quicker."""
        claim = str(uuid.uuid4())
        with self._database.write() as connection:
            changed = connection.execute(
                update(inbox_files)
                .where(_columns.id == known.id, _is_still(known))
                .values(
                    claim=claim,
                    claimed_by=_words(current_process()),
                    claimed_until=now + CLAIM_S,
                    # Without a reading that our own side broke off.
                    tries=known.tries,
                )
            ).rowcount
        return claim if changed else None

    def renew(self, claim: str, now: float) -> bool:
        """Go on with the work on a file. Returns False where the claim has gone to another."""
        return self._change(claim, claimed_until=now + CLAIM_S)

    def begin(self, claim: str, list_name: str, scope: str, now: float) -> bool:
        """Note that reading begins. Returns False where the claim has gone to somebody else."""
        return self._change(
            claim,
            state=FileState.TAKING,
            tries=_columns.tries + 1,
            list_name=list_name,
            scope=scope,
            sentence="",
            at=now,
        )

    def let_go(self, claim: str, sentence: str, now: float) -> bool:
        """Give a file back unread.

        Args:
            sentence: Why it could not be fetched; empty where it only changed meanwhile.
        """
        return self._change(
            claim,
            state=FileState.SEEN,
            tries=_columns.tries - 1,
            sentence=sentence,
            at=now,
            claim=None,
        )

    def failed(self, claim: str, sentence: str, now: float) -> bool:
        """Note that a reading ended as nobody foresaw; it counts, and is tried again later."""
        return self._change(claim, sentence=sentence, at=now, claim=None)

    def taken(self, claim: str, sentence: str, now: float) -> bool:
        """Note that a file's domains are in the ledger; to be followed by a move."""
        return self._change(claim, state=FileState.TAKEN, sentence=sentence, at=now)

    def set_aside(self, claim: str, sentence: str, now: float) -> bool:
        """Note that a file cannot be used; to be followed by a move."""
        return self._change(claim, state=FileState.SET_ASIDE, sentence=sentence, at=now)

    def plan_move(self, claim: str, place: str) -> bool:
        """Note where a file goes before it goes there, so that a broken-off move is ended."""
        return self._change(claim, place=place)

    def moved(self, claim: str, now: float) -> bool:
        """Note that a file is out of the way; nothing remains to be done about it."""
        return self._change(claim, closed_at=now, at=now, claim=None)

    def not_moved(self, claim: str, sentence: str, now: float) -> bool:
        """Note that a file stays where it is, and will not be taken again."""
        return self._change(claim, has_move_failed=1, sentence=sentence, at=now, claim=None)

    def _change(self, claim: str, /, **values: Any) -> bool:
        with self._database.write() as connection:
            changed = connection.execute(
                update(inbox_files).where(_columns.claim == claim).values(**values)
            ).rowcount
        return changed == 1

    # -- what follows from a taken file -----------------------------------------------------------

    def unrequested(self) -> list[KnownFile]:
        """Files that were taken and whose batches nobody was asked to do, oldest first."""
        query = select(inbox_files).where(
            _columns.state == FileState.TAKEN, _columns.requested_at.is_(None)
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_columns.id)).all()
        return [_known(row, 0.0) for row in rows]

    def requested(self, file_id: int, now: float) -> None:
        """Note that a file's batches were asked for."""
        with self._database.write() as connection:
            connection.execute(
                update(inbox_files).where(_columns.id == file_id).values(requested_at=now)
            )

    def unrequested_batches(self, list_name: str) -> dict[Phase, list[str]]:
        """Batches of a list that nobody has asked for, in their order, by fetching phase."""
        found: dict[Phase, list[str]] = {}
        with self._database.read() as connection:
            for phase in FETCHING:
                query = (
                    select(batches.c.key)
                    .join(lists, lists.c.id == batches.c.list_id)
                    .where(
                        lists.c.name == list_name,
                        ~exists().where(
                            requests.c.batch_key == batches.c.key, requests.c.phase == phase
                        ),
                    )
                    .order_by(batches.c.number)
                )
                found[phase] = list(connection.execute(query).scalars())
        return found

    def wanted_batches(self) -> list[str]:
        """Batches that were requested or came by the inbox, in order of their making."""
        with self._database.read() as connection:
            return list(connection.execute(_wanted()).scalars())

    def unwritten_batches(self, asset: str) -> list[str]:
        """Those of the wanted batches that an asset has no artifact of, in the same order."""
        query = _wanted().where(
            ~exists().where(artifacts.c.batch_key == batches.c.key, artifacts.c.asset == asset)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    # -- for people -------------------------------------------------------------------------------

    def newest(self, limit: int) -> list[KnownFile]:
        """Files that something was done about last, newest first."""
        query = select(inbox_files).order_by(_columns.at.desc(), _columns.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_known(row, 0.0) for row in connection.execute(query)]

    def untold(self) -> dict[int, SetAside]:
        """Files that were set aside and that nobody was told of yet, by id, oldest first."""
        query = select(inbox_files).where(
            _columns.state == FileState.SET_ASIDE, _columns.told_at.is_(None)
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_columns.id)).all()
        return {row.id: SetAside(row.address, row.sentence) for row in rows}

    def told(self, ids: Collection[int], now: float) -> None:
        """Note that people were told of files that were set aside."""
        with self._database.write() as connection:
            for file_id in ids:
                connection.execute(
                    update(inbox_files).where(_columns.id == file_id).values(told_at=now)
                )

    # -- leftovers --------------------------------------------------------------------------------

    def claims(self) -> set[str]:
        """All claims that still count or may do."""
        with self._database.read() as connection:
            found = select(_columns.claim).where(_columns.claim.is_not(None))
            return {str(claim) for claim in connection.execute(found).scalars()}

    def forget_old(self, now: float) -> None:
        """Drop what became of files long ago."""
        with self._database.write() as connection:
            connection.execute(
                delete(inbox_files).where(
                    _columns.closed_at < now - FORGOTTEN_AFTER_S,
                    or_(_columns.requested_at.is_not(None), _columns.told_at.is_not(None)),
                )
            )


def _wanted() -> Select[Any]:
    """By key or by list: an index answers each half, and neither repeats a batch."""
    by_inbox = (
        select(lists.c.id)
        .join(inbox_files, _columns.list_name == lists.c.name)
        .where(_columns.state == FileState.TAKEN)
    )
    return (
        select(batches.c.key)
        .where(
            or_(
                batches.c.key.in_(select(requests.c.batch_key)),
                batches.c.list_id.in_(by_inbox),
            )
        )
        .order_by(batches.c.created_at, batches.c.list_id, batches.c.number)
    )


def _is_still(known: KnownFile) -> Any:
    """Whether a file's row is as it was read: nobody has done anything about the file since."""
    return (
        _columns.closed_at.is_(None)
        & (_columns.stamp == known.stamp)
        & (_columns.state == known.state)
        & _columns.claim.is_not_distinct_from(known.claim)
    )


def _known(row: Row[Any], now: float) -> KnownFile:
    is_in_hand = _is_in_hand(row, now)
    # Its reader is still there and has let it go without a word: our database was away.
    is_ours = (
        row.state == FileState.TAKING
        and row.claim is not None
        and not is_in_hand
        and _is_here(_identity(row))
    )
    return KnownFile(
        id=row.id,
        address=row.address,
        stamp=row.stamp,
        state=FileState(row.state),
        first_seen_at=row.first_seen_at,
        at=row.at,
        tries=max(0, row.tries - 1) if is_ours else row.tries,
        list_name=row.list_name,
        scope=row.scope,
        sentence=row.sentence,
        place=row.place,
        has_move_failed=bool(row.has_move_failed),
        claim=row.claim,
        is_in_hand=is_in_hand,
    )


def _is_in_hand(row: Row[Any], now: float) -> bool:
    # What is further ahead than a claim lasts was written before the clock was put back.
    if row.claim is None or not now < row.claimed_until <= now + CLAIM_S:
        return False
    return not is_process_gone(_identity(row))


def _identity(row: Row[Any]) -> ProcessIdentity:
    host, boot_id, pid, started = row.claimed_by.rsplit("/", 3)
    return ProcessIdentity(host, boot_id, int(pid), float(started))


def _is_here(process: ProcessIdentity) -> bool:
    """Whether a process lives on this machine for certain."""
    return process.host == current_process().host and not is_process_gone(process)


def _words(identity: ProcessIdentity) -> str:
    return f"{identity.host}/{identity.boot_id}/{identity.pid}/{identity.process_started}"
