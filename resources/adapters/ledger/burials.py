"""What a dead worker leaves behind: its domains are freed, and the death is noted with each.

Domains in whose hands workers keep dying are worked on in ever smaller groups, then alone, and in
the end the one that does it is quarantined (`core.rounds`). Who is dead is found in `workers`.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update

from resources.adapters.ledger.schema import events, work, workers
from resources.adapters.ledger.work_queries import is_open
from resources.core.errors import FailureKind
from resources.core.models import State
from resources.core.rounds import OTHER_DEATHS_WITHIN_S, is_cause_of_deaths

REFRESH_GIVEN_UP = "given_up"
DIED = "died"
KILLED_BY_IT = "The worker process died each time it worked on this domain alone."


def older_is_kept(reason: str, older_state: str) -> str:
    """Why a refresh was given up, and what that means for the result from before."""
    return f"{reason.rstrip('.')}. The older result ({older_state}) is kept."


def free_what_it_held(connection: Connection, worker_id: str, now: float) -> None:
    """Count the death for each domain that a dead worker held, and note it in their history."""
    was_open = is_open()
    held = connection.execute(
        select(
            work.c.phase,
            work.c.domain,
            work.c.rounds,
            work.c.state,
            work.c.refresh_asked,
            (work.c.deaths_alone + work.c.claimed_alone).label("deaths_alone"),
        ).where(work.c.claimed_by == worker_id, was_open)
    ).all()
    connection.execute(
        update(work)
        .where(work.c.claimed_by == worker_id, was_open)
        .values(
            deaths=work.c.deaths + 1,
            deaths_alone=work.c.deaths_alone + work.c.claimed_alone,
            claimed_by=None,
            claimed_alone=0,
        )
    )
    connection.execute(
        update(work).where(work.c.claimed_by == worker_id).values(claimed_by=None, claimed_alone=0)
    )
    died_before = _died_between(connection, now - OTHER_DEATHS_WITHIN_S, now)
    for row in held:
        is_culprit = is_cause_of_deaths(row.deaths_alone, died_before - (row.deaths_alone - 1))
        reason = KILLED_BY_IT if is_culprit else "A worker process died with it in hand."
        what = "worker_died"
        if is_culprit:
            what = State.QUARANTINED.value
            values: dict[str, object] = {"updated_at": now, "refresh_asked": 0}
            if row.refresh_asked and row.state != State.QUARANTINED:
                what, reason = REFRESH_GIVEN_UP, older_is_kept(reason, row.state)
            else:
                values |= {
                    "state": State.QUARANTINED,
                    "kind": FailureKind.BUG,
                    "reason": reason,
                    "settled_at": now,
                    "revision": work.c.revision + 1,
                }
            connection.execute(
                update(work)
                .where(work.c.phase == row.phase, work.c.domain == row.domain)
                .values(**values)
            )
        connection.execute(
            events.insert().values(
                domain=row.domain,
                phase=row.phase,
                at=now,
                what=what,
                kind=FailureKind.BUG if is_culprit else None,
                message=reason,
                rounds=row.rounds,
                worker_id=worker_id,
            )
        )


def _died_between(connection: Connection, since: float, until: float) -> int:
    """How many workers were declared dead in a time, its end not included."""
    return connection.execute(
        select(func.count())
        .select_from(workers)
        .where(
            workers.c.end_reason == DIED,
            workers.c.ended_at >= since,
            workers.c.ended_at < until,
        )
    ).scalar_one()
