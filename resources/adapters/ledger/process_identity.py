"""Which process is meant: told apart from a later one with the same pid, and known to be gone.

Nobody counts as dead (or is signalled) unless that is certain.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """What tells one process from every other, also after a restart.

    Args:
        host: Host name.
        boot_id: Changes with each start of the machine.
        pid: Process id.
        process_started: Seconds after boot (epoch seconds where the system tells no better).
    """

    host: str
    boot_id: str
    pid: int
    process_started: float


def current_process() -> ProcessIdentity:
    """The identity of this process."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), _boot_id(), pid, process_started(pid))


def process_started(pid: int) -> float:
    """When a process started. Counted from boot where that can be had: a start time of the day
    moves whenever the clock is set, and then every living worker would look like a stranger."""
    try:
        # The second field is the name in brackets, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return float(psutil.Process(pid).create_time())


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"{psutil.boot_time():.0f}"


def is_process_gone(identity: ProcessIdentity) -> bool:
    """Whether the process has certainly ended; False where that can't be known from here."""
    if identity.host != socket.gethostname():
        return False
    if identity.boot_id != _boot_id():
        return True
    try:
        same = abs(process_started(identity.pid) - identity.process_started) < 0.02
        return not same or psutil.Process(identity.pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
