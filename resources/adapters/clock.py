"""The system's clock. The only place that reads it."""

from __future__ import annotations

import time


class SystemClock:
    """Wall-clock time in UTC."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()
