"""Ctrl-C and SIGTERM: stop soon, keep what is finished, give the claims back.

Dagster replaces the process's signal handlers while it runs a job, and holds a signal back while
it waits between retries. The wake-up descriptor is written to whatever handler is in place, so
that a stop that was asked for is always seen; what does not end in time by itself is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

GRACE_S = 3.0
EXIT_CODE = 130
_STOPPING = {signal.SIGINT, signal.SIGTERM}


class Interrupts:
    """Watches for signals that mean "stop". Use in the main thread, as a context manager.

    Args:
        give_back: Called once a stop was asked for, when all has ended by itself or before the
            process is ended the hard way: releases its claims, and notes whether a person wanted
            it so (Ctrl-C; SIGTERM is what ends services).
        message: What to say then.
    """

    def __init__(self, give_back: Callable[[bool], None], message: str) -> None:
        self.requested = threading.Event()
        self._is_by_person = False
        self._give_back = give_back
        self._message = message
        self._finished = threading.Event()
        self._reader, self._writer = os.pipe()

    def __enter__(self) -> Interrupts:
        os.set_blocking(self._writer, False)
        # A Python handler must be in place for the descriptor to be written to.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="interrupts", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._finished.set()
        signal.set_wakeup_fd(-1)
        os.close(self._writer)
        if self.requested.is_set():
            # With the ledger away nothing is to be told: then it ends as after a kill.
            with contextlib.suppress(SQLAlchemyError):
                self._give_back(self._is_by_person)

    def _watch(self) -> None:
        while data := os.read(self._reader, 64):
            if _STOPPING.isdisjoint(data):
                continue
            self._is_by_person |= signal.SIGINT in data
            self.requested.set()
            if not self._finished.wait(GRACE_S):
                self._end()
        os.close(self._reader)

    def _end(self) -> None:
        try:
            self._give_back(self._is_by_person)
        finally:
            print(self._message, file=sys.stderr, flush=True)
            os._exit(EXIT_CODE)
