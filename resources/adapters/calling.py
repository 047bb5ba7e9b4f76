"""One outgoing call with its request tier of retries: tenacity loops, `core.retry` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from resources.adapters.classify import classify
from resources.core.errors import CallError, LeaseLost
from resources.core.ports import Sleep
from resources.core.retry import RetryPolicy, wait_before_retry

T = TypeVar("T")


class _Decision:
    """Tenacity's wait and stop in one: both follow from one decision of core."""

    def __init__(self, policy: RetryPolicy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._is_over = False

    def wait(self, state: RetryCallState) -> float:
        """Decide; tenacity asks for the wait before it asks whether to stop."""
        error = state.outcome.exception() if state.outcome else None
        wait_s = None
        if isinstance(error, CallError):
            tries = state.attempt_number
            wait_s = wait_before_retry(error.failure, tries, self._policy, self._random)
        self._is_over = wait_s is None
        return wait_s or 0.0

    def stop(self, _state: RetryCallState) -> bool:
        return self._is_over


async def call_with_retries(
    call: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    random: Random,
    sleep: Sleep = asyncio.sleep,
    url: str | None = None,
    provider: str | None = None,
) -> T:
    """Make a call, trying again within the policy.

    Raises:
        CallError: the last failure, classified, when it is not to be tried again in this round.
    """

    async def classified() -> T:
        try:
            return await call()
        except (CallError, LeaseLost):
            raise
        except Exception as error:  # every exception has its kind; the unknown ones are `bug`
            raise CallError(classify(error, url=url, provider=provider)) from error

    decision = _Decision(policy, random)
    retrying = AsyncRetrying(
        stop=decision.stop,
        wait=decision.wait,
        retry=retry_if_exception_type(CallError),
        sleep=sleep,
        reraise=True,
    )
    return await retrying(classified)
