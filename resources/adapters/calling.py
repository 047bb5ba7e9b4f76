"""One outgoing call with its request tier of retries: tenacity loops, `core.retry` decides.

A retry that the breaker or the pace does not let out is no news about the other side: the call's
own failure stands, and is tried again no earlier than they allow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState

from resources.core.errors import CallError, FailureKind
from resources.core.ports import Sleep
from resources.core.retry import RetryPolicy, wait_before_retry

T = TypeVar("T")
MayRetry = Callable[[], Awaitable[bool]]
_NOT_LET_OUT: Final = frozenset({FailureKind.BREAKER_OPEN, FailureKind.LIMITER})


class _Decision:
    """Tenacity's predicate and wait in one: both follow from one decision of core."""

    def __init__(self, policy: RetryPolicy, random: Random, may_retry: MayRetry) -> None:
        self._policy = policy
        self._random = random
        self._may_retry = may_retry
        self._wait_s = 0.0

    async def is_retried(self, state: RetryCallState) -> bool:
        """Decide; tenacity asks whether before it asks when."""
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, CallError):
            return False
        tries = state.attempt_number
        wait_s = wait_before_retry(error.failure, tries, self._policy, self._random)
        if wait_s is None or not await self._may_retry():
            return False
        self._wait_s = wait_s
        return True

    def wait(self, _state: RetryCallState) -> float:
        return self._wait_s


async def call_with_retries(
    call: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    random: Random,
    may_retry: MayRetry,
    sleep: Sleep = asyncio.sleep,
) -> T:
    """Make a call, trying again within the policy.

    Args:
        call: Passes the gate, so that what it raises is classified.
        may_retry: Takes a retry from the endpoint's budget, if there is one left.

    Raises:
        CallError: the last failure of the call itself, when it is not to be tried again in this
            round; BREAKER_OPEN or LIMITER only where it was never made.
    """
    failed: CallError | None = None

    async def once() -> T:
        nonlocal failed
        try:
            return await call()
        except CallError as error:
            if failed is not None and error.failure.kind in _NOT_LET_OUT:
                wait_s = max(
                    failed.failure.retry_after_s or 0.0, error.failure.retry_after_s or 0.0
                )
                raise CallError(replace(failed.failure, retry_after_s=wait_s)) from failed
            failed = error
            raise

    try:
        return await once()
    except CallError as error:
        first_error: CallError | None = error

    async def again() -> T:
        # Most calls succeed at once and never come here.
        nonlocal first_error
        if first_error is not None:
            error, first_error = first_error, None
            raise error
        return await once()

    decision = _Decision(policy, random, may_retry)
    retrying = AsyncRetrying(retry=decision.is_retried, wait=decision.wait, sleep=sleep)
    return await retrying(again)
