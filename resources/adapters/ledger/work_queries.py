"""Questions about the rows of work: counts, results, and what happened to a domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
)

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import events, members, results, work, workers
from resources.adapters.packing import unpack
from resources.core.errors import FailureKind
from resources.core.models import FETCHING, UNSETTLED, Phase, State
from resources.core.tallies import Tally, TallyRow, tally
from resources.core.unsettled import Example

KEYS_PER_QUERY = 5_000
UNSETTLED_VALUES = [state.value for state in UNSETTLED]


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A domain's newest result in a phase, the code that made it, and its state today."""

    domain: str
    state: State
    kind: str | None
    reason: str | None
    payload: bytes | None
    settled_at: float | None
    not_before: float
    rounds: int
    code_version: str | None = None


class WorkQueries:
    """Counts and results; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stale_batches(
        self, phase: Phase, settled_before: float, *, code_version: str | None = None
    ) -> set[str]:
        """Batches with a domain that is stale, or whose refresh has begun and is not over.

        Args:
            settled_before: Epoch seconds; what settled earlier is stale.
            code_version: What another version of the phase's code settled is stale too.
        """
        wanted = or_(work.c.refresh_asked == 1, is_stale(settled_before, code_version))
        with self._database.read() as connection:
            rows = connection.execute(
                select(members.c.batch_key)
                .join(work, and_(work.c.domain == members.c.domain, work.c.phase == phase))
                .where(work.c.state.not_in(UNSETTLED_VALUES), wanted)
                .distinct()
            )
            return set(rows.scalars())

    def unfinished_batches(self, phase: Phase) -> set[str]:
        """Batches with a domain that is unsettled, or is to be worked on again."""
        found: set[str] = set()
        with self._database.read() as connection:
            # Two questions, because each has an index of its own.
            for condition in (work.c.state.in_(UNSETTLED_VALUES), work.c.refresh_asked == 1):
                found |= set(
                    connection.execute(
                        select(members.c.batch_key)
                        .join(work, work.c.domain == members.c.domain)
                        .where(condition, work.c.phase == phase)
                        .distinct()
                    ).scalars()
                )
        return found

    def waiting_for(self, phase: Phase, kind: str) -> set[str]:
        """Unsettled domains whose newest attempt waits for a failure kind."""
        query = select(work.c.domain).where(
            work.c.state == State.WAITING, work.c.phase == phase, work.c.kind == kind
        )
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def batches_settled_since(self, at: float) -> set[str]:
        """Batches in which a domain settled in a fetching phase since a time, epoch seconds."""
        with self._database.read() as connection:
            return set(
                connection.execute(
                    select(members.c.batch_key)
                    .join(work, work.c.domain == members.c.domain)
                    # Not by an index: half of all rows have the phase, and few are as new.
                    .where(
                        work.c.settled_at >= at,
                        func.coalesce(work.c.phase, "").in_(list(FETCHING)),
                    )
                    .distinct()
                ).scalars()
            )

    def has_settled_since_waiting_for(self, phase: Phase, kinds: Sequence[FailureKind]) -> bool:
        """Whether a domain of a phase has settled since the newest wait for one of these kinds."""
        newest = select(func.max(work.c.updated_at)).where(
            work.c.state.in_(UNSETTLED_VALUES), work.c.phase == phase, work.c.kind.in_(kinds)
        )
        with self._database.read() as connection:
            waits_since = connection.execute(newest).scalar()
            if waits_since is None:
                return True
            settled = select(work.c.domain).where(
                work.c.settled_at > waits_since, func.coalesce(work.c.phase, "") == phase
            )
            return connection.execute(settled.limit(1)).first() is not None

    def tallies(self, phase: Phase, batch_keys: Sequence[str]) -> dict[str, Tally]:
        """Counts per batch; every key asked for is in the answer."""
        grouped: dict[str, list[TallyRow]] = {key: [] for key in batch_keys}
        with self._database.read() as connection:
            for keys in in_parts(batch_keys):
                rows = connection.execute(_tally_query(), {"phase": phase, "keys": keys})
                for row in rows:
                    grouped[row.batch_key].append(
                        TallyRow(
                            State(row.state),
                            row.kind,
                            row.n,
                            int(row.held),
                            int(row.revisions),
                            row.not_before,
                            int(row.refreshing),
                            row.refresh_kind,
                            int(row.rounds),
                            int(row.deaths),
                        )
                    )
        return {key: tally(rows) for key, rows in grouped.items()}

    def results(self, phase: Phase, batch_key: str) -> list[StoredResult]:
        """Every domain of a batch in its order, with its newest result (None where none)."""
        with self._database.read() as connection:
            rows = connection.execute(
                _results_query(phase)
                .where(members.c.batch_key == batch_key)
                .order_by(members.c.position)
            ).all()
        return [_stored(row) for row in rows]

    def result(self, phase: Phase, domain: str) -> StoredResult | None:
        """One domain's newest result and state, or None when it is in no list."""
        with self._database.read() as connection:
            row = connection.execute(
                _results_query(phase).where(work.c.domain == domain).limit(1)
            ).first()
        return _stored(row) if row else None

    def history(self, domain: str) -> list[Mapping[str, object]]:
        """All that happened to a domain, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(events).where(events.c.domain == domain).order_by(events.c.at, events.c.id)
            )
            return [dict(row._mapping) for row in rows]

    def examples(self, phase: Phase, batch_keys: Sequence[str]) -> list[Example]:
        """The newest unsettled domain of each failure kind, by kind; without what was not tried."""
        place = func.row_number().over(
            partition_by=work.c.kind,
            order_by=(work.c.updated_at.desc(), work.c.domain, members.c.batch_key),
        )
        found: dict[str, Row[Any]] = {}
        with self._database.read() as connection:
            for keys in in_parts(batch_keys):
                ranked = (
                    select(work, members.c.batch_key, place.label("place"))
                    .join(members, members.c.domain == work.c.domain)
                    .where(
                        members.c.batch_key.in_(keys),
                        work.c.phase == phase,
                        work.c.state.in_(UNSETTLED_VALUES),
                        work.c.kind.is_not(None),
                    )
                    .subquery()
                )
                for row in connection.execute(select(ranked).where(ranked.c.place == 1)):
                    if row.kind not in found or row.updated_at > found[row.kind].updated_at:
                        found[row.kind] = row
            return [
                _example(row, _newest_event(connection, row), row.reason or "")
                for _, row in sorted(found.items())
            ]

    def bugs(
        self, phase: Phase, batch_keys: Sequence[str], since: float, *, most: int
    ) -> list[Example]:
        """The newest case of each distinct stack trace since a time, newest first."""
        found: dict[int, Example] = {}
        with self._database.read() as connection:
            for keys in in_parts(batch_keys):
                mine = members.c.batch_key.in_(keys)
                newest = func.max(events.c.id)
                ids = (
                    select(newest)
                    .where(
                        events.c.domain.in_(select(members.c.domain).where(mine)),
                        events.c.phase == phase,
                        events.c.at >= since,
                        events.c.stack.is_not(None),
                    )
                    .group_by(events.c.stack)
                    .order_by(newest.desc())
                    .limit(most)
                )
                batch = select(func.min(members.c.batch_key)).where(
                    members.c.domain == events.c.domain, mine
                )
                rows = connection.execute(
                    select(events, batch.scalar_subquery().label("batch_key")).where(
                        events.c.id.in_(ids)
                    )
                )
                found |= {row.id: _example(row, row, row.message) for row in rows}
        return [found[number] for number in sorted(found, reverse=True)[:most]]


def is_open() -> ColumnElement[bool]:
    """The condition that a row is to be worked on: unsettled, or settled and to be refreshed."""
    return or_(work.c.state.in_(UNSETTLED_VALUES), work.c.refresh_asked == 1)


def is_in_hand() -> ColumnElement[bool]:
    """The condition that a worker holds a row; one that has ended may be named still."""
    living = select(workers.c.id).where(workers.c.ended_at.is_(None))
    return func.coalesce(work.c.claimed_by, "").in_(living)


def refresh_waits_for() -> ColumnElement[str | None]:
    """The kind that the newest attempt of a refresh waits for.

    NULL where there was no attempt yet, where one is under way, and for all other rows: the row
    itself keeps the kind that it was settled with.
    """
    newest = (
        select(case((events.c.what == State.WAITING, events.c.kind)))
        .where(events.c.domain == work.c.domain, events.c.phase == work.c.phase)
        .order_by(events.c.id.desc())
        .limit(1)
        .correlate(work)
        .scalar_subquery()
    )
    return case((and_(work.c.refresh_asked == 1, ~is_in_hand()), newest))


def is_stale(settled_before: float, code_version: str | None) -> ColumnElement[bool]:
    """The condition that a settled row is to be worked on again.

    A refresh that was given up leaves the time of the older result as it was. It counts as tried
    from then on: a site that is gone must not be asked for eight rounds every night.
    """
    stale = work.c.settled_at < settled_before
    if code_version is not None:
        # Without a version nobody knows; a row that its workers' deaths quarantined has none.
        stale = or_(stale, work.c.code_version != code_version)
    was_tried_since = and_(
        work.c.updated_at > work.c.settled_at, work.c.updated_at >= settled_before
    )
    return and_(stale, ~was_tried_since)


@cache
def _tally_query() -> Select[Any]:
    """The counts of batches; built once, because that takes several times what it takes to run."""
    held = case((is_in_hand(), 1), else_=0)
    free_from = case((is_in_hand(), None), else_=work.c.not_before)
    of_phase = and_(work.c.domain == members.c.domain, work.c.phase == bindparam("phase"))
    return (
        select(
            members.c.batch_key,
            work.c.state,
            work.c.kind,
            func.count().label("n"),
            func.sum(held).label("held"),
            func.sum(work.c.revision).label("revisions"),
            func.min(free_from).label("not_before"),
            func.sum(work.c.refresh_asked).label("refreshing"),
            refresh_waits_for().label("refresh_kind"),
            func.sum(work.c.rounds).label("rounds"),
            func.sum(work.c.deaths).label("deaths"),
        )
        .join(work, of_phase)
        .where(members.c.batch_key.in_(bindparam("keys", expanding=True)))
        .group_by(members.c.batch_key, work.c.state, work.c.kind, "refresh_kind")
    )


def _results_query(phase: Phase) -> Select[tuple[object, ...]]:
    return (
        select(
            work.c.domain,
            work.c.state,
            work.c.kind,
            work.c.reason,
            work.c.settled_at,
            work.c.not_before,
            work.c.rounds,
            work.c.code_version,
            results.c.payload,
        )
        .select_from(members)
        .join(work, and_(work.c.domain == members.c.domain, work.c.phase == phase))
        .outerjoin(
            results, and_(results.c.domain == work.c.domain, results.c.phase == work.c.phase)
        )
    )


def _newest_event(connection: Connection, row: Row[Any]) -> Row[Any] | None:
    """What was noted of a domain's newest attempt that ended as the domain stands now."""
    return connection.execute(
        select(events)
        .where(
            events.c.domain == row.domain,
            events.c.phase == row.phase,
            events.c.kind == row.kind,
        )
        .order_by(events.c.id.desc())
        .limit(1)
    ).first()


def _example(row: Row[Any], event: Row[Any] | None, message: str) -> Example:
    """A domain, and what was noted of its attempt; those that are only held may have had none."""
    return Example(
        row.kind,
        row.domain,
        row.batch_key,
        message,
        event.provider if event else None,
        event.url if event else None,
        row.rounds,
        event.stack if event else None,
    )


def _stored(row: object) -> StoredResult:
    values = row._mapping  # type: ignore[attr-defined]
    payload = values["payload"]
    return StoredResult(
        domain=values["domain"],
        state=State(values["state"]),
        kind=values["kind"],
        reason=values["reason"],
        payload=unpack(payload) if payload is not None else None,
        settled_at=values["settled_at"],
        not_before=values["not_before"],
        rounds=values["rounds"],
        code_version=values["code_version"],
    )


def in_parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Keys in portions that one statement can hold."""
    for start in range(0, len(keys), KEYS_PER_QUERY):
        yield keys[start : start + KEYS_PER_QUERY]
