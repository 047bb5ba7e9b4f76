"""Brings domains back that were given up or that wait: what `pipeline retry` changes in the ledger.

All of it is one transaction. What becomes of one row is decided in `core/bringing_back`; here is
which rows a selection means, and how they are changed. Rows that a worker holds are left alone:
it would lose its claim, and a call that was paid for with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    func,
    or_,
    select,
    update,
)

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.person_waits import BROUGHT_BACK
from resources.adapters.ledger.releasing import NOTHING, BroughtDomain, Released, release
from resources.adapters.ledger.schema import events, lists, members, work, workers
from resources.adapters.ledger.work_queries import in_parts, refresh_waits_for
from resources.core.bringing_back import BringBack, Selection, Standing, bring_back
from resources.core.errors import FailureKind
from resources.core.models import FETCHING, Phase, State

NO_LONGER_WAITS = "`pipeline retry` brought it back."
DOMAINS_NAMED = 100
ROWS_PER_PART = 2_000


@dataclass(slots=True)
class BroughtBack:
    """What became of a selection.

    Args:
        phases: Domains that are tried again, by phase.
        settled: How many of these stay settled until an attempt settles them anew.
        later: How many of these wait on, because the other side asked for it or is away.
        later_until: When the first of those is due, epoch seconds; None where there is none.
        batches: Keys of the batches that hold them, in order.
        domains: The first of them, at most `DOMAINS_NAMED`.
        in_hand: Left alone: a worker holds them.
        not_tried: Left alone: they were never tried.
        released: Batches that are healed again, whether or not one of their domains had to be
            brought back.
    """

    phases: Counter[Phase] = field(default_factory=Counter)
    settled: int = 0
    later: int = 0
    later_until: float | None = None
    batches: Sequence[str] = ()
    domains: Sequence[str] = ()
    in_hand: int = 0
    not_tried: int = 0
    released: Released = NOTHING


class BringingBack:
    """Carries out selections on a ledger's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def bring_back(self, selection: Selection, now: float) -> BroughtBack:
        """Let what the selection means be tried again, and note it in each domain's history."""
        done = BroughtBack()
        domains: list[str] = []
        with self._database.write() as connection:
            last_event = connection.execute(select(func.max(events.c.id))).scalar_one() or 0
            for phase, condition in _conditions(selection):
                for rows in _free_rows(connection, condition):
                    changed = _change(connection, phase, rows, now, done)
                    domains = sorted({*domains, *changed})[:DOMAINS_NAMED]
                in_hand = select(func.count()).select_from(_selected()).where(condition, _is_held())
                done.in_hand += connection.execute(in_hand).scalar_one()
            brought = _noted(connection, selection, last_event, now) if done.phases else []
            done.batches = sorted({one.batch_key for one in brought})
            done.released = release(self._database, selection, brought, now)
        done.domains = domains
        return done


def _conditions(selection: Selection) -> Iterator[tuple[Phase, ColumnElement[bool]]]:
    """The condition on rows of each phase; several, that share no row, for many domains."""
    wanted: list[ColumnElement[bool]] = []
    if selection.batch_key is not None or selection.list_name is not None:
        wanted.append(work.c.domain.in_(_within(select(members.c.domain), selection)))
    if selection.kind is not None:
        wanted.append(or_(work.c.kind == selection.kind, refresh_waits_for() == selection.kind))
    if selection.provider is not None:
        wanted.append(events.c.provider == selection.provider)
    if selection.is_quarantined:
        wanted.append(work.c.state == State.QUARANTINED)
    elif not selection.is_of_any_state:
        wanted.append(or_(work.c.state.in_([State.WAITING, State.QUARANTINED]), _is_refreshed()))
    for phase in FETCHING if selection.phase is None else (selection.phase,):
        mine = and_(work.c.phase == phase, *wanted)
        if not selection.domains:
            yield phase, mine
        for part in in_parts(sorted(set(selection.domains))):
            yield phase, and_(mine, work.c.domain.in_(part))


def _is_refreshed() -> ColumnElement[bool]:
    """The condition that a row is settled, to be worked on again, and was tried without success."""
    was_tried = or_(work.c.rounds > 0, work.c.deaths > 0, work.c.not_before > 0)
    return and_(work.c.refresh_asked == 1, was_tried)


def _is_held() -> ColumnElement[bool]:
    living = select(workers.c.id).where(workers.c.ended_at.is_(None))
    return and_(work.c.claimed_by.is_not(None), work.c.claimed_by.in_(living))


def _selected() -> Any:
    """Rows of work, each with its newest event."""
    other = events.alias()
    newest = (
        select(func.max(other.c.id))
        .where(other.c.domain == work.c.domain, other.c.phase == work.c.phase)
        .correlate(work)
        .scalar_subquery()
    )
    return work.outerjoin(events, events.c.id == newest)


def _free_rows(connection: Connection, condition: ColumnElement[bool]) -> Iterator[Sequence[Any]]:
    """Rows of one phase that nobody holds, locked, in parts and in the order of their domains."""
    columns = (
        work.c.domain,
        work.c.state,
        work.c.kind,
        work.c.rounds,
        work.c.deaths,
        work.c.refresh_asked,
        work.c.asked_to_wait_until,
        refresh_waits_for().label("refresh_kind"),
        events.c.provider,
        events.c.url,
    )
    after = ""
    while True:
        rows = connection.execute(
            select(*columns)
            .select_from(_selected())
            .where(condition, ~_is_held(), work.c.domain > after)
            .order_by(work.c.domain)
            .limit(ROWS_PER_PART)
            .with_for_update(of=work)
        ).all()
        if not rows:
            return
        yield rows
        after = rows[-1].domain


def _change(
    connection: Connection, phase: Phase, rows: Sequence[Row[Any]], now: float, done: BroughtBack
) -> list[str]:
    """Change rows and their histories. Returns the domains that are tried again."""
    alike: defaultdict[tuple[bool, bool, bool], list[str]] = defaultdict(list)
    notes = []
    for row in rows:
        decision = _decide(
            row.state,
            row.kind,
            row.refresh_asked,
            row.refresh_kind,
            row.asked_to_wait_until,
            row.deaths,
        )
        if decision is None:
            done.not_tried += 1
            continue
        keeps_wait = decision.not_before == row.asked_to_wait_until
        loses_reason = decision.is_mended and not decision.is_refresh
        alike[decision.is_refresh, keeps_wait, loses_reason].append(row.domain)
        notes.append(_note(row, phase, now))
        done.settled += decision.is_refresh
        if decision.not_before > now:
            done.later += 1
            done.later_until = min(done.later_until or decision.not_before, decision.not_before)
    for (is_refresh, keeps_wait, loses_reason), domains in alike.items():
        asked_until = work.c.asked_to_wait_until if keeps_wait else 0.0
        # Nobody waits any more for what a person has mended: the next run may try it by itself.
        over = {"kind": None, "reason": NO_LONGER_WAITS} if loses_reason else {}
        connection.execute(
            update(work)
            .where(work.c.phase == phase, work.c.domain.in_(domains))
            .values(
                refresh_asked=int(is_refresh),
                rounds=0,
                deaths=0,
                deaths_alone=0,
                not_before=asked_until,
                asked_to_wait_until=asked_until,
                # A worker that has ended may be named still.
                claimed_by=None,
                claimed_alone=0,
                updated_at=now,
                **over,
            )
        )
    if notes:
        connection.execute(events.insert(), notes)
        done.phases[phase] += len(notes)
    return [note["domain"] for note in notes]


@lru_cache(maxsize=1_024)
def _decide(
    state: str,
    kind: str | None,
    refresh_asked: int,
    refresh_kind: str | None,
    asked_to_wait_until: float,
    deaths: int,
) -> BringBack | None:
    """The decision on a row; most of a hundred thousand stand alike."""
    return bring_back(
        Standing(
            state=State(state),
            kind=FailureKind(kind) if kind else None,
            is_refreshing=bool(refresh_asked),
            refresh_kind=FailureKind(refresh_kind) if refresh_kind else None,
            asked_to_wait_until=asked_to_wait_until,
            deaths=deaths,
        )
    )


def _note(row: Row[Any], phase: Phase, now: float) -> dict[str, Any]:
    """An event for the domain's history; provider and URL stay those of its newest failure."""
    why = f" ({row.refresh_kind or row.kind})" if row.refresh_kind or row.kind else ""
    state = "being tried again" if row.refresh_asked else row.state
    rounds = f" after {row.rounds} round{'s' if row.rounds > 1 else ''}" if row.rounds else ""
    return {
        "domain": row.domain,
        "phase": phase,
        "at": now,
        "what": BROUGHT_BACK,
        "message": f"`pipeline retry` gave it fresh rounds; until now: {state}{why}{rounds}.",
        "url": row.url,
        "provider": row.provider,
    }


def _noted(
    connection: Connection, selection: Selection, after_event: int, now: float
) -> list[BroughtDomain]:
    """What was noted just now, with the batches that hold it: those selected, or all of them."""
    query = (
        select(events.c.domain, events.c.phase, members.c.batch_key)
        .select_from(members)
        .join(events, events.c.domain == members.c.domain)
        .where(events.c.id > after_event, events.c.what == BROUGHT_BACK, events.c.at == now)
    )
    rows = connection.execute(_within(query, selection))
    return [BroughtDomain(row.domain, Phase(row.phase), row.batch_key) for row in rows]


def _within(query: Select[Any], selection: Selection) -> Select[Any]:
    """A query on members, limited to the batch and the list that are selected."""
    if selection.batch_key is not None:
        query = query.where(members.c.batch_key == selection.batch_key)
    if selection.list_name is not None:
        query = query.join(lists, lists.c.id == members.c.list_id)
        query = query.where(lists.c.name == selection.list_name)
    return query
