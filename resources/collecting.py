"""Garbage collection while a phase runs: seldom, and not of what stays anyway.

Python looks for cycles after every 700 new objects, and now and then through all there are. A
process that has loaded Dagster and a database library has hundreds of thousands that stay for good,
and a phase makes a thousand a call, hardly any of them in a cycle: a fifth of the time went there.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NEW_OBJECTS = 10_000

_lock = threading.Lock()
_phases = 0
_usual: tuple[int, int, int] = gc.get_threshold()


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Leave alone what is there by now, and collect seldom; phases may overlap."""
    global _phases, _usual  # noqa: PLW0603  # the collector is one for the process
    with _lock:
        _phases += 1
        if _phases == 1:
            _usual = gc.get_threshold()
            gc.freeze()
            gc.set_threshold(NEW_OBJECTS, *_usual[1:])
    try:
        yield
    finally:
        with _lock:
            _phases -= 1
            if _phases == 0:
                gc.set_threshold(*_usual)
                gc.unfreeze()
