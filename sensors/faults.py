"""Keeps one batch or run that can't be looked after from stopping the look at all the others.

What went wrong is not swallowed: each fault is told as an alert and logged with its stack trace.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import InterfaceError, OperationalError

from resources.core.errors import LeaseLost
from resources.core.redaction import redact

# Whatever comes next would meet the same: our own end, or a database that is away.
OF_ALL = (LeaseLost, OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class Fault:
    """What could not be looked after, and why.

    Args:
        what: Names it, such as "run 1234".
        reason: In a sentence without secrets.
        stack: The stack trace, without secrets.
    """

    what: str
    reason: str
    stack: str

    @property
    def sentence(self) -> str:
        return f"{self.what} could not be looked after: {self.reason}"


class Faults:
    """Those of one look."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    @contextmanager
    def apart(self, what: str) -> Iterator[None]:
        """Note what goes wrong inside, and go on after it.

        Raises: what all others would meet as well (`OF_ALL`), and every stop.
        """
        try:
            yield
        except OF_ALL:
            raise
        except Exception as error:  # noqa: BLE001  # it is told and logged
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            stack = "".join(traceback.format_exception(error))
            self.found.append(Fault(what, redact(reason), redact(stack)))
