"""Lets batches be healed again that a person brings back, and asks for what nobody wanted yet.

A batch that was cancelled, or that automatic runs gave up, may hold no domain to be brought back:
those of a cancelled run were perhaps never tried. What becomes of domains is in `bringing_back`.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.lists import Lists
from resources.adapters.ledger.requests import Requests
from resources.adapters.ledger.watermarks import DIRECTORY_WANTED, Watermarks
from resources.core.bringing_back import Selection
from resources.core.models import Phase
from resources.core.recovery import MOST_FRUITLESS_RUNS, Request

Pair = tuple[Phase, str]


@dataclass(frozen=True, slots=True)
class BroughtDomain:
    """A domain that was brought back in a phase, in one of the batches that hold it."""

    domain: str
    phase: Phase
    batch_key: str


@dataclass(frozen=True, slots=True)
class Released:
    """Batches that automatic runs work on again; keys in order.

    Args:
        cancelled: Held until now, because a person had cancelled a run over them.
        given_up: Left alone until now, because automatic runs had brought nothing.
    """

    cancelled: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()


NOTHING = Released()


def release(
    database: Database, selection: Selection, brought: Sequence[BroughtDomain], now: float
) -> Released:
    """End what keeps automatic runs from the batches that are meant, in one transaction.

    Args:
        brought: What was brought back of the selection.
    """
    requests = Requests(database)
    with database.write():
        Watermarks(database).set(DIRECTORY_WANTED, now)
        wanted = requests.all()
        meant = {(one.phase, one.batch_key) for one in brought}
        meant |= _whole_batches(database, selection, wanted)
        meant &= wanted.keys()
        requests.release(meant, now=now)
        _ask(requests, _wanted_by_nobody(brought, wanted), now)
    return Released(
        cancelled=_keys(pair for pair in meant if wanted[pair].held_reason is not None),
        given_up=_keys(pair for pair in meant if _is_given_up(wanted[pair])),
    )


def _keys(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(sorted({key for _, key in pairs}))


def _is_given_up(request: Request) -> bool:
    return request.held_reason is None and request.attempts >= MOST_FRUITLESS_RUNS


def _whole_batches(
    database: Database, selection: Selection, wanted: Mapping[Pair, Request]
) -> set[Pair]:
    """What is wanted of the batches that are meant as such, profiles included."""
    if not selection.is_of_whole_batches:
        return set()
    listed = {batch.key for batch in Lists(database).batches_of(selection.list_name)}
    if selection.batch_key is not None:
        listed &= {selection.batch_key}
    return {
        (phase, key) for phase, key in wanted if key in listed and selection.phase in {None, phase}
    }


def _wanted_by_nobody(
    brought: Sequence[BroughtDomain], wanted: Mapping[Pair, Request]
) -> list[Pair]:
    """Batches through which domains are brought back that no wanted batch holds.

    Not every batch that holds one: another list that nobody began must not be begun by this.
    """
    batches: defaultdict[tuple[Phase, str], list[str]] = defaultdict(list)
    for one in brought:
        batches[one.phase, one.domain].append(one.batch_key)
    return sorted(
        {
            (phase, key)
            for (phase, _), keys in batches.items()
            if not any((phase, key) in wanted for key in keys)
            for key in keys
        }
    )


def _ask(requests: Requests, pairs: Sequence[Pair], now: float) -> None:
    scope = str(uuid.uuid4())
    for phase in dict.fromkeys(phase for phase, _ in pairs):
        keys = [key for of, key in pairs if of is phase]
        requests.ask(keys, [phase], scope=scope, now=now)
