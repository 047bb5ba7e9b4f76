"""What a pass over batches tells as it goes.

`batch_runner` yields these; how they are recorded and shown is decided by whoever drives it.
"""

from __future__ import annotations

from dataclasses import dataclass

from resources.core.errors import Failure
from resources.core.tallies import Tally

BROKEN_OFF = "broken off"
"""How a pass ends that did not come to its own end, whatever stopped it."""


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """The first domain of a batch is in hand. `number` of `total` batches, from 1.

    Args:
        unsettled: Domains to work on; those that are refreshed are among them.
    """

    key: str
    number: int
    total: int
    unsettled: int

    @property
    def sentence(self) -> str:
        """What a person reads in logs and on the terminal."""
        return f"Processing batch {self.number}/{self.total} ({self.unsettled} domains): {self.key}"


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """Every domain of a batch is settled. `is_new` is False when there was nothing to do."""

    key: str
    tally: Tally
    is_new: bool


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something that whoever reads the run's log should know: a limit, a breaker."""

    message: str


@dataclass(frozen=True, slots=True)
class PassEnded:
    """Nothing more can be done now.

    Args:
        unsettled: Tallies of the batches that are not settled, by key.
        stopped_by: What ended the pass early, or None.
    """

    unsettled: dict[str, Tally]
    stopped_by: Failure | None


Event = BatchStarted | BatchSettled | Noticed | PassEnded
