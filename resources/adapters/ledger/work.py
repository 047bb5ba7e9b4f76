"""The rows of work: one per phase and domain; claiming them, and writing what came of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import zstandard
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, or_, select, update

from resources.adapters.ledger.schema import events, members, results, work, workers
from resources.adapters.ledger.work_queries import (
    UNSETTLED_VALUES,
    WorkQueries,
    in_parts,
    is_open,
    is_stale,
)
from resources.adapters.ledger.workers import REFRESH_GIVEN_UP, older_is_kept
from resources.core.errors import Failure, FailureKind, LeaseLost
from resources.core.models import CompanyQuery, DomainTask, Phase, State
from resources.core.rounds import Change

# Once this many workers have died with a domain in hand it is a suspect and kept from the others.
DEATHS_BEFORE_SUSPECT = 2
# Suspects by deaths are worked on in ever smaller groups: a kill takes everything in hand with it,
# and to try each of them one by one takes minutes. Those with more deaths are worked on alone, so
# that the next one is certainly its own doing (`workers.DEATHS_ALONE_BEFORE_QUARANTINE`).
SUSPECTS_AT_A_TIME = {2: 16, 3: 4}
# States that say that there is nothing (more) to be had; an older result is no longer true then.
EMPTY_STATES = frozenset({State.NOT_FOUND, State.REFUSED})


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
        """Take up to `limit` open, due, unheld domains of the batches, in batch order.

        Open are those that are unsettled, and settled ones that are to be refreshed.

        Args:
            due_before: Only rows whose not-before time is earlier, epoch seconds.
            alone: Take suspects, in whose hands workers died, instead of the others: those with
                the fewest deaths, up to as many as may be in hand together, or one alone.

        Raises:
            LeaseLost: the worker was declared dead; nothing was taken.
        """
        with self._database.write() as connection:
            _require_alive(connection, worker_id)
            take = _Claim(connection, worker_id, phase, batch_keys, due_before, now)
            if not alone:
                return take.tasks(limit, work.c.deaths < DEATHS_BEFORE_SUSPECT)
            for deaths in take.deaths_of_suspects():
                size = SUSPECTS_AT_A_TIME.get(deaths, 1)
                # Another worker may have taken all of these meanwhile; then those with more.
                if tasks := take.tasks(
                    min(limit, size), work.c.deaths == deaths, is_alone=size == 1
                ):
                    return tasks
            return []

    def settle(
        self, worker_id: str, phase: Phase, change: Change, code_version: str, now: float
    ) -> None:
        """Write an attempt's outcome, if the worker still holds the domain.

        A domain that is being refreshed keeps its older state and result until the attempt settles
        it anew; a refresh that waits or is given up takes nothing away.

        Raises:
            LeaseLost: it does not; nothing was written.
        """
        mine = and_(
            work.c.phase == phase,
            work.c.domain == change.domain,
            work.c.claimed_by == worker_id,
        )
        with self._database.write() as connection:
            older = connection.execute(
                select(work.c.state, work.c.refresh_asked).where(mine).with_for_update()
            ).first()
            if older is None:
                raise LeaseLost(f"{change.domain} was taken over by another worker")
            is_given_up = change.state is State.QUARANTINED
            is_found_anew = change.state.is_settled and not is_given_up
            keeps_older = bool(older.refresh_asked) and not is_found_anew
            values = _attempt_values(change, now)
            if change.state.is_settled:
                values["refresh_asked"] = 0
            if not keeps_older:
                values |= _state_values(change, code_version, now)
            connection.execute(update(work).where(mine).values(**values))
            if change.state.is_settled and not keeps_older:
                self._replace_result(connection, phase, change, now)
            what = change.state.value
            if keeps_older and is_given_up:
                what = REFRESH_GIVEN_UP
                change = replace(change, reason=older_is_kept(change.reason or "", older.state))
            _record_event(connection, phase, change, what, worker_id, now)

    def _replace_result(
        self, connection: Connection, phase: Phase, change: Change, now: float
    ) -> None:
        if change.payload is None:
            if change.state not in EMPTY_STATES:
                return
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
                        or_(work.c.state == State.WAITING, work.c.refresh_asked == 1),
                        work.c.not_before > work.c.asked_to_wait_until,
                    )
                    .values(not_before=work.c.asked_to_wait_until)
                )

    def expire(
        self,
        phase: Phase,
        batch_keys: Sequence[str],
        settled_before: float,
        now: float,
        *,
        code_version: str | None = None,
    ) -> int:
        """Let settled domains that are stale be worked on again, with fresh rounds.

        They stay settled, with their result, until an attempt settles them anew: a batch of another
        list that holds one of them too is as true as it was.

        Args:
            settled_before: Epoch seconds; what settled earlier is stale.
            code_version: What another version of the phase's code settled is stale too.

        Returns: how many domains were asked for; those whose refresh is under way do not count.
        """
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
                        work.c.refresh_asked == 0,
                        is_stale(settled_before, code_version),
                    )
                    .values(
                        refresh_asked=1,
                        rounds=0,
                        not_before=0.0,
                        asked_to_wait_until=0.0,
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


@dataclass(frozen=True)
class _Claim:
    """One claim within its transaction."""

    connection: Connection
    worker_id: str
    phase: Phase
    batch_keys: Sequence[str]
    due_before: float
    now: float

    def deaths_of_suspects(self) -> list[int]:
        """The numbers of deaths that suspects have which could be taken, lowest first."""
        found: set[int] = set()
        for keys in in_parts(self.batch_keys):
            query = _claimable(select(work.c.deaths), self.phase, keys, self.due_before)
            query = query.where(work.c.deaths >= DEATHS_BEFORE_SUSPECT).distinct()
            found.update(self.connection.execute(query).scalars())
        return sorted(found)

    def tasks(
        self, limit: int, condition: ColumnElement[bool], *, is_alone: bool = False
    ) -> list[DomainTask]:
        """Take up to `limit` domains that meet the condition."""
        found: dict[str, Row[Any]] = {}
        columns = select(members, work.c.rounds, work.c.settled_at)
        for keys in in_parts(self.batch_keys):
            query = (
                _claimable(columns, self.phase, keys, self.due_before)
                .where(condition)
                .order_by(members.c.batch_key, members.c.position)
                .with_for_update(skip_locked=True, of=work)
            )
            while (missing := limit - len(found)) > 0:
                rows = self.connection.execute(query.limit(missing)).all()
                if not rows:
                    break
                # Two lists may share a domain: it comes twice, and is taken for the first.
                for row in rows:
                    found.setdefault(row.domain, row)
                self._mark([row.domain for row in rows], is_alone=is_alone)
        return [
            DomainTask(
                _query_of(row),
                row.batch_key,
                rounds=row.rounds,
                is_alone=is_alone,
                last_settled_at=row.settled_at or 0.0,
            )
            for row in found.values()
        ]

    def _mark(self, domains: Sequence[str], *, is_alone: bool) -> None:
        self.connection.execute(
            update(work)
            .where(work.c.phase == self.phase, work.c.domain.in_(domains))
            .values(claimed_by=self.worker_id, claimed_alone=int(is_alone), updated_at=self.now)
        )


def _claimable(
    columns: Select[Any], phase: Phase, batch_keys: Sequence[str], due_before: float
) -> Select[Any]:
    """Rows of work that are open, due, and held by nobody who lives."""
    holder = workers.alias()
    return (
        columns.select_from(members)
        .join(work, and_(work.c.domain == members.c.domain, work.c.phase == phase))
        .outerjoin(holder, holder.c.id == work.c.claimed_by)
        .where(
            members.c.batch_key.in_(batch_keys),
            is_open(),
            work.c.not_before < due_before,
            or_(work.c.claimed_by.is_(None), holder.c.ended_at.is_not(None)),
        )
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


def _attempt_values(change: Change, now: float) -> dict[str, object]:
    """What every attempt leaves behind, whether it settles the domain or not."""
    return {
        "rounds": change.rounds,
        "not_before": change.not_before,
        "asked_to_wait_until": change.asked_to_wait_until,
        "claimed_by": None,
        "claimed_alone": 0,
        "updated_at": now,
    }


def _state_values(change: Change, code_version: str, now: float) -> dict[str, object]:
    """Where the domain stands now."""
    values: dict[str, object] = {
        "state": change.state,
        "kind": change.kind,
        "reason": change.reason,
    }
    if change.state.is_settled:
        values |= {
            "settled_at": now,
            "code_version": code_version,
            "data_version": _version_of(change),
            "revision": work.c.revision + 1,
        }
    return values


def _record_event(
    connection: Connection, phase: Phase, change: Change, what: str, worker_id: str, now: float
) -> None:
    failure = change.failure
    connection.execute(
        events.insert().values(
            domain=change.domain,
            phase=phase,
            at=now,
            what=what,
            kind=change.kind,
            message=change.reason or "",
            url=failure.url if failure else None,
            provider=failure.provider if failure else None,
            rounds=change.rounds,
            worker_id=worker_id,
            stack=failure.stack if failure and failure.kind is FailureKind.BUG else None,
        )
    )
