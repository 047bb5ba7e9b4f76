"""When a server that ended is started again, and when one that stands still is ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# What lived so long was well: it is started again at once.
WELL_AFTER_S = 60.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """What is known of one server's ends.

    Args:
        in_a_row: Ends, each soon after its start.
    """

    in_a_row: int = 0

    def after_end(self, lived_s: float) -> Restarts:
        """Take in that it ended, so long after it was started."""
        return Restarts(0 if lived_s >= WELL_AFTER_S else self.in_a_row + 1)

    @property
    def pause_s(self) -> float:
        """Seconds to wait before it is started again; each end in a row doubles them.

        >>> [Restarts(ends).pause_s for ends in range(8)]
        [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        """
        if self.in_a_row == 0:
            return 0.0
        # The exponent has a limit too: a number that doubles for days does not fit a float.
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.in_a_row - 1, 10))


@dataclass(frozen=True, slots=True)
class Pulse:
    """Whether a living server answers, look by look.

    Counted in looks and not in seconds: a machine that slept has not seen it stand still.

    Args:
        has_answered: Since it was started; before that it may still be on its way.
        missed: Looks in a row without an answer.
    """

    has_answered: bool = False
    missed: int = 0

    def after_look(self, is_answering: bool | None) -> Pulse:
        """Take in one look; None says nothing about it."""
        if is_answering is None:
            return self
        return Pulse(True) if is_answering else Pulse(self.has_answered, self.missed + 1)

    def is_standing_still(self, most_missed: int) -> bool:
        """Whether it is to be ended and started again."""
        return self.has_answered and self.missed >= most_missed
