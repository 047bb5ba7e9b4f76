"""Progress on the terminal: a bar where there is one, plain lines otherwise; always on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.commands.wording import plain, span
from resources.adapters.ledger.schema import workers
from resources.adapters.ledger.workers import current_process
from resources.platform import Platform

_EVERY_S = 1.0
_LINE_EVERY_S = 10.0
_LEAST_BAR, _MOST_BAR = 6, 24
_WIDTH_UNKNOWN = 80


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a worker is.

    Args:
        doing: What it works on, where that is known.
        spent_s: Seconds since it began.
    """

    phase: str
    done: int
    total: int
    doing: str | None
    spent_s: float

    @property
    def rate(self) -> float:
        """Domains a second so far."""
        return self.done / max(0.1, self.spent_s)

    @property
    def time_left(self) -> str:
        """How long the rest takes at this rate; empty while there is no rate.

        >>> Reach("PAGE_SCRAPING", 30, 90, None, 10.0).time_left
        '20 s left'
        """
        left = max(0, self.total - self.done)
        return f"{span(left / self.rate)} left" if self.done and left else ""

    @property
    def words(self) -> str:
        """Counts, rate, time left and what is being worked on, without a bar.

        >>> Reach("PAGE_SCRAPING", 30, 90, "Processing batch 1/2 (50 domains): a-1", 10.0).words
        '30/90 domains, 3.0/s, 20 s left, Processing batch 1/2 (50 domains): a-1'
        """
        rate = f"{self.rate:.0f}/s" if self.rate >= 10 else f"{self.rate:.1f}/s"
        parts = (f"{self.done}/{self.total} domains", rate, self.time_left, plain(self.doing or ""))
        return ", ".join(part for part in parts if part)

    def bar_line(self, width: int) -> str:
        """The line of a terminal of so many columns; never longer, or it would wrap and stay.

        What is being worked on names the batch last, so that a narrow terminal cuts off its key.
        """
        words = self.words if self.doing else f"{self.words}, {self.phase}"
        # The last column stays free: some terminals wrap as soon as it is written to.
        room = width - len("   ") - len(words) - 1
        bar = max(_LEAST_BAR, min(_MOST_BAR, room))
        filled = min(bar, int(bar * self.done / max(1, self.total)))
        line = f"  {'█' * filled}{'░' * (bar - filled)} {words}"
        return line if len(line) < width else line[: max(0, width - 2)] + "…"


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
        shown_worker, last_line = None, 0.0
        while not self._ended.wait(_EVERY_S):
            try:
                found = self._newest_worker()
            except SQLAlchemyError:
                continue  # the run itself says it; the display may come back
            if found is None:
                continue
            worker_id, reach = found
            if self._has_terminal:
                sys.stderr.write("\r\x1b[K" + reach.bar_line(_columns()))
                sys.stderr.flush()
                self._shown = True
            # The first line of each worker at once, so that short work is seen in a log too.
            elif worker_id != shown_worker or time.monotonic() - last_line > _LINE_EVERY_S:
                shown_worker, last_line = worker_id, time.monotonic()
                print(f"{reach.phase}: {reach.words}", file=sys.stderr, flush=True)

    def _newest_worker(self) -> tuple[str, Reach] | None:
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
        spent_s = self._platform.clock.now() - row.started_at
        return row.id, Reach(row.phase, row.done, row.total, row.doing, spent_s)


def _columns() -> int:
    """The width of the terminal, which may change while we run; 80 where it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _WIDTH_UNKNOWN
    except (OSError, ValueError):
        return _WIDTH_UNKNOWN
