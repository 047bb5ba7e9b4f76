"""Writing what attempts came to: many outcomes in a few statements, each only if it is still ours.

Every outcome names the worker that holds the domain. What an outcome means for the domain is
decided in `core.rounds`; here it is written, with the result and a line in the domain's history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, tuple_, update

from resources.adapters.ledger.burials import REFRESH_GIVEN_UP, older_is_kept
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import events, results, work
from resources.adapters.packing import pack
from resources.core.errors import FailureKind, LeaseLost
from resources.core.models import Phase, State
from resources.core.rounds import Change

# States that say that there is nothing (more) to be had; an older result is no longer true then.
EMPTY_STATES = frozenset({State.NOT_FOUND, State.REFUSED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt's outcome, to be written.

    Args:
        worker_id: Who must hold the domain.
        phase: Of which phase.
        change: What is to be written.
        code_version: Of the phase's code.
        now: Epoch seconds.
    """

    worker_id: str
    phase: Phase
    change: Change
    code_version: str
    now: float


class Settling:
    """Writes outcomes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._update_work = database.rows(_UPDATE_WORK)
        self._save_results = database.rows(database.upsert(results, ["phase", "domain"]))
        self._insert_events = database.rows(events.insert())

    def settle_many(self, attempts: Sequence[Attempt]) -> Sequence[Exception | None]:
        """Write outcomes, each if its worker still holds the domain.

        A domain that is being refreshed keeps its older state and result until the attempt settles
        it anew; a refresh that waits or is given up takes nothing away. Where there is nothing to
        keep, because the domain was given up before too, the newer reason replaces the older one.

        Returns: None for what was written, LeaseLost in the place of what was not.
        """
        with self._database.write() as connection:
            older = _held_rows(connection, attempts)
            outcomes: list[_Outcome | None] = []
            for one in attempts:
                key = (one.phase, one.change.domain)
                if key not in older or older[key].claimed_by != one.worker_id:
                    outcomes.append(None)
                else:
                    # Taken out: the first outcome ends the claim, and a second one finds none.
                    outcomes.append(_outcome_of(one, older.pop(key)))
            self._write(connection, [outcome for outcome in outcomes if outcome is not None])
        return [
            LeaseLost(f"{one.change.domain} was taken over by another worker")
            if outcome is None
            else None
            for one, outcome in zip(attempts, outcomes, strict=True)
        ]

    def _write(self, connection: Connection, outcomes: Sequence[_Outcome]) -> None:
        if not outcomes:
            return
        self._update_work.run(connection, [outcome.work for outcome in outcomes])
        saved = [outcome.result for outcome in outcomes if outcome.result is not None]
        self._save_results.run(connection, saved)
        for outcome in outcomes:
            if outcome.removes_result:
                keys = (outcome.work["b_phase"], outcome.work["b_domain"])
                connection.execute(
                    results.delete().where(tuple_(results.c.phase, results.c.domain) == keys)
                )
        self._insert_events.run(connection, [outcome.event for outcome in outcomes])


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The rows that follow from one attempt."""

    work: Mapping[str, Any]
    event: Mapping[str, Any]
    result: Mapping[str, Any] | None
    removes_result: bool


# Built once: to build a statement anew costs several times what it costs to run it.
_HELD = select(
    work.c.phase,
    work.c.domain,
    work.c.claimed_by,
    work.c.state,
    work.c.kind,
    work.c.reason,
    work.c.refresh_asked,
    work.c.settled_at,
    work.c.code_version,
    work.c.data_version,
    work.c.revision,
)
_ONE_PHASE = _HELD.where(
    work.c.phase == bindparam("phase"), work.c.domain.in_(bindparam("domains", expanding=True))
).with_for_update()
_UPDATE_WORK = (
    update(work)
    .where(
        and_(
            work.c.phase == bindparam("b_phase"),
            work.c.domain == bindparam("b_domain"),
            work.c.claimed_by == bindparam("b_worker_id"),
        )
    )
    .values(
        rounds=bindparam("b_rounds"),
        not_before=bindparam("b_not_before"),
        asked_to_wait_until=bindparam("b_asked_to_wait_until"),
        claimed_by=None,
        claimed_alone=0,
        updated_at=bindparam("b_now"),
        refresh_asked=bindparam("b_refresh_asked"),
        extract_only=work.c.extract_only * bindparam("b_refresh_asked"),
        state=bindparam("b_state"),
        kind=bindparam("b_kind"),
        reason=bindparam("b_reason"),
        settled_at=bindparam("b_settled_at"),
        code_version=bindparam("b_code_version"),
        data_version=bindparam("b_data_version"),
        revision=bindparam("b_revision"),
    )
)


def _held_rows(connection: Connection, attempts: Sequence[Attempt]) -> dict[tuple[str, str], Any]:
    by_phase: dict[Phase, list[str]] = {}
    for one in attempts:
        by_phase.setdefault(one.phase, []).append(one.change.domain)
    return {
        (row.phase, row.domain): row
        for phase, domains in by_phase.items()
        for row in connection.execute(_ONE_PHASE, {"phase": phase, "domains": sorted(domains)})
    }


def _outcome_of(one: Attempt, older: Any) -> _Outcome:
    change = one.change
    is_settled = change.state.is_settled
    is_given_up = change.state is State.QUARANTINED
    is_settled_anew = is_settled and (not is_given_up or older.state == State.QUARANTINED)
    keeps_older = bool(older.refresh_asked) and not is_settled_anew
    what = change.state.value
    if keeps_older and is_given_up:
        what = REFRESH_GIVEN_UP
        change = replace(change, reason=older_is_kept(change.reason or "", older.state))
    replaces_result = is_settled and not keeps_older
    result = None
    if replaces_result and change.payload is not None:
        result = {
            "phase": one.phase,
            "domain": change.domain,
            "payload": pack(change.payload),
            "at": one.now,
        }
    return _Outcome(
        work=_attempt_values(one, older) | _state_values(one, older, keeps_older=keeps_older),
        event=_event_of(one, change, what),
        result=result,
        removes_result=replaces_result and change.payload is None and change.state in EMPTY_STATES,
    )


def _attempt_values(one: Attempt, older: Any) -> dict[str, Any]:
    """What every attempt leaves behind, whether it settles the domain or not."""
    change = one.change
    return {
        "b_phase": one.phase,
        "b_domain": change.domain,
        "b_worker_id": one.worker_id,
        "b_rounds": change.rounds,
        "b_not_before": change.not_before,
        "b_asked_to_wait_until": change.asked_to_wait_until,
        "b_now": one.now,
        "b_refresh_asked": 0 if change.state.is_settled else older.refresh_asked,
    }


def _state_values(one: Attempt, older: Any, *, keeps_older: bool) -> dict[str, Any]:
    """Where the domain stands now."""
    change = one.change
    if keeps_older:
        state, kind, reason = older.state, older.kind, older.reason
    else:
        state, kind, reason = change.state, change.kind, change.reason
    is_new = change.state.is_settled and not keeps_older
    return {
        "b_state": state,
        "b_kind": kind,
        "b_reason": reason,
        "b_settled_at": one.now if is_new else older.settled_at,
        "b_code_version": one.code_version if is_new else older.code_version,
        "b_data_version": _version_of(change) if is_new else older.data_version,
        "b_revision": older.revision + 1 if is_new else older.revision,
    }


def _version_of(change: Change) -> str:
    content = change.payload or f"{change.state}:{change.kind}".encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _event_of(one: Attempt, change: Change, what: str) -> dict[str, Any]:
    failure = change.failure
    return {
        "domain": change.domain,
        "phase": one.phase,
        "at": one.now,
        "what": what,
        "kind": change.kind,
        "message": change.reason or "",
        "url": failure.url if failure else None,
        "provider": failure.provider if failure else None,
        "rounds": change.rounds,
        "worker_id": one.worker_id,
        "stack": failure.stack if failure and failure.kind is FailureKind.BUG else None,
    }
