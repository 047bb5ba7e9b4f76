"""Progress on the terminal: a bar where there is one, plain lines otherwise; always on stderr."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from sqlalchemy import select

from resources.adapters.ledger.schema import workers
from resources.adapters.ledger.workers import current_process
from resources.platform import Platform

_EVERY_S = 1.0
_LINE_EVERY_S = 10.0


class Progress:
    """Follows this process's worker in the ledger: what is shown is what is written there."""

    def __init__(self, platform: Platform, *, is_quiet: bool) -> None:
        self._platform = platform
        self._is_quiet = is_quiet
        self._has_terminal = sys.stderr.isatty() and not is_quiet
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._started_at = platform.clock.now()
        self._shown = False

    def __enter__(self) -> Progress:
        if not self._is_quiet:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def say(self, line: str) -> None:
        """Print a line about what begins."""
        if self._is_quiet:
            return
        self._clear()
        print(line, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """End the display."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._clear()

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = False

    def _follow(self) -> None:
        last_line = time.monotonic()
        while not self._ended.wait(_EVERY_S):
            text = self._text()
            if text is None:
                continue
            if self._has_terminal:
                sys.stderr.write("\r\x1b[K" + text)
                sys.stderr.flush()
                self._shown = True
            elif time.monotonic() - last_line > _LINE_EVERY_S:
                last_line = time.monotonic()
                print(text.strip(), file=sys.stderr, flush=True)

    def _text(self) -> str | None:
        identity = current_process()
        with self._platform.ledger.database.read() as connection:
            row = connection.execute(
                select(workers)
                .where(
                    workers.c.pid == identity.pid,
                    workers.c.host == identity.host,
                    workers.c.started_at >= self._started_at,
                    workers.c.ended_at.is_(None),
                )
                .order_by(workers.c.started_at.desc())
                .limit(1)
            ).first()
        if row is None or not row.total:
            return None
        spent_s = max(0.1, self._platform.clock.now() - row.started_at)
        rate = row.done / spent_s
        left = f"{(row.total - row.done) / rate:.0f} s left" if rate else "…"
        width = 24
        filled = int(width * row.done / row.total)
        bar = "█" * filled + "░" * (width - filled)
        return f"  {row.phase} {bar} {row.done}/{row.total} domains  {rate:.0f}/s  {left}"
