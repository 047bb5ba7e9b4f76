"""Becomes another program that is ended when its parent is, whatever ended that one.

Run as a file, without the project's packages: `with_parent.py PARENT_PID PROGRAM ARGUMENT...`. Only
Linux can do this; elsewhere a program whose parent is killed goes on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, and become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)  # it was ended before we asked
    os.execv(program[0], program)  # noqa: S606  # the program that we were given


if __name__ == "__main__":
    main()
