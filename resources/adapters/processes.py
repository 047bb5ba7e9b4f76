"""Ends a process of this machine, once it is certain which one it is.

Whether a process is to be ended is decided in `core/run_recovery`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from resources.adapters.ledger.process_identity import (
    ProcessIdentity,
    current_process,
    is_process_gone,
    process_started,
)

_LOOK_AGAIN_S = 0.05


def end_process(identity: ProcessIdentity, patience_s: float) -> bool:
    """End a process and its children by force, and wait for it.

    Nobody is signalled unless host, boot, process id and start time all match: the id alone may be
    a stranger's by now. By force, because a process that is stopped hears nothing else.

    Args:
        patience_s: Seconds to wait at most.

    Returns: whether it is certainly gone. False also where it can't be told or ended from here: it
        is on another machine, belongs to another user, or is this very process.
    """
    if is_process_gone(identity):
        return True
    if identity.host != current_process().host or identity.pid == os.getpid():
        return False
    try:
        # Taken before the look at its start: psutil signals nobody who got the id later.
        process = psutil.Process(identity.pid)
        if abs(process_started(identity.pid) - identity.process_started) >= 0.02:
            return True
        family = _kill_family(process)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
    _wait_for(family, patience_s)
    return is_process_gone(identity)


def _kill_family(process: psutil.Process) -> Sequence[psutil.Process]:
    """Kill a process, its children and theirs. Returns all of them."""
    # Stopped first, it starts no further child, and does not take the death of one for a fault of
    # the domain that the child had in hand.
    process.suspend()
    try:
        children = process.children(recursive=True)
    finally:
        process.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    return [process, *children]


def _wait_for(family: Sequence[psutil.Process], patience_s: float) -> None:
    """Wait until all are gone. A zombie is: it is its parent that has not asked for it yet."""
    until = time.monotonic() + patience_s
    while any(_is_running(member) for member in family) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN_S)


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
