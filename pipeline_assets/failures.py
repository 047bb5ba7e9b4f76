"""From the product's failures to Dagster's: the one place that decides what a retry can mend.

What a person sees of a failed run is made here too: one sentence, and below it the counts by
reason, an example of each, the causes and every stack trace.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from dagster import (
    AssetExecutionContext,
    Backoff,
    Failure,
    MetadataValue,
    RetryPolicy,
    RetryRequested,
    TableColumn,
    TableRecord,
    TableSchema,
)

from resources.adapters.classify import classify
from resources.core.errors import (
    RULES,
    CallError,
    FailureKind,
    Handling,
    LeaseLost,
    PipelinePhaseError,
    UsageError,
)
from resources.core.errors import Failure as CoreFailure
from resources.core.models import Phase
from resources.core.redaction import redact
from resources.core.unsettled import Example

# For what nobody foresaw (a bug, a database that went away): soon, twice more, then a later run.
# Asked for by `crashed_in`, and never given to Dagster with the asset: where a step has a policy,
# Dagster takes a person's cancel for a failure, and tries again instead of ending.
UNFORESEEN = RetryPolicy(max_retries=2, delay=5, backoff=Backoff.EXPONENTIAL)
# What a retry says that was waited for already; zero would mean a policy of Dagster's own.
AT_ONCE_S = 0.01
MOST_EXAMPLES = 10
_COLUMNS = (
    TableColumn("kind", "string", "why"),
    TableColumn("domains", "int", "how many wait for this reason"),
    TableColumn("domain", "string", "the newest of them"),
    TableColumn("batch", "string"),
    TableColumn("provider", "string"),
    TableColumn("url", "string"),
    TableColumn("round", "int", "rounds it has used up"),
    TableColumn("message", "string"),
    TableColumn("who_acts", "string"),
)


def as_dagster(
    error: PipelinePhaseError,
    *,
    retries_done: int,
    max_retries: int,
    longest_wait_s: float,
    shortest_wait_s: float = 0.0,
    examples: Sequence[Example] = (),
    stacks: Sequence[str] = (),
) -> Failure | RetryRequested:
    """What to raise for a phase that ended with unsettled domains.

    A recoverable failure is tried again in the same run, after the wait that its domains need; a
    longer wait ends the run instead of holding its slot, and what waits for a person or for our
    own network is never retried here: no wait in this run can mend it.

    Args:
        longest_wait_s: Seconds beyond which waiting is left to a later run.
        shortest_wait_s: Seconds to wait even where some domain is due earlier, so that the others
            are due too when they are tried again.
        examples: The newest case of each reason.
        stacks: Stack traces of this run's bugs.
    """
    failure = Failure(
        description=_description(error, examples),
        metadata=_metadata(error, examples, stacks),
        allow_retries=False,
    )
    failure.__cause__ = error
    wait_s = error.retry_in_s
    if not error.recoverable or wait_s is None or retries_done >= max_retries:
        return failure
    if wait_s > longest_wait_s:
        return failure
    request = RetryRequested(
        max_retries=max_retries, seconds_to_wait=max(wait_s, shortest_wait_s, 0.1)
    )
    request.__cause__ = failure
    return request


def taken_over(error: LeaseLost) -> Failure:
    """What to raise when another worker has taken the domains over: it goes on, this run ends."""
    return Failure(
        description=f"{error}. What this run settled before is kept.",
        allow_retries=False,
    )


def unusable(error: UsageError) -> Failure:
    """What to raise when a setting or a file can't be used: a person must set it right first."""
    return Failure(description=redact(str(error)), allow_retries=False)


def crashed(
    phase: Phase, batch_keys: Sequence[str], error: Exception, *, retries_done: int
) -> Failure:
    """What to raise when the run itself, not one of its domains, met an error.

    `UNFORESEEN` tries it again soon. The last time it must not be asked: Dagster would then show
    that the retries are used up instead of what went wrong.
    """
    found = _of_run(error)
    first, last = batch_keys[0], batch_keys[-1]
    where = f"batch {first}" if first == last else f"batches {first} to {last}"
    is_bug = found.kind is FailureKind.BUG
    advice = " The stack trace is in the run's log, for the maintainers." if is_bug else ""
    failure = Failure(
        description=f"{phase}: the run over {where} was broken off: {found.message.rstrip('.')}. "
        f"What it settled before is kept.{advice}",
        metadata={
            "phase": phase.value,
            "kind": found.kind.value,
            "who_acts": RULES[found.kind].actor.value,
            "cause": MetadataValue.text(cause_chain(error)),
            "stack_traces": _stack_traces([stack_of(error)]),
        },
        allow_retries=retries_done < UNFORESEEN.max_retries,
    )
    # Not the error itself: Dagster keeps the words of every cause, and these may hold a secret.
    failure.__cause__ = CallError(found)
    return failure


def crashed_in(
    context: AssetExecutionContext, phase: Phase, batch_keys: Sequence[str], error: Exception
) -> Failure | RetryRequested:
    """Log an error of the run itself, and give what to raise; waits first where it is tried again.

    The wait is here because Dagster hears no cancel while it waits itself.
    """
    failure = crashed(phase, batch_keys, error, retries_done=context.retry_number)
    context.log.error(f"{failure.description}\n{stack_of(error)}")
    if not failure.allow_retries:
        return failure
    time.sleep(UNFORESEEN.calculate_delay(context.retry_number + 1))
    request = RetryRequested(max_retries=UNFORESEEN.max_retries, seconds_to_wait=AT_ONCE_S)
    request.__cause__ = failure
    return request


def _of_run(error: Exception) -> CoreFailure:
    """What an error means that came from no single call: what no wait mends is our own mistake.

    Elsewhere the same exception may say that an answer could not be read, or came too late.
    """
    found = classify(error)
    if RULES[found.kind].handling is Handling.WAIT:
        return found
    return CoreFailure(FailureKind.BUG, redact(f"unforeseen {type(error).__name__}: {error}"[:500]))


def stack_of(error: BaseException) -> str:
    """The whole stack trace, causes included, without secrets."""
    return redact("".join(traceback.format_exception(error)))


def cause_chain(error: BaseException) -> str:
    """An error and its causes, one to a line, without secrets."""
    return "\ncaused by ".join(redact(f"{type(one).__name__}: {one}") for one in _links(error))


def _links(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _description(error: PipelinePhaseError, examples: Sequence[Example]) -> str:
    """The counts, and one example on the same line: the command line prints nothing else."""
    counts = redact(str(error))
    newest = next((one for one in examples if one.domain == error.domain), None)
    if newest is None:
        return counts
    rounds = f"after round {newest.rounds}" if newest.rounds else ""
    places = (f"batch {newest.batch}", rounds, error.provider, redact(error.url or ""))
    where = ", ".join(place for place in places if place)
    said = redact(" ".join(newest.message.split()))
    shown = "." if said in counts else f": {said}"
    return f"{counts} The newest {newest.kind} is {newest.domain} ({where}){shown}"


def _metadata(
    error: PipelinePhaseError, examples: Sequence[Example], stacks: Sequence[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "phase": error.phase.value,
        "recoverable": error.recoverable,
        "unsettled": MetadataValue.int(sum(error.counts.values())),
        "by_kind": MetadataValue.json(dict(error.counts)),
        "cause": MetadataValue.text(cause_chain(error)),
    }
    if examples:
        frequent = sorted(examples, key=lambda one: -error.counts.get(one.kind, 0))
        found["examples"] = MetadataValue.table(
            [_record(one, error.counts.get(one.kind, 0)) for one in frequent[:MOST_EXAMPLES]],
            TableSchema(columns=list(_COLUMNS)),
        )
    if stacks:
        found["stack_traces"] = _stack_traces(stacks)
    return found


def _record(example: Example, domains: int) -> TableRecord:
    return TableRecord(
        {
            "kind": example.kind,
            "domains": domains,
            "domain": example.domain,
            "batch": example.batch,
            "provider": example.provider or "",
            "url": redact(example.url or ""),
            "round": example.rounds,
            "message": redact(example.message),
            "who_acts": RULES[FailureKind(example.kind)].actor.value,
        }
    )


def _stack_traces(stacks: Sequence[str]) -> MetadataValue:
    # Text that ends a code block would turn the rest into markup.
    blocks = (redact(stack).replace("```", "'''") for stack in stacks)
    return MetadataValue.md("\n\n".join(f"```\n{block.strip()}\n```" for block in blocks))
