"""What is written of provider calls: the rows of calls and answers, and the statements for them.

When each is written, and what is asked of them, is in `calls`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, case, select, update
from sqlalchemy.sql.dml import UpdateBase

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import answers, calls
from resources.adapters.packing import pack
from resources.core.errors import Failure
from resources.core.models import RawAnswer

ASKED, MATCH, NO_MATCH, FAILED = "asked", "match", "no_match", "failed"


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


_ANSWER_COLUMNS = ("state", "body", "url", "credits", "at")
# Built once: to build a statement anew costs several times what it costs to run it.
FIND_ANSWERS = select(answers).where(
    answers.c.provider == bindparam("provider"),
    answers.c.domain.in_(bindparam("domains", expanding=True)),
    answers.c.state.in_([MATCH, NO_MATCH]),
    answers.c.at >= bindparam("fresh_after"),
)
_HERE = and_(
    answers.c.provider == bindparam("b_provider"), answers.c.domain == bindparam("b_domain")
)
# What is set follows from the parameters' names.
KEEP_ANSWER = update(answers).where(_HERE)
FAIL_ITEM = update(answers).where(_HERE, answers.c.state == ASKED).values(state=FAILED)
END_CALL = update(calls).where(calls.c.id == bindparam("b_id"))


def note_asked(database: Database, state: str) -> UpdateBase:
    """The statement that notes that a domain is asked about once more, without a new answer."""
    statement: Any = database.insert(answers)
    noted: UpdateBase = statement.on_conflict_do_update(
        index_elements=["provider", "domain"],
        set_={
            "call_id": statement.excluded.call_id,
            "asked": answers.c.asked + 1,
            # An older answer that is being renewed stays readable until the new one is here.
            "state": case((answers.c.body.is_(None), state), else_=answers.c.state),
        },
    )
    return noted


def keep_asked(database: Database) -> UpdateBase:
    """The statement that notes that a domain was asked about once more, with the answer."""
    statement: Any = database.insert(answers)
    newer = {name: statement.excluded[name] for name in ("call_id", *_ANSWER_COLUMNS)}
    kept: UpdateBase = statement.on_conflict_do_update(
        index_elements=["provider", "domain"], set_={**newer, "asked": answers.c.asked + 1}
    )
    return kept


def new_call_id(now: float) -> str:
    """A new UUID that begins with the time, so that new rows lie side by side in the indexes and
    a commit changes few of their pages.

    Args:
        now: Epoch seconds.

    Source: RFC 9562, version 7
    """
    random = int.from_bytes(os.urandom(10), "big")
    version_and_variant = 0x7 << 76 | 0b10 << 62
    value = int(now * 1000) << 80 | random & ~(0xF << 76 | 0b11 << 62) | version_and_variant
    return str(uuid.UUID(int=value))


def new_values(call_id: str, call: NewCall) -> dict[str, object]:
    return {
        "id": call_id,
        "provider": call.provider,
        "worker_id": call.worker_id,
        "scope": call.budget.scope,
        "sent_at": call.now,
        "domains": len(call.domains),
        "reserved": call.reserve,
    }


def asked_values(call_id: str, call: NewCall, domain: str) -> dict[str, object]:
    return {
        "provider": call.provider,
        "domain": domain,
        "call_id": call_id,
        "at": call.now,
        "asked": 1,
    }


def end_values(ended: EndedCall) -> dict[str, object]:
    answered = [one for one in ended.received.values() if isinstance(one, RawAnswer)]
    failures = len(ended.received) - len(answered)
    return {
        "answered_at": ended.now,
        "outcome": "answered",
        "credits": sum(answer.credits for answer in answered),
        "message": f"{failures} of {len(ended.received)} items failed" if failures else None,
    }


def answer_values(answer: RawAnswer) -> dict[str, object]:
    """The values of `_ANSWER_COLUMNS`."""
    return {
        "state": NO_MATCH if answer.body is None else MATCH,
        "body": pack(answer.body) if answer.body is not None else None,
        "url": answer.url,
        "credits": answer.credits,
        "at": answer.at,
    }
