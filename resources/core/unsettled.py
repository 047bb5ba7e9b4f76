"""What a pass that left domains unsettled comes to: the error, and whether a wait mends it.

How Dagster is told is not here (`pipeline_assets/failures`), nor who waits how long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resources.core.errors import RULES, CallError, Failure, PipelinePhaseError
from resources.core.models import Phase
from resources.core.redaction import redact
from resources.core.tallies import Tally, sentence


@dataclass(frozen=True, slots=True)
class Example:
    """The newest case of one reason, as the ledger has it.

    Args:
        kind: Failure kind.
        domain: Whose attempt it was, and `batch` the first batch that holds the domain.
        message: One sentence about this case.
        provider, url: Whose answer it was and what was asked for, where that is known.
        rounds: Rounds that the domain has used up.
        stack: The stack trace, for `bug` only.
    """

    kind: str
    domain: str
    batch: str
    message: str
    provider: str | None = None
    url: str | None = None
    rounds: int = 0
    stack: str | None = None


def phase_error(
    phase: Phase,
    total: Tally,
    examples: Sequence[Example],
    stopped_by: Failure | None,
    now: float,
) -> PipelinePhaseError:
    """Make the error of a phase that ended with unsettled domains.

    Args:
        total: Counts of the batches that are not settled.
        examples: One for each reason; the most frequent reason's is carried, the first of equals.
        stopped_by: What ended the pass early, if something did; it becomes the cause.
        now: Epoch seconds.
    """
    message = sentence(phase, total)
    if stopped_by is not None:
        message = f"{stopped_by.message.rstrip('.')}. {message}"
    counts = by_frequency(total.waiting_kinds)
    newest = max(examples, key=lambda one: counts.get(one.kind, 0), default=None)
    retry_in_s = _retry_in_s(total.next_round_at, stopped_by, now)
    error = PipelinePhaseError(
        phase,
        redact(message),
        retry_in_s is not None,
        batch=newest.batch if newest else None,
        domain=newest.domain if newest else None,
        provider=newest.provider if newest else None,
        url=redact(newest.url) if newest and newest.url else None,
        round=newest.rounds if newest else None,
        retry_in_s=retry_in_s,
        counts=counts,
    )
    if stopped_by is not None:
        error.__cause__ = CallError(stopped_by)
    return error


def by_frequency(counts: Mapping[str, int]) -> dict[str, int]:
    """The same counts, the most frequent first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _retry_in_s(due_at: float | None, stopped_by: Failure | None, now: float) -> float | None:
    """Seconds after which trying again makes sense, or None when no wait in this run mends it.

    What stopped the pass decides: a pause or a limit is over at a known time, before which every
    domain would meet it again; our own disk or network, a stop, or whatever needs a person is not
    mended by waiting here, even where some domains wait for a round of their own.
    """
    due_in_s = None if due_at is None else max(0.0, due_at - now)
    if stopped_by is None:
        return due_in_s
    if not RULES[stopped_by.kind].has_due_time:
        return None
    return max(due_in_s or 0.0, stopped_by.retry_after_s or 0.0)
