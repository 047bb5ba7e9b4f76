"""Provider calls and their answers: what was sent, what came back, what it cost.

A call's row is committed before the call is sent, so that a kill leaves at most the calls in
flight in doubt; an answer is kept as it came and never bought again while it is fresh.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import zstandard
from sqlalchemy import and_, case, func, or_, select, update

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


class Calls:
    """Calls and answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        """Note a call that is about to be sent, and reserve what it may cost at most.

        Raises:
            CallError: BUDGET_EXHAUSTED; nothing was written and the call must not be sent.
        """
        call_id = str(uuid.uuid4())
        with self._database.write() as connection:
            if reserve and budget.max_credits is not None:
                # Two processes must not both find the last credit unspent.
                self._database.lock(connection, f"budget:{budget.scope}")
                spent = _committed_credits(connection, budget.scope)
                if spent + reserve > budget.max_credits:
                    raise CallError(
                        Failure(
                            FailureKind.BUDGET_EXHAUSTED,
                            f"The limit of {budget.max_credits:g} credits for this run leaves no "
                            f"room for another call to {provider} ({spent:g} are spent or may be).",
                            provider=provider,
                        )
                    )
            connection.execute(
                calls.insert().values(
                    id=call_id,
                    provider=provider,
                    worker_id=worker_id,
                    scope=budget.scope,
                    sent_at=now,
                    domains=len(domains),
                    reserved=reserve,
                )
            )
            self._note_asked(connection, provider, domains, call_id, now)
        return call_id

    def _note_asked(
        self, connection: object, provider: str, domains: Sequence[str], call_id: str, now: float
    ) -> None:
        statement = self._database.insert_ignore(answers)
        rows = [
            {
                "provider": provider,
                "domain": d,
                "call_id": call_id,
                "state": ASKED,
                "at": now,
                "asked": 0,
            }
            for d in domains
        ]
        connection.execute(statement, rows)  # type: ignore[attr-defined]
        connection.execute(  # type: ignore[attr-defined]
            update(answers)
            .where(answers.c.provider == provider, answers.c.domain.in_(domains))
            .values(
                call_id=call_id,
                asked=answers.c.asked + 1,
                # An older answer that is being renewed stays readable until the new one is here.
                state=case((answers.c.body.is_(None), ASKED), else_=answers.c.state),
            )
        )

    def finish(
        self, call_id: str, provider: str, received: Mapping[str, RawAnswer | Failure], now: float
    ) -> None:
        """Keep what a call brought, item by item."""
        credits = 0.0
        failed = 0
        with self._database.write() as connection:
            for domain, answer in received.items():
                here = and_(answers.c.provider == provider, answers.c.domain == domain)
                if isinstance(answer, Failure):
                    failed += 1
                    connection.execute(
                        update(answers).where(here, answers.c.state == ASKED).values(state=FAILED)
                    )
                    continue
                credits += answer.credits
                body = zstandard.compress(answer.body, 3) if answer.body is not None else None
                connection.execute(
                    update(answers)
                    .where(here)
                    .values(
                        state=NO_MATCH if answer.body is None else MATCH,
                        body=body,
                        url=answer.url,
                        credits=answer.credits,
                        at=answer.at,
                    )
                )
            connection.execute(
                update(calls)
                .where(calls.c.id == call_id)
                .values(
                    answered_at=now,
                    outcome="answered",
                    credits=credits,
                    message=f"{failed} of {len(received)} items failed" if failed else None,
                )
            )

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


def _committed_credits(connection: object, scope: str) -> float:
    """Credits spent, and those that calls without an answer may still cost: calls in flight, lost
    in a kill, or cut off after they may have arrived."""
    in_doubt = or_(calls.c.answered_at.is_(None), calls.c.outcome.in_(_MAYBE_BILLED))
    total = connection.execute(  # type: ignore[attr-defined]
        select(func.sum(case((in_doubt, calls.c.reserved), else_=calls.c.credits))).where(
            calls.c.scope == scope
        )
    ).scalar_one()
    return float(total or 0.0)
