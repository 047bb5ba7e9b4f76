"""Counts of calls, failures and retries over the last seconds, small enough for a ledger's row.

Time is cut into slots; a slot leaves the window as a whole, so that a count is exact to a slot's
width and costs the same for ten calls as for ten thousand. What a clock counted that is ahead by
more than a window (or what was counted with another window) is not of this time and is left out:
it would never grow old.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

SLOTS_IN_WINDOW = 6


@dataclass(frozen=True, slots=True)
class Slot:
    """What happened in one slot of time; `start` is its number, time divided by its width."""

    start: int
    calls: int = 0
    failures: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class SlidingCounts:
    """Counts by slot, oldest first.

    Args:
        window_s: Seconds that are looked back.
        slots: At most `SLOTS_IN_WINDOW` of them.
    """

    window_s: float
    slots: tuple[Slot, ...] = ()

    def add(
        self, now: float, *, calls: int = 0, failures: int = 0, retries: int = 0
    ) -> SlidingCounts:
        """Count something that happened now (epoch seconds)."""
        kept = self._kept(now)
        start = self._slot_of(now)
        # A clock set back, or another machine's: counted with the newest, not lost.
        last = kept[-1] if kept and kept[-1].start >= start else Slot(start)
        before = kept[:-1] if kept and kept[-1].start >= start else kept
        last = replace(
            last,
            calls=last.calls + calls,
            failures=last.failures + failures,
            retries=last.retries + retries,
        )
        return replace(self, slots=(*before, last))

    def total(self, now: float) -> Slot:
        """The sum over the window that ends now."""
        kept = self._kept(now)
        return Slot(
            self._slot_of(now),
            sum(slot.calls for slot in kept),
            sum(slot.failures for slot in kept),
            sum(slot.retries for slot in kept),
        )

    def to_text(self) -> str:
        """The slots as text: `start:calls:failures:retries`, by space."""
        return " ".join(f"{s.start}:{s.calls}:{s.failures}:{s.retries}" for s in self.slots)

    @classmethod
    def from_text(cls, window_s: float, text: str) -> SlidingCounts:
        """Read what `to_text` wrote."""
        return cls(window_s, tuple(_slots(text.split())))

    def _slot_of(self, now: float) -> int:
        return int(now * SLOTS_IN_WINDOW / self.window_s)

    def _kept(self, now: float) -> tuple[Slot, ...]:
        current = self._slot_of(now)
        oldest, newest = current - SLOTS_IN_WINDOW, current + SLOTS_IN_WINDOW
        return tuple(slot for slot in self.slots if oldest < slot.start <= newest)


def _slots(words: Iterable[str]) -> Iterable[Slot]:
    for word in words:
        start, calls, failures, retries = word.split(":")
        yield Slot(int(start), int(calls), int(failures), int(retries))
