"""Provider calls and their answers: what was sent, what came back, what it cost.

A paid call's row is committed before the call is sent, so that a kill leaves at most the calls in
flight in doubt; a free one's comes with its answer. An answer is kept as it came and never bought
again while it is fresh.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import zstandard
from sqlalchemy import Connection, Executable, and_, bindparam, case, func, or_, select, update

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import answers, calls
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import RawAnswer

ASKED, MATCH, NO_MATCH, FAILED = "asked", "match", "no_match", "failed"
# Calls that ended like this may have arrived, and then they are billed without our seeing it.
_MAYBE_BILLED = (FailureKind.TIMEOUT, FailureKind.CONNECT)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one invocation may spend, at all providers together.

    Args:
        scope: Names the invocation; all its processes share it.
        max_credits: Most credits; None for no limit.
    """

    scope: str
    max_credits: float | None


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that is about to be sent.

    Args:
        provider: Who is asked.
        domains: About whom.
        worker_id: By whom.
        budget: What may be spent.
        reserve: Credits that it may cost at most.
        now: Epoch seconds.
    """

    provider: str
    domains: Sequence[str]
    worker_id: str | None
    budget: Budget
    reserve: float
    now: float


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that was answered.

    Args:
        call_id: As `begin` gave it.
        provider: Who answered.
        received: Answer or failure by domain.
        now: Epoch seconds.
    """

    call_id: str
    provider: str
    received: Mapping[str, RawAnswer | Failure]
    now: float


class Calls:
    """Calls and answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._note_asked = _note_asked(database)

    def find(
        self, provider: str, domains: Sequence[str], fresh_after: float
    ) -> dict[str, RawAnswer]:
        """Kept answers that are not older than `fresh_after` (epoch seconds), by domain."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(answers).where(
                    answers.c.provider == provider,
                    answers.c.domain.in_(domains),
                    answers.c.state.in_([MATCH, NO_MATCH]),
                    answers.c.at >= fresh_after,
                )
            ).all()
        return {
            row.domain: RawAnswer(
                body=zstandard.decompress(row.body) if row.body is not None else None,
                url=row.url,
                at=row.at,
                credits=row.credits,
            )
            for row in rows
        }

    def begin(
        self,
        provider: str,
        domains: Sequence[str],
        worker_id: str | None,
        budget: Budget,
        reserve: float,
        now: float,
    ) -> str:
        """Note one call; see `begin_many`.

        Raises:
            CallError: BUDGET_EXHAUSTED; nothing was written and the call must not be sent.
        """
        return self.begin_one(NewCall(provider, domains, worker_id, budget, reserve, now))

    def begin_one(self, new: NewCall) -> str:
        """Note one call; see `begin`."""
        begun = self.begin_many([new])[0]
        if isinstance(begun, Exception):
            raise begun
        return begun

    def begin_many(self, new: Sequence[NewCall]) -> Sequence[str | Exception]:
        """Note calls that are about to be sent, and reserve what they may cost at most.

        Returns: their ids in order; in the place of one that must not be sent CallError with
            BUDGET_EXHAUSTED, and nothing is written of it.
        """
        begun: list[str | Exception] = []
        with self._database.write() as connection:
            for call in new:
                refusal = self._refusal(connection, call)
                if refusal is not None:
                    begun.append(refusal)
                    continue
                call_id = str(uuid.uuid4())
                begun.append(call_id)
                # One that has a limit is written at once, so that the next one counts it.
                if call.reserve and call.budget.max_credits is not None:
                    self._insert(connection, [(call_id, call)])
            self._insert(
                connection,
                [
                    (call_id, call)
                    for call_id, call in zip(begun, new, strict=True)
                    if isinstance(call_id, str)
                    and not (call.reserve and call.budget.max_credits is not None)
                ],
            )
        return begun

    def _refusal(self, connection: Connection, call: NewCall) -> CallError | None:
        budget = call.budget
        if not call.reserve or budget.max_credits is None:
            return None
        # Two processes must not both find the last credit unspent.
        self._database.lock(connection, f"budget:{budget.scope}")
        spent = _committed_credits(connection, budget.scope)
        if spent + call.reserve <= budget.max_credits:
            return None
        return CallError(
            Failure(
                FailureKind.BUDGET_EXHAUSTED,
                f"The limit of {budget.max_credits:g} credits for this run leaves no "
                f"room for another call to {call.provider} ({spent:g} are spent or may be).",
                provider=call.provider,
            )
        )

    def _insert(self, connection: Connection, new: Sequence[tuple[str, NewCall]]) -> None:
        if not new:
            return
        connection.execute(
            _INSERT_CALL,
            [
                {
                    "id": call_id,
                    "provider": call.provider,
                    "worker_id": call.worker_id,
                    "scope": call.budget.scope,
                    "sent_at": call.now,
                    "domains": len(call.domains),
                    "reserved": call.reserve,
                }
                for call_id, call in new
            ],
        )
        connection.execute(
            self._note_asked,
            [
                {
                    "provider": call.provider,
                    "domain": domain,
                    "call_id": call_id,
                    "state": ASKED,
                    "at": call.now,
                    "asked": 1,
                }
                for call_id, call in new
                for domain in call.domains
            ],
        )

    def finish(
        self, call_id: str, provider: str, received: Mapping[str, RawAnswer | Failure], now: float
    ) -> None:
        """Keep what one call brought; see `finish_many`."""
        self.finish_many([EndedCall(call_id, provider, received, now)])

    def record_many(self, done: Sequence[tuple[NewCall, EndedCall]]) -> Sequence[None]:
        """Note calls that were answered already: free ones, of which nothing need be known before.

        Args:
            done: Each with the call as it was sent; `call_id` of its end is not used.
        """
        with self._database.write():
            ids = self.begin_many([new for new, _ in done])
            self.finish_many(
                [
                    replace(ended, call_id=str(call_id))
                    for call_id, (_, ended) in zip(ids, done, strict=True)
                ]
            )
        return [None] * len(done)

    def finish_many(self, ended: Sequence[EndedCall]) -> Sequence[None]:
        """Keep what calls brought, item by item."""
        kept, failed, outcomes = [], [], []
        for call in ended:
            credits = 0.0
            failures = 0
            for domain, answer in call.received.items():
                here = {"b_provider": call.provider, "b_domain": domain}
                if isinstance(answer, Failure):
                    failures += 1
                    failed.append(here)
                    continue
                credits += answer.credits
                kept.append(here | _kept_values(answer))
            of_items = f"{failures} of {len(call.received)} items failed" if failures else None
            outcomes.append(
                {
                    "b_id": call.call_id,
                    "b_at": call.now,
                    "b_credits": credits,
                    "b_message": of_items,
                }
            )
        with self._database.write() as connection:
            if kept:
                connection.execute(_KEEP_ANSWER, kept)
            if failed:
                connection.execute(_FAIL_ITEM, failed)
            connection.execute(_END_CALL, outcomes)
        return [None] * len(ended)

    def fail(self, call_id: str, failure: Failure, now: float) -> None:
        """Note that a call brought nothing."""
        with self._database.write() as connection:
            connection.execute(
                update(calls)
                .where(calls.c.id == call_id)
                .values(answered_at=now, outcome=failure.kind, message=failure.message)
            )
            connection.execute(
                update(answers)
                .where(answers.c.call_id == call_id, answers.c.state == ASKED)
                .values(state=FAILED)
            )

    def spent(self, scope: str) -> dict[str, tuple[int, float]]:
        """(calls, credits) of an invocation, by provider."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(calls.c.provider, func.count(), func.sum(calls.c.credits))
                .where(calls.c.scope == scope)
                .group_by(calls.c.provider)
            )
            return {name: (int(count), float(total or 0)) for name, count, total in rows}

    def story(self, domain: str) -> list[Mapping[str, object]]:
        """Every provider's newest call about a domain, with its outcome, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(
                    answers.c.provider,
                    answers.c.state,
                    answers.c.asked,
                    answers.c.credits,
                    calls.c.sent_at,
                    calls.c.answered_at,
                    calls.c.outcome,
                    calls.c.message,
                )
                .join(calls, calls.c.id == answers.c.call_id)
                .where(answers.c.domain == domain)
                .order_by(calls.c.sent_at)
            )
            return [dict(row._mapping) for row in rows]


# Built once: to build a statement anew costs several times what it costs to run it.
_INSERT_CALL = calls.insert()
_HERE = and_(
    answers.c.provider == bindparam("b_provider"), answers.c.domain == bindparam("b_domain")
)
_KEEP_ANSWER = (
    update(answers)
    .where(_HERE)
    .values(
        state=bindparam("b_state"),
        body=bindparam("b_body"),
        url=bindparam("b_url"),
        credits=bindparam("b_credits"),
        at=bindparam("b_at"),
    )
)
_FAIL_ITEM = update(answers).where(_HERE, answers.c.state == ASKED).values(state=FAILED)
_END_CALL = (
    update(calls)
    .where(calls.c.id == bindparam("b_id"))
    .values(
        answered_at=bindparam("b_at"),
        outcome="answered",
        credits=bindparam("b_credits"),
        message=bindparam("b_message"),
    )
)


def _note_asked(database: Database) -> Executable:
    """The statement that notes that a domain is asked about once more."""
    statement: Any = database.insert(answers)
    noted: Executable = statement.on_conflict_do_update(
        index_elements=["provider", "domain"],
        set_={
            "call_id": statement.excluded.call_id,
            "asked": answers.c.asked + 1,
            # An older answer that is being renewed stays readable until the new one is here.
            "state": case((answers.c.body.is_(None), ASKED), else_=answers.c.state),
        },
    )
    return noted


def _kept_values(answer: RawAnswer) -> dict[str, object]:
    return {
        "b_state": NO_MATCH if answer.body is None else MATCH,
        "b_body": zstandard.compress(answer.body, 3) if answer.body is not None else None,
        "b_url": answer.url,
        "b_credits": answer.credits,
        "b_at": answer.at,
    }


def _committed_credits(connection: Connection, scope: str) -> float:
    """Credits spent, and those that calls without an answer may still cost: calls in flight, lost
    in a kill, or cut off after they may have arrived."""
    in_doubt = or_(calls.c.answered_at.is_(None), calls.c.outcome.in_(_MAYBE_BILLED))
    total = connection.execute(
        select(func.sum(case((in_doubt, calls.c.reserved), else_=calls.c.credits))).where(
            calls.c.scope == scope
        )
    ).scalar_one()
    return float(total or 0.0)
