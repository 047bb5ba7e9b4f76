"""The rows of work: one per phase and domain; claiming them, and writing what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, or_, select, update

from resources.adapters.ledger.claiming import DEATHS_BEFORE_SUSPECT, Claim
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import members, work
from resources.adapters.ledger.settling import Attempt, Settling
from resources.adapters.ledger.work_queries import (
    UNSETTLED_VALUES,
    WorkQueries,
    in_parts,
    is_stale,
)
from resources.adapters.ledger.workers import require_alive
from resources.core.errors import Failure
from resources.core.models import DomainTask, Phase, State
from resources.core.rounds import Change

# Suspects by deaths are worked on in ever smaller groups: a kill takes everything in hand with it,
# and to try each of them one by one takes minutes. Those with more deaths are worked on alone, so
# that the next one is certainly its own doing (`core.rounds`).
SUSPECTS_AT_A_TIME = {2: 16, 3: 4}


class Work(WorkQueries):
    """Claims and results: everything that changes rows of work."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._settling = Settling(database)

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
            require_alive(connection, worker_id)
            take = Claim(connection, worker_id, phase, batch_keys, due_before, now)
            if not alone:
                return take.tasks(limit, 0, DEATHS_BEFORE_SUSPECT - 1)
            for deaths in take.deaths_of_suspects():
                size = SUSPECTS_AT_A_TIME.get(deaths, 1)
                # Another worker may have taken all of these meanwhile; then those with more.
                if tasks := take.tasks(min(limit, size), deaths, deaths, is_alone=size == 1):
                    return tasks
            return []

    def settle(
        self, worker_id: str, phase: Phase, change: Change, code_version: str, now: float
    ) -> None:
        """Write one attempt's outcome; see `settle_many`.

        Raises:
            LeaseLost: the worker no longer holds the domain; nothing was written.
        """
        written = self.settle_many([Attempt(worker_id, phase, change, code_version, now)])[0]
        if written is not None:
            raise written

    def settle_many(self, attempts: Sequence[Attempt]) -> Sequence[Exception | None]:
        """Write outcomes of attempts; see `settling`."""
        return self._settling.settle_many(attempts)

    def hold(self, phase: Phase, batch_keys: Sequence[str], failure: Failure, now: float) -> int:
        """Let all unsettled domains of the batches that nobody holds wait, without a round.

        They are due once the failure's `retry_after_s` is over. That is our own wait, and not one
        that the other side asked for: `make_due` overrides it.
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
                        work.c.state.in_(UNSETTLED_VALUES),
                        work.c.claimed_by.is_(None),
                        # What waits for a reason of its own keeps that reason.
                        or_(work.c.kind.is_(None), work.c.kind == failure.kind),
                    )
                    .values(
                        state=State.WAITING,
                        kind=failure.kind,
                        reason=failure.message,
                        not_before=now + (failure.retry_after_s or 0.0),
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
        is_wanted = and_(
            work.c.state.not_in(UNSETTLED_VALUES), is_stale(settled_before, code_version)
        )
        return self._ask_again(phase, batch_keys, is_wanted, now, is_extract_only=False)

    def ask_extraction(self, batch_keys: Sequence[str], now: float) -> int:
        """Have the pages that are kept of the batches' sites extracted again, without any fetch.

        Returns: how many domains were asked for; those whose refresh is under way do not count.
        """
        is_wanted = work.c.state == State.SUCCEEDED
        return self._ask_again(
            Phase.PAGE_SCRAPING, batch_keys, is_wanted, now, is_extract_only=True
        )

    def _ask_again(
        self,
        phase: Phase,
        batch_keys: Sequence[str],
        is_wanted: ColumnElement[bool],
        now: float,
        *,
        is_extract_only: bool,
    ) -> int:
        """Let settled domains be worked on again, with fresh rounds."""
        changed = 0
        with self._database.write() as connection:
            for keys in in_parts(batch_keys):
                mine = select(members.c.domain).where(members.c.batch_key.in_(keys))
                changed += connection.execute(
                    update(work)
                    .where(
                        work.c.phase == phase,
                        work.c.domain.in_(mine),
                        work.c.refresh_asked == 0,
                        is_wanted,
                    )
                    .values(
                        refresh_asked=1,
                        extract_only=int(is_extract_only),
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
        """Write where the domains of a batch stand in PROFILE_BUILD (built as one, not claimed).

        A row that says so already stays as it is: building again changes nothing by itself.
        """
        by_state: defaultdict[tuple[State, str | None], list[str]] = defaultdict(list)
        for domain, outcome in states.items():
            by_state[outcome].append(domain)
        with self._database.write() as connection:
            for (state, reason), domains in by_state.items():
                connection.execute(
                    update(work)
                    .where(
                        work.c.phase == Phase.PROFILE_BUILD,
                        work.c.domain.in_(domains),
                        or_(work.c.state != state, work.c.reason.is_distinct_from(reason)),
                    )
                    .values(
                        state=state,
                        reason=reason,
                        settled_at=now if state.is_settled else None,
                        updated_at=now,
                    )
                )
