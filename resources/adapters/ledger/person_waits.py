"""Waits that nobody but a person ends: a wrong key, a spent quota, a spent limit of credits.

Who begins a run, or releases a batch, has acted: what waited for him waits no more, whatever
becomes of the run. Which kinds these are is in `core/errors`; `pipeline retry` chooses its rows
itself (`bringing_back`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, case, exists, func, insert, or_, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import calls, events, members, requests, work
from resources.adapters.ledger.watermarks import Watermarks
from resources.adapters.ledger.work_queries import (
    UNSETTLED_VALUES,
    in_parts,
    is_in_hand,
    refresh_waits_for,
)
from resources.core.errors import RULES, FailureKind
from resources.core.models import Phase

BROUGHT_BACK = "brought_back"
NO_LONGER_WAITS = "A person began a run for it."
PERSON_KINDS = tuple(kind for kind in FailureKind if RULES[kind].needs_person)


class PersonWaits:
    """Rows that wait for a person, and when one has acted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watermarks = Watermarks(database)

    def end(self, phase: Phase, batch_keys: Sequence[str], now: float) -> None:
        """Note that a person wants these batches: what waited for one is tried again at once."""
        with self._database.write() as connection:
            self.note_asked(phase, now)
            for keys in in_parts(batch_keys):
                mine = select(members.c.domain).where(members.c.batch_key.in_(keys))
                waiting = select(work.c.domain).where(
                    work.c.phase == phase, work.c.domain.in_(mine), ~is_in_hand(), _waits_for()
                )
                found = connection.execute(waiting).scalars().all()
                for domains in in_parts(found):
                    rows = (work.c.phase == phase, work.c.domain.in_(domains))
                    is_unsettled = work.c.state.in_(UNSETTLED_VALUES)
                    connection.execute(
                        update(work)
                        .where(*rows)
                        .values(
                            kind=case((is_unsettled, None), else_=work.c.kind),
                            reason=case((is_unsettled, NO_LONGER_WAITS), else_=work.c.reason),
                            not_before=0.0,
                            asked_to_wait_until=0.0,
                            updated_at=now,
                        )
                    )
                    connection.execute(
                        insert(events),
                        [
                            {
                                "domain": domain,
                                "phase": phase,
                                "at": now,
                                "what": BROUGHT_BACK,
                                "message": NO_LONGER_WAITS,
                            }
                            for domain in domains
                        ],
                    )

    def note_asked(self, phase: Phase, now: float) -> None:
        """Note that a person wants something in a phase."""
        self._watermarks.set(_asked(phase), now)

    def last_asked_at(self, phase: Phase) -> float:
        """When a person last wanted anything in a phase, epoch seconds; 0.0 for never."""
        return self._watermarks.get(_asked(phase))

    def answered_at(self, provider: str) -> float:
        """When a provider last gave an answer without a failure, epoch seconds; 0.0 for never."""
        newest = select(func.max(calls.c.answered_at)).where(
            calls.c.provider == provider, calls.c.outcome == "answered", calls.c.message.is_(None)
        )
        with self._database.read() as connection:
            return float(connection.execute(newest).scalar() or 0.0)

    def count(self, phase: Phase, kinds: Collection[FailureKind], since: float) -> Counter[str]:
        """Domains that wait for a person since a time, by kind.

        Without those that a worker has in hand, and those of which every wanted batch is held.

        Args:
            since: Epoch seconds; a wait that began then or earlier is left out.
        """
        is_wanted = exists(
            select(requests.c.batch_key)
            .join(members, members.c.batch_key == requests.c.batch_key)
            .where(
                requests.c.phase == phase,
                requests.c.held_reason.is_(None),
                members.c.domain == work.c.domain,
            )
            .correlate(work)
        )
        waits_for = func.coalesce(refresh_waits_for(), work.c.kind).label("waits_for")
        query = (
            select(waits_for, func.count())
            .where(
                work.c.phase == phase,
                work.c.updated_at > since,
                ~is_in_hand(),
                _waits_for(kinds),
                is_wanted,
            )
            .group_by("waits_for")
        )
        with self._database.read() as connection:
            return Counter({str(kind): int(n) for kind, n in connection.execute(query)})


def _waits_for(kinds: Collection[FailureKind] = PERSON_KINDS) -> ColumnElement[bool]:
    return or_(
        and_(work.c.state.in_(UNSETTLED_VALUES), work.c.kind.in_(kinds)),
        and_(work.c.refresh_asked == 1, refresh_waits_for().in_(kinds)),
    )


def _asked(phase: Phase) -> str:
    return f"person_asked:{phase}"
