"""Provider calls and their answers: what was sent, what came back, what it cost.

A paid call's row is committed before the call is sent, so that a kill leaves at most the calls in
flight in doubt; a free one's comes with its answer. An answer is kept as it came and never bought
again while it is fresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, case, func, or_, select, update

from resources.adapters.ledger.call_rows import (
    ASKED,
    END_CALL,
    FAIL_ITEM,
    FAILED,
    FIND_ANSWERS,
    KEEP_ANSWER,
    Budget,
    EndedCall,
    NewCall,
    answer_values,
    asked_values,
    end_values,
    keep_asked,
    new_call_id,
    new_values,
    note_asked,
)
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import answers, calls
from resources.adapters.packing import unpack
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import RawAnswer

# Calls that ended like this may have arrived, and then they are billed without our seeing it.
_MAYBE_BILLED = (FailureKind.TIMEOUT, FailureKind.CONNECT)

__all__ = ["Budget", "Calls", "EndedCall", "NewCall"]


class Calls:
    """Calls and answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_calls = database.rows(calls.insert())
        self._end_calls = database.rows(END_CALL)
        self._note_asked = database.rows(note_asked(database, state=ASKED))
        self._fail_asked = database.rows(note_asked(database, state=FAILED))
        self._keep_asked = database.rows(keep_asked(database))
        self._keep_answers = database.rows(KEEP_ANSWER)
        self._fail_items = database.rows(FAIL_ITEM)

    def find(
        self, provider: str, domains: Sequence[str], fresh_after: float
    ) -> dict[str, RawAnswer]:
        """Kept answers that are not older than `fresh_after` (epoch seconds), by domain."""
        with self._database.read() as connection:
            asked = {"provider": provider, "domains": domains, "fresh_after": fresh_after}
            rows = connection.execute(FIND_ANSWERS, asked).all()
        return {
            row.domain: RawAnswer(
                body=unpack(row.body) if row.body is not None else None,
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
                call_id = new_call_id(call.now)
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
        self._insert_calls.run(connection, [new_values(call_id, call) for call_id, call in new])
        self._note_asked.run(
            connection,
            [
                asked_values(call_id, call, domain) | {"state": ASKED}
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
        ended_calls, kept, failed = [], [], []
        for new, ended in done:
            call_id = new_call_id(new.now)
            ended_calls.append(new_values(call_id, new) | end_values(ended))
            for domain, answer in ended.received.items():
                asked = asked_values(call_id, new, domain)
                if isinstance(answer, Failure):
                    failed.append(asked | {"state": FAILED})
                else:
                    kept.append(asked | answer_values(answer))
        with self._database.write() as connection:
            self._insert_calls.run(connection, ended_calls)
            self._keep_asked.run(connection, kept)
            self._fail_asked.run(connection, failed)
        return [None] * len(done)

    def finish_many(self, ended: Sequence[EndedCall]) -> Sequence[None]:
        """Keep what calls brought, item by item."""
        kept, failed, outcomes = [], [], []
        for call in ended:
            for domain, answer in call.received.items():
                here = {"b_provider": call.provider, "b_domain": domain}
                if isinstance(answer, Failure):
                    failed.append(here)
                else:
                    kept.append(here | answer_values(answer))
            outcomes.append({"b_id": call.call_id} | end_values(call))
        with self._database.write() as connection:
            self._keep_answers.run(connection, kept)
            self._fail_items.run(connection, failed)
            self._end_calls.run(connection, outcomes)
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
