"""Questions that people ask of the ledger: what stands where, why, and what happened to a domain.

Reads only. What the work itself asks (claims, tallies, results) is in the modules of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Select, case, func, select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.lists import IngestReport, Rejected
from resources.adapters.ledger.schema import (
    batches,
    calls,
    events,
    ingests,
    lists,
    members,
    rejected_rows,
    robots,
    work,
    workers,
)
from resources.adapters.ledger.workers import ProcessIdentity, is_process_gone
from resources.core.models import Phase, State

DOMAINS_PER_QUERY = 5_000
Row = Mapping[str, Any]


class Reading:
    """Queries of the commands that show something."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_ingest(self, list_name: str) -> IngestReport | None:
        """What became of the file that was taken in last, or None when there is no such list."""
        row = self._first(
            select(ingests)
            .join(lists, lists.c.id == ingests.c.list_id)
            .where(lists.c.name == list_name)
            .order_by(ingests.c.id.desc())
        )
        if row is None:
            return None
        return IngestReport(
            list_name,
            rows=row["rows"],
            accepted=row["accepted"],
            duplicates=row["duplicates"],
            rejected=row["rejected"],
            added=row["added"],
            batch_keys=(),
        )

    def rejections(self, list_name: str, first: int) -> tuple[dict[str, int], list[Rejected]]:
        """Rejected rows of a list's newest file: counts by reason, and the first few by line."""
        mine = select(lists.c.id).where(lists.c.name == list_name).scalar_subquery()
        here = rejected_rows.c.list_id == mine
        counts = self._all(
            select(rejected_rows.c.reason, func.count().label("n"))
            .where(here)
            .group_by(rejected_rows.c.reason)
            .order_by(func.count().desc())
        )
        rows = self._all(
            select(rejected_rows).where(here).order_by(rejected_rows.c.line).limit(first)
        )
        found = [Rejected(row["line"], row["raw"], row["reason"], row["detail"]) for row in rows]
        return {row["reason"]: int(row["n"]) for row in counts}, found

    def groups(self, list_name: str | None = None) -> list[Row]:
        """Domains by phase, state and kind, of one list or of all; each domain counts once.

        Returns: `phase, state, kind, domains, claimed, not_before` (the earliest, epoch seconds)
            and `refreshing` (settled ones that are being tried again).
        """
        held = func.sum(case((work.c.claimed_by.is_not(None), 1), else_=0)).label("claimed")
        count = func.count().label("domains")
        return self._all(
            select(
                work.c.phase,
                work.c.state,
                work.c.kind,
                count,
                held,
                func.min(work.c.not_before).label("not_before"),
                func.sum(work.c.refresh_asked).label("refreshing"),
            )
            .where(*_in_list(list_name))
            .group_by(work.c.phase, work.c.state, work.c.kind)
            .order_by(work.c.phase, count.desc(), work.c.state, work.c.kind)
        )

    def newest_of(
        self, phase: Phase, state: State, kind: str | None, list_name: str | None = None
    ) -> Row | None:
        """The domain that came into a group last: `domain, reason, rounds, updated_at, url`."""
        is_kind = work.c.kind.is_(None) if kind is None else work.c.kind == kind
        row = self._first(
            select(work.c.domain, work.c.reason, work.c.rounds, work.c.updated_at)
            .where(work.c.phase == phase, work.c.state == state, is_kind, *_in_list(list_name))
            .order_by(work.c.updated_at.desc(), work.c.domain)
        )
        if row is None:
            return None
        event = self._first(
            select(events.c.url)
            .where(events.c.domain == row["domain"], events.c.phase == phase)
            .order_by(events.c.id.desc())
        )
        return {**row, "url": event["url"] if event else None}

    def standing(self, domain: str) -> list[Row]:
        """Where a domain stands in every phase, with the process that holds it, if one does."""
        return self._all(
            select(
                work.c.phase,
                work.c.state,
                work.c.kind,
                work.c.reason,
                work.c.not_before,
                work.c.rounds,
                work.c.deaths,
                work.c.refresh_asked,
                work.c.settled_at,
                work.c.updated_at,
                workers.c.pid,
                workers.c.host,
                workers.c.ended_at,
            )
            .outerjoin(workers, workers.c.id == work.c.claimed_by)
            .where(work.c.domain == domain)
        )

    def appearances(self, domain: str) -> list[Row]:
        """Where a domain stands in lists, oldest first.

        Returns: `list, batch, line, name, country, other_names, at` (when the batch was made).
        """
        rows = self._all(
            select(
                lists.c.name.label("list"),
                members.c.batch_key.label("batch"),
                members.c.line,
                members.c.name,
                members.c.country,
                members.c.other_names,
                batches.c.created_at.label("at"),
            )
            .join(lists, lists.c.id == members.c.list_id)
            .join(batches, batches.c.key == members.c.batch_key)
            .where(members.c.domain == domain)
            .order_by(batches.c.created_at, members.c.batch_key)
        )
        return [{**row, "other_names": orjson.loads(row["other_names"])} for row in rows]

    def batches_with(
        self, domains: Sequence[str], list_name: str | None = None
    ) -> dict[str, list[str]]:
        """Batch keys by domain, of one list or of all, oldest first; unknown domains left out."""
        found: dict[str, list[str]] = {}
        for start in range(0, len(domains), DOMAINS_PER_QUERY):
            query = (
                select(members.c.domain, members.c.batch_key)
                .join(lists, lists.c.id == members.c.list_id)
                .where(members.c.domain.in_(domains[start : start + DOMAINS_PER_QUERY]))
                .order_by(members.c.list_id, members.c.batch_key)
            )
            if list_name is not None:
                query = query.where(lists.c.name == list_name)
            for row in self._all(query):
                found.setdefault(row["domain"], []).append(row["batch_key"])
        return found

    def live_workers(self, now: float) -> list[Row]:
        """Workers that live, as far as can be known from here, oldest first."""
        rows = self._all(
            select(workers)
            .where(workers.c.ended_at.is_(None), workers.c.lease_until >= now)
            .order_by(workers.c.started_at)
        )
        names = ("host", "boot_id", "pid", "process_started")
        return [
            row
            for row in rows
            if not is_process_gone(ProcessIdentity(*(row[name] for name in names)))
        ]

    def call_totals(self) -> dict[str, dict[str, float]]:
        """Of every provider over all time: `calls`, `credits`, and `unanswered` calls."""
        is_open = case((calls.c.answered_at.is_(None), 1), else_=0)
        rows = self._all(
            select(
                calls.c.provider,
                func.count().label("calls"),
                func.sum(calls.c.credits).label("credits"),
                func.sum(is_open).label("unanswered"),
            )
            .group_by(calls.c.provider)
            .order_by(calls.c.provider)
        )
        return {
            row["provider"]: {
                "calls": int(row["calls"]),
                "credits": float(row["credits"] or 0),
                "unanswered": int(row["unanswered"] or 0),
            }
            for row in rows
        }

    def robots_of(self, hosts: Sequence[str]) -> list[Row]:
        """Kept robots.txt files, fresh or not: `host, status, body` (zstd), `fetched_at`."""
        return self._all(
            select(robots).where(robots.c.host.in_(hosts)).order_by(robots.c.fetched_at)
        )

    def last_change(self) -> float | None:
        """When any domain's state was changed last, epoch seconds; None in an empty ledger."""
        row = self._first(select(func.max(work.c.updated_at).label("at")))
        return None if row is None or row["at"] is None else float(row["at"])

    def _all(self, query: Select[Any]) -> list[Row]:
        with self._database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def _first(self, query: Select[Any]) -> Row | None:
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).first()
        return None if row is None else dict(row._mapping)


def _in_list(list_name: str | None) -> tuple[Any, ...]:
    """The condition that a row of work belongs to a list; none where all are meant."""
    if list_name is None:
        return ()
    mine = (
        select(members.c.domain)
        .join(lists, lists.c.id == members.c.list_id)
        .where(lists.c.name == list_name)
    )
    return (work.c.domain.in_(mine),)
