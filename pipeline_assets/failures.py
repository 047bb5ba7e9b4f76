"""From the product's failures to Dagster's: the one place that decides what a retry can mend."""

from __future__ import annotations

from dagster import Backoff, Failure, MetadataValue, RetryPolicy, RetryRequested

from resources.core.errors import LeaseLost, PipelinePhaseError

# For what nobody foresaw (a bug, a database that went away): soon, twice more, then a person.
UNFORESEEN = RetryPolicy(max_retries=2, delay=5, backoff=Backoff.EXPONENTIAL)


def as_dagster(
    error: PipelinePhaseError, *, retries_done: int, max_retries: int, longest_wait_s: float
) -> Failure | RetryRequested:
    """What to raise for a phase that ended with unsettled domains.

    A recoverable failure is tried again in the same run, after the wait that its domains need; a
    longer wait ends the run instead of holding its slot, and what waits for a person or for our
    own network is never retried here: no wait in this run can mend it.
    """
    failure = Failure(
        description=str(error),
        metadata={
            "unsettled": MetadataValue.int(sum(error.counts.values())),
            "by_kind": MetadataValue.json(dict(error.counts)),
        },
        allow_retries=False,
    )
    wait_s = error.retry_in_s
    if not error.recoverable or wait_s is None or retries_done >= max_retries:
        return failure
    if wait_s > longest_wait_s:
        return failure
    request = RetryRequested(max_retries=max_retries, seconds_to_wait=max(wait_s, 0.1))
    request.__cause__ = failure
    return request


def taken_over(error: LeaseLost) -> Failure:
    """What to raise when another worker has taken the domains over: it goes on, this run ends."""
    return Failure(
        description=f"{error}. What this run settled is kept; the other worker goes on.",
        allow_retries=False,
    )
