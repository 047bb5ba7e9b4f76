"""A process of its own that looks into an inbox once, a minute from now by its clock.

    python -m tests.support.looking_process DATABASE_URL INBOX HOME [KILL]

It says "ready" when it is loaded and looks when it is told to, so that many of them look together;
then it prints a line for each file that it took in. KILL names the call at which it ends itself
with SIGKILL: one of the file system, or `ask`, which comes after the list is in the ledger.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from resources.core.config import load_settings
from resources.inbox_intake import InboxIntake
from tests.support.inboxes import Inbox
from tests.support.ledgers import open_at
from tests.support.time import NOW, ManualClock


def _die(*_arguments: Any, **_options: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, inbox: str, home: str, kill: str) -> None:
    ledger = open_at(url)
    folder = Inbox(Path(inbox))
    if kill == "ask":
        ledger.requests.ask = _die  # type: ignore[method-assign]
    elif kill:
        setattr(folder.fs, kill, _die)
    settings = load_settings(home=Path(home), batch_size=2)
    intake = InboxIntake(settings, ledger, ManualClock(NOW + 60.0), folder.folder)
    print("ready", flush=True)
    sys.stdin.readline()
    for sentence in intake.look().taken:
        print(sentence, flush=True)
    ledger.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
