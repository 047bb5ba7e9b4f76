"""Taking rows of work in hand: which rows a claim takes, in which order.

When a claim may be made, and what is done about domains in whose hands workers died, is in `work`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, and_, bindparam, or_, select, update

from resources.adapters.ledger.schema import members, work, workers
from resources.adapters.ledger.work_queries import in_parts, is_open
from resources.core.models import CompanyQuery, DomainTask, Phase

# Once this many workers have died with a domain in hand it is a suspect and kept from the others.
DEATHS_BEFORE_SUSPECT = 2


@dataclass(frozen=True)
class Claim:
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
            found.update(self.connection.execute(_SUSPECTS, self._asked(keys)).scalars())
        return sorted(found)

    def tasks(
        self, limit: int, fewest_deaths: int, most_deaths: int, *, is_alone: bool = False
    ) -> list[DomainTask]:
        """Take up to `limit` domains with which so many workers died."""
        found: dict[str, Row[Any]] = {}
        deaths = {"fewest_deaths": fewest_deaths, "most_deaths": most_deaths}
        for keys in in_parts(self.batch_keys):
            while (missing := limit - len(found)) > 0:
                asked = self._asked(keys) | deaths | {"missing": missing}
                rows = self.connection.execute(_CLAIMABLE, asked).all()
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
                is_extract_only=bool(row.extract_only),
            )
            for row in found.values()
        ]

    def _asked(self, batch_keys: Sequence[str]) -> dict[str, object]:
        return {"phase": self.phase, "keys": batch_keys, "due_before": self.due_before}

    def _mark(self, domains: Sequence[str], *, is_alone: bool) -> None:
        self.connection.execute(
            _MARK,
            {
                "b_phase": self.phase,
                "b_domains": domains,
                "claimed_by": self.worker_id,
                "claimed_alone": int(is_alone),
                "updated_at": self.now,
            },
        )


def _claimable(columns: Select[Any]) -> Select[Any]:
    """Rows of work that are open, due, and held by nobody who lives."""
    holder = workers.alias()
    of_phase = and_(work.c.domain == members.c.domain, work.c.phase == bindparam("phase"))
    return (
        columns.select_from(members)
        .join(work, of_phase)
        .outerjoin(holder, holder.c.id == work.c.claimed_by)
        .where(
            members.c.batch_key.in_(bindparam("keys", expanding=True)),
            is_open(),
            work.c.not_before < bindparam("due_before"),
            or_(work.c.claimed_by.is_(None), holder.c.ended_at.is_not(None)),
        )
    )


# Built once: to build a statement anew costs several times what it costs to run it.
_CLAIMABLE = (
    _claimable(select(members, work.c.rounds, work.c.settled_at, work.c.extract_only))
    .where(work.c.deaths.between(bindparam("fewest_deaths"), bindparam("most_deaths")))
    .order_by(members.c.batch_key, members.c.position)
    .with_for_update(skip_locked=True, of=work)
    .limit(bindparam("missing"))
)
_SUSPECTS = (
    _claimable(select(work.c.deaths)).where(work.c.deaths >= DEATHS_BEFORE_SUSPECT).distinct()
)
# What is set follows from the parameters' names.
_MARK = update(work).where(
    work.c.phase == bindparam("b_phase"), work.c.domain.in_(bindparam("b_domains", expanding=True))
)


def _query_of(row: object) -> CompanyQuery:
    values = row._mapping  # type: ignore[attr-defined]
    return CompanyQuery(
        domain=values["domain"],
        name=values["name"],
        country=values["country"],
        other_names=tuple(orjson.loads(values["other_names"])),
    )
