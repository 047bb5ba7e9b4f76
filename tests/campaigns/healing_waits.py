"""Waiting for a condition, with a deadline: nothing in the campaign sleeps for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")
POLL_S = 0.25


class TooLate(AssertionError):
    """Something has not come about in time."""


def until(find: Callable[[], T | None], within_s: float, what: str, poll_s: float = POLL_S) -> T:
    """Ask again and again until the answer is something. Returns it.

    A server or database that is away just now has no answer yet: many cases take one away.

    Args:
        what: What is waited for, in words, for the error.

    Raises:
        TooLate: it took longer than `within_s` seconds.
    """
    give_up_at = time.monotonic() + within_s
    trouble = ""
    pause = threading.Event()
    while True:
        try:
            found = find()
            if found:
                return found
        except (OSError, SQLAlchemyError) as error:
            trouble = f" (at last: {' '.join(str(error).split())[:300]})"
        if time.monotonic() >= give_up_at:
            raise TooLate(f"not within {within_s:.0f} s: {what}{trouble}")
        pause.wait(poll_s)
