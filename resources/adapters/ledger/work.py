"""The rows of work: one per phase and domain; claiming them, and writing what came of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import zstandard
from sqlalchemy import Connection, Row, Select, and_, or_, select, update

from resources.adapters.ledger.schema import events, members, results, work, workers
from resources.adapters.ledger.work_queries import UNSETTLED_VALUES, WorkQueries, in_parts
from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import CompanyQuery, DomainTask, Phase, State
from resources.core.rounds import Change

# Once this many workers have died with a domain in hand it is worked on alone, so that the next
# death is certainly its own doing (`workers.DEATHS_ALONE_BEFORE_QUARANTINE`).
DEATHS_BEFORE_ALONE = 2


class Work(WorkQueries):
    """Claims and results: everything that changes rows of work."""

    def claim(
        self,
        worker_id: str,
        phase: Phase,
        batch_keys: Sequence[str],
        limit: int,
        due_before: float,
        now: float,
        *,
        alone: bool = False,
    ) -> list[DomainTask]:
        """Take up to `limit` unsettled, due, unheld domains of the batches, in batch order.

        Args:
            due_before: Only rows whose not-before time is earlier, epoch seconds.
            alone: Take one of those in whose hands workers died, instead of the others.

        Raises:
            LeaseLost: the worker was declared dead; nothing was taken.
        """
        wanted = 1 if alone else limit
        found: dict[str, Row[Any]] = {}
        with self._database.write() as connection:
            _require_alive(connection, worker_id)
            for keys in in_parts(batch_keys):
                query = _claimable(phase, keys, due_before, alone=alone)
                while (missing := wanted - len(found)) > 0:
                    rows = connection.execute(query.limit(missing)).all()
                    if not rows:
                        break
                    # Two lists may share a domain: it comes twice, and is taken for the first.
                    for row in rows:
                        found.setdefault(row.domain, row)
                    connection.execute(
                        update(work)
                        .where(work.c.phase == phase, work.c.domain.in_([r.domain for r in rows]))
                        .values(claimed_by=worker_id, claimed_alone=int(alone), updated_at=now)
                    )
        return [
            DomainTask(
                _query_of(row),
                row.batch_key,
                rounds=row.rounds,
                is_alone=alone,
                last_settled_at=row.settled_at or 0.0,
            )
            for row in found.values()
        ]

    def settle(
        self, worker_id: str, phase: Phase, change: Change, code_version: str, now: float
    ) -> None:
        """Write an attempt's outcome, if the worker still holds the domain.

        Raises:
            LeaseLost: it does not; nothing was written.
        """
        values: dict[str, object] = {
            "state": change.state,
            "kind": change.kind,
            "reason": change.reason,
            "rounds": change.rounds,
            "not_before": change.not_before,
            "asked_to_wait_until": change.asked_to_wait_until,
            "claimed_by": None,
            "claimed_alone": 0,
            "updated_at": now,
        }
        if change.state.is_settled:
            values |= {
                "settled_at": now,
                "code_version": code_version,
                "data_version": _version_of(change),
                "revision": work.c.revision + 1,
            }
        with self._database.write() as connection:
            changed = connection.execute(
                update(work)
                .where(
                    work.c.phase == phase,
                    work.c.domain == change.domain,
                    work.c.claimed_by == worker_id,
                )
                .values(**values)
            ).rowcount
            if changed == 0:
                raise LeaseLost(f"{change.domain} was taken over by another worker")
            if change.state.is_settled:
                self._replace_result(connection, phase, change, now)
            _record_event(connection, phase, change, worker_id, now)

    def _replace_result(
        self, connection: Connection, phase: Phase, change: Change, now: float
    ) -> None:
        if change.payload is None:
            connection.execute(
                results.delete().where(results.c.phase == phase, results.c.domain == change.domain)
            )
            return
        connection.execute(
            self._database.upsert(results, ["phase", "domain"]).values(
                phase=phase,
                domain=change.domain,
                payload=zstandard.compress(change.payload, 3),
                at=now,
            )
        )

    def hold(self, phase: Phase, batch_keys: Sequence[str], failure: Failure, now: float) -> int:
        """Let all unsettled domains of the batches that nobody holds wait, without a round."""
        changed = 0
        with self._database.write() as connection:
            for keys in in_parts(batch_keys):
                mine = select(members.c.domain).where(members.c.batch_key.in_(keys))
                changed += connection.execute(
                    update(work)
                    .where(
                        work.c.phase == phase,
                        work.c.domain.in_(mine),
                        work.c.state.in_(UNSETTLED_VALUES),
                        work.c.claimed_by.is_(None),
                        # What waits for a reason of its own keeps that reason.
                        or_(work.c.kind.is_(None), work.c.kind == failure.kind),
                    )
                    .values(
                        state=State.WAITING,
                        kind=failure.kind,
                        reason=failure.message,
                        not_before=now,
                        updated_at=now,
                    )
                ).rowcount
        return changed

    def make_due(self, phase: Phase, batch_keys: Sequence[str]) -> None:
        """Let waiting domains be tried at once, but for waits that the other side asked for."""
        with self._database.write() as connection:
            for keys in in_parts(batch_keys):
                mine = select(members.c.domain).where(members.c.batch_key.in_(keys))
                connection.execute(
                    update(work)
                    .where(
                        work.c.phase == phase,
                        work.c.domain.in_(mine),
                        work.c.state == State.WAITING,
                        work.c.not_before > work.c.asked_to_wait_until,
                    )
                    .values(not_before=work.c.asked_to_wait_until)
                )

    def expire(
        self, phase: Phase, batch_keys: Sequence[str], settled_before: float, now: float
    ) -> int:
        """Make settled domains that are stale pending again; their results are kept till then."""
        changed = 0
        with self._database.write() as connection:
            for keys in in_parts(batch_keys):
                mine = select(members.c.domain).where(members.c.batch_key.in_(keys))
                changed += connection.execute(
                    update(work)
                    .where(
                        work.c.phase == phase,
                        work.c.domain.in_(mine),
                        work.c.state.not_in(UNSETTLED_VALUES),
                        work.c.settled_at < settled_before,
                    )
                    .values(
                        state=State.PENDING,
                        kind=None,
                        reason=None,
                        rounds=0,
                        deaths=0,
                        deaths_alone=0,
                        updated_at=now,
                    )
                ).rowcount
        return changed

    def record_profiles(self, states: Mapping[str, tuple[State, str | None]], now: float) -> None:
        """Write where the domains of a batch stand in PROFILE_BUILD (built as one, not claimed)."""
        by_state: defaultdict[tuple[State, str | None], list[str]] = defaultdict(list)
        for domain, outcome in states.items():
            by_state[outcome].append(domain)
        with self._database.write() as connection:
            for (state, reason), domains in by_state.items():
                connection.execute(
                    update(work)
                    .where(work.c.phase == Phase.PROFILE_BUILD, work.c.domain.in_(domains))
                    .values(
                        state=state,
                        reason=reason,
                        settled_at=now if state.is_settled else None,
                        updated_at=now,
                    )
                )


def _require_alive(connection: Connection, worker_id: str) -> None:
    """Stop a worker that woke up after its burial before it takes anything new."""
    ended_at = select(workers.c.ended_at).where(workers.c.id == worker_id)
    if connection.execute(ended_at).scalar_one_or_none() is not None:
        raise LeaseLost(f"worker {worker_id} was declared dead while it was running")


def _claimable(
    phase: Phase, batch_keys: Sequence[str], due_before: float, *, alone: bool
) -> Select[Any]:
    holder = workers.alias()
    is_suspect = work.c.deaths >= DEATHS_BEFORE_ALONE
    return (
        select(members, work.c.rounds, work.c.settled_at)
        .join(work, and_(work.c.domain == members.c.domain, work.c.phase == phase))
        .outerjoin(holder, holder.c.id == work.c.claimed_by)
        .where(
            members.c.batch_key.in_(batch_keys),
            work.c.state.in_(UNSETTLED_VALUES),
            work.c.not_before < due_before,
            or_(work.c.claimed_by.is_(None), holder.c.ended_at.is_not(None)),
            is_suspect if alone else ~is_suspect,
        )
        .order_by(members.c.batch_key, members.c.position)
        .with_for_update(skip_locked=True, of=work)
    )


def _query_of(row: object) -> CompanyQuery:
    values = row._mapping  # type: ignore[attr-defined]
    return CompanyQuery(
        domain=values["domain"],
        name=values["name"],
        country=values["country"],
        other_names=tuple(orjson.loads(values["other_names"])),
    )


def _version_of(change: Change) -> str:
    content = change.payload or f"{change.state}:{change.kind}".encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _record_event(
    connection: Connection, phase: Phase, change: Change, worker_id: str, now: float
) -> None:
    failure = change.failure
    connection.execute(
        events.insert().values(
            domain=change.domain,
            phase=phase,
            at=now,
            what=change.state.value,
            kind=change.kind,
            message=change.reason or "",
            url=failure.url if failure else None,
            provider=failure.provider if failure else None,
            rounds=change.rounds,
            worker_id=worker_id,
            stack=failure.stack if failure and failure.kind is FailureKind.BUG else None,
        )
    )
