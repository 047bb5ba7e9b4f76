"""Keeps the claim on a file of the inbox while the file is read, however long that takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from resources.adapters.ledger.inbox import CLAIM_S, InboxFiles
from resources.core.ports import Clock

RENEW_S = CLAIM_S / 4
# A reading that hangs for good is not kept for ever: somebody else begins anew.
LONGEST_READING_S = 7_200.0
_log = logging.getLogger(__name__)


@contextmanager
def renewed(
    files: InboxFiles, claim: str, clock: Clock, every_s: float = RENEW_S
) -> Iterator[None]:
    """Renew a claim until the end, from a thread: what is read may not come up for air.

    A claim that was lost is not taken back. Nothing breaks then: of two that read the same file,
    the second one finds its domains known.
    """
    is_over = threading.Event()

    def keep_renewing() -> None:
        for _ in range(int(LONGEST_READING_S / every_s)):
            if is_over.wait(every_s):
                return
            try:
                if not files.renew(claim, clock.now()):
                    return
            except SQLAlchemyError as error:
                _log.warning("The claim on a file of the inbox was not renewed: %s", error)

    thread = threading.Thread(target=keep_renewing, name="inbox-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(every_s)
