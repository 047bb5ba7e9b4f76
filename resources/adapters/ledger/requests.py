"""Requests: which batches somebody wants done in which phase, and what was tried for them.

What a request leads to is decided in `core/recovery`; here it is kept. A person's wish counts more
than what was held or given up before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, literal, or_, select, update
from sqlalchemy.types import Double, String

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.person_waits import PersonWaits
from resources.adapters.ledger.schema import batches, members, requests, work
from resources.adapters.ledger.work_queries import in_parts, is_open
from resources.core.models import FETCHING, Phase
from resources.core.recovery import MOST_DEATHS, Request


@dataclass(frozen=True, slots=True)
class Launch:
    """An automatic run that is asked for now, for one of its batches.

    Args:
        attempts: Automatic runs in a row before it that have brought nothing so far. This one is
            counted when it begins or ends: it may never be started.
        deaths: Runs in a row before it that died while nothing settled.
        progress: The batch's `Tally.progress` before it.
        code_version: Of the code that it runs.
    """

    batch_key: str
    phase: Phase
    attempts: int
    progress: str
    code_version: str
    deaths: int = 0


_FRESH: dict[str, Any] = {"attempts": 0, "deaths": 0, "held_at": None, "held_reason": None}
_NOTE_LAUNCH = (
    update(requests)
    .where(
        requests.c.batch_key == bindparam("b_batch_key"), requests.c.phase == bindparam("b_phase")
    )
    .values(
        launches=requests.c.launches + 1,
        launched_at=bindparam("b_now"),
        attempts=bindparam("b_attempts"),
        deaths=bindparam("b_deaths"),
        progress=bindparam("b_progress"),
        code_version=bindparam("b_code_version"),
    )
)

# In the order of `Request`: there are many rows, and each is read at every look.
_EVERYTHING = select(*(requests.c[each.name] for each in fields(Request)))
_PHASES = {phase.value: phase for phase in Phase}


class Requests:
    """Rows of requests, one a batch and phase."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._person_waits = PersonWaits(database)

    def ask(self, keys: Sequence[str], phases: Sequence[Phase], *, scope: str, now: float) -> None:
        """Note that these batches are wanted. What is wanted already stays as it is.

        Args:
            keys: Batches; what is none is left out.
            scope: Names the invocation whose limit of credits holds.
        """
        for statement in self._inserts(keys, phases, scope, now):
            with self._database.write() as connection:
                connection.execute(statement.on_conflict_do_nothing())

    def ask_by_person(
        self, keys: Sequence[str], phases: Sequence[Phase], *, scope: str, now: float
    ) -> None:
        """Note that a person wants these batches now, whatever was held or given up before, or
        waited for a person.

        Args: as for `ask`; the scope replaces an older one.
        """
        with self._database.write() as connection:
            for statement in self._inserts(keys, phases, scope, now):
                newer = {"scope": scope, "requested_at": now}
                upsert = statement.on_conflict_do_update(
                    index_elements=["batch_key", "phase"], set_=_FRESH | newer
                )
                connection.execute(upsert)
            for phase in phases:
                self._person_waits.end(phase, keys, now)

    def _inserts(
        self, keys: Sequence[str], phases: Sequence[Phase], scope: str, now: float
    ) -> Iterator[Any]:
        for phase in phases:
            for part in in_parts(keys):
                rows = select(
                    batches.c.key,
                    literal(phase.value, String),
                    literal(scope, String),
                    literal(now, Double),
                ).where(batches.c.key.in_(part))
                columns = ["batch_key", "phase", "scope", "requested_at"]
                yield self._database.insert(requests).from_select(columns, rows)

    def all(self) -> dict[tuple[Phase, str], Request]:
        """Everything that is wanted, by phase and batch key."""
        with self._database.read() as connection:
            rows = connection.execute(_EVERYTHING).all()
        return {(one.phase, one.batch_key): one for one in map(_request, rows)}

    def note_launches(self, plans: Sequence[Launch], now: float) -> None:
        """Note that an automatic run is asked for, for each of these."""
        if not plans:
            return
        rows = [
            {f"b_{name}": value for name, value in asdict(plan).items()} | {"b_now": now}
            for plan in plans
        ]
        with self._database.write() as connection:
            connection.execute(_NOTE_LAUNCH, rows)

    def note_run_began(self, keys: Sequence[str], phase: Phase, run_id: str) -> None:
        """Count an automatic run for the batches that it begins on; each run once."""
        with self._database.write() as connection:
            for part in in_parts(keys):
                mine = (requests.c.phase == phase, requests.c.batch_key.in_(part))
                connection.execute(
                    update(requests)
                    .where(*mine, requests.c.last_run_id.is_distinct_from(run_id))
                    .values(attempts=requests.c.attempts + 1, last_run_id=run_id)
                )

    def note_run_ended(
        self,
        keys: Sequence[str],
        phase: Phase,
        run_id: str,
        *,
        now: float,
        held_reason: str | None,
        is_due: bool = True,
        is_automatic: bool = False,
        ended_at: float | None = None,
    ) -> None:
        """Note that a run over these batches ended without settling all of them.

        A hold is for those that are not settled: the others owe nobody anything.

        Somebody had started it, so they are wanted from now on if they were not before: it may
        have ended before it could say so itself.

        Args:
            held_reason: Why they wait for a person from now on; None where they do not.
            is_due: Whether they are due at once, without a cool-down: it was ended from outside.
                Not so where many in a row were.
            is_automatic: Whether it counts for what is given up, where that was not counted when it
                began.
            ended_at: When the run ended, epoch seconds; `now` unless given. What a person has
                wanted anew since then is not held.
        """
        ended_at = now if ended_at is None else ended_at
        with self._database.write() as connection:
            self.ask(keys, [phase], scope=run_id, now=ended_at)
            for part in in_parts(keys):
                mine = (requests.c.phase == phase, requests.c.batch_key.in_(part))
                if is_automatic:
                    self.note_run_began(part, phase, run_id)
                ended: dict[str, Any] = {"last_run_id": run_id, "deaths": 0}
                # By the clock of another machine it may have ended later than it is noticed.
                ended["ended_at"] = min(ended_at, now)
                if held_reason is None and is_due:
                    ended["deaths"] = requests.c.deaths + 1
                    has_many = requests.c.deaths + 1 >= MOST_DEATHS
                    ended["launched_at"] = case((has_many, requests.c.launched_at), else_=None)
                connection.execute(update(requests).where(*mine).values(**ended))
            if held_reason is not None:
                self.hold(keys, phase, held_reason, ended_at)

    def hold(self, keys: Sequence[str], phase: Phase, reason: str, at: float) -> None:
        """Let batches that are wanted wait until a person goes on with them.

        Only those that are not settled; whether profiles are up to date is for the caller to say.

        Args:
            at: When a person decided so, epoch seconds; what was wanted anew since is not held.
        """
        mine = [requests.c.phase == phase, requests.c.requested_at <= at]
        if phase in FETCHING:
            mine.append(_is_unfinished(phase))
        with self._database.write() as connection:
            for part in in_parts(keys):
                connection.execute(
                    update(requests)
                    .where(*mine, requests.c.batch_key.in_(part))
                    .values(held_at=at, held_reason=reason)
                )

    def note_person_asked(
        self, keys: Sequence[str], phase: Phase, scope: str, asked_at: float, now: float
    ) -> None:
        """Note that a person had asked for a run over these batches, where the run has not done so.

        Args:
            asked_at: When, epoch seconds; what was wanted, or held, later than that stays so.
        """
        is_older = and_(
            requests.c.requested_at < asked_at,
            or_(requests.c.held_at.is_(None), requests.c.held_at <= asked_at),
        )
        with self._database.write() as connection:
            for part in in_parts(keys):
                mine = (requests.c.phase == phase, requests.c.batch_key.in_(part), is_older)
                newer = _FRESH | {"scope": scope, "requested_at": asked_at}
                changed = connection.execute(
                    update(requests).where(*mine).values(**newer).returning(requests.c.batch_key)
                )
                self._person_waits.end(phase, changed.scalars().all(), now)

    def release(self, pairs: Iterable[tuple[Phase, str]], *, now: float | None = None) -> None:
        """Let batches be healed again that were held or given up.

        Args:
            pairs: Phase and batch key.
            now: Epoch seconds; a cancel from before that holds them no more, also when it is
                noticed later.
        """
        values = _FRESH if now is None else _FRESH | {"requested_at": now}
        by_phase: dict[Phase, list[str]] = {}
        for phase, key in pairs:
            by_phase.setdefault(phase, []).append(key)
        with self._database.write() as connection:
            for phase, keys in by_phase.items():
                if now is not None:
                    self._person_waits.note_asked(phase, now)
                for part in in_parts(keys):
                    mine = (requests.c.phase == phase, requests.c.batch_key.in_(part))
                    connection.execute(update(requests).where(*mine).values(**values))


def _is_unfinished(phase: Phase) -> ColumnElement[bool]:
    """The condition that a domain of a request's batch is to be worked on."""
    of_batch = and_(
        members.c.batch_key == requests.c.batch_key,
        work.c.domain == members.c.domain,
        work.c.phase == phase,
    )
    return exists(select(work.c.domain).where(of_batch, is_open()).correlate(requests))


def _request(row: Sequence[Any]) -> Request:
    key, phase, *rest = row
    return Request(key, _PHASES[phase], *rest)
