"""Decide which provider of the chain is asked next for a domain, or that the domain is done.

Pure: given the chain and what has been answered so far, it names the next step; asking, keeping
answers and counting credits are done elsewhere.

Providers are asked in order. One is not needed when nothing that is still wanted can come from it.
A required one that is away makes the domain wait, and nothing after it is asked meanwhile; an
optional one that is away is noted, and asked again at the next refresh. What failed for good
(malformed, declined) counts as an answer. A failure on our own side is nobody's answer, so it makes
the domain wait whichever provider it hit.

Credits: a paid provider that cannot be used because its quota or our budget is spent, or its key is
refused, is never replaced by the next paid one, which may be dearer.

Source: design, Truth 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, assert_never

from resources.core.errors import RULES, Failure, FailureKind, Handling
from resources.core.models import Fact, State

OUR_OWN: Final = frozenset(
    {
        FailureKind.STORE,
        FailureKind.LOCAL_NETWORK,
        FailureKind.CANCELLED,
        FailureKind.LEASE_LOST,
        FailureKind.LIMITER,
    }
)
"""The provider was not asked because of us: not its answer, and not a sign that it is away."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One provider's place in the chain.

    Args:
        name: Provider name.
        is_required: Whether the domain waits for it when it is away.
        fields: Profile fields it can fill; None: any.
        is_paid: Whether a match costs credits.
    """

    name: str
    is_required: bool
    fields: frozenset[str] | None = None
    is_paid: bool = False


@dataclass(frozen=True, slots=True)
class NotAsked:
    """Nobody has asked it yet, or an answer is too old."""


@dataclass(frozen=True, slots=True)
class Matched:
    """It knows the company, and the match was accepted."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class NoMatch:
    """It does not know the company, or nothing that it offered was accepted."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It was asked, or was to be asked, without an answer."""

    failure: Failure


AnswerState = NotAsked | Matched | NoMatch | Failed


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this provider next."""

    name: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The domain is done.

    Args:
        state: `succeeded` with any match, else `not_found`.
        noted: Failures of providers that were done without, in the chain's order.
    """

    state: State
    noted: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class MustWait:
    """The domain waits for a provider, or for us."""

    failure: Failure


Step = Ask | Finished | MustWait
_NOT_ASKED: Final = NotAsked()


def next_step(
    chain: Sequence[ChainLink],
    answers: Mapping[str, AnswerState],
    wanted_fields: AbstractSet[str],
) -> Step:
    """Decide the next step for one domain.

    Args:
        chain: In the order of asking.
        answers: What is known by provider name; a missing name is `NotAsked`.
        wanted_fields: Once they are all filled nobody more is asked; empty: everybody is asked.
    """
    missing = _missing_fields(chain, answers, wanted_fields)
    noted: list[Failure] = []
    spent: Failure | None = None
    has_match = False
    for link in chain:
        answer = answers.get(link.name, _NOT_ASKED)
        match answer:
            case Matched():
                has_match = True
            case NoMatch():
                pass
            case NotAsked():
                if not _is_needed(link, missing):
                    continue
                if not (link.is_paid and spent):
                    return Ask(link.name)
                if link.is_required:
                    return MustWait(spent)
            case Failed(failure):
                if _is_needed(link, missing) and _holds_up(link, failure):
                    return MustWait(failure)
                noted.append(failure)
                if link.is_paid and RULES[failure.kind].needs_person:
                    spent = spent or failure
            case _:
                assert_never(answer)
    return Finished(State.SUCCEEDED if has_match else State.NOT_FOUND, tuple(noted))


def _missing_fields(
    chain: Sequence[ChainLink], answers: Mapping[str, AnswerState], wanted: AbstractSet[str]
) -> AbstractSet[str] | None:
    """Return the wanted fields that nobody has filled; None when everything is wanted."""
    if not wanted:
        return None
    filled = {
        fact.field
        for link in chain
        if isinstance(answer := answers.get(link.name), Matched)
        for fact in answer.facts
    }
    return wanted - filled


def _is_needed(link: ChainLink, missing: AbstractSet[str] | None) -> bool:
    if missing is None:
        return True
    return bool(missing if link.fields is None else missing & link.fields)


def _holds_up(link: ChainLink, failure: Failure) -> bool:
    """Tell whether a failure keeps the domain waiting."""
    if RULES[failure.kind].handling is Handling.SETTLE:
        return False
    return link.is_required or failure.kind in OUR_OWN
