"""When each sensor, and whatever else is to happen again and again, last did."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import meta, ticks

TICKING_SINCE = "ticking_since"


@dataclass(frozen=True, slots=True)
class Tick:
    """The newest tick of one of them.

    Args:
        at: Epoch seconds.
        interval_s: How long after it the next one is due.
        note: What it found, in a sentence for a person.
    """

    name: str
    at: float
    interval_s: float
    note: str


class Ticks:
    """Rows of ticks, one a name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, name: str, interval_s: float, note: str, now: float) -> None:
        """Write down that it ticked; the one before is forgotten."""
        tick = {"name": name, "at": now, "interval_s": interval_s, "note": note}
        with self._database.write() as connection:
            connection.execute(self._database.upsert(ticks, ["name"]).values(**tick))
            connection.execute(
                self._database.insert_ignore(meta).values(key=TICKING_SINCE, value=repr(now))
            )

    def since(self) -> float | None:
        """When anything ticked here for the first time, epoch seconds; None for never."""
        first = select(meta.c.value).where(meta.c.key == TICKING_SINCE)
        with self._database.read() as connection:
            value = connection.execute(first).scalar()
            if value is None:
                # An older version did not write it down.
                value = connection.execute(select(func.min(ticks.c.at))).scalar()
        return None if value is None else float(value)

    def all(self) -> dict[str, Tick]:
        """The newest tick of each, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(ticks).order_by(ticks.c.name)).all()
        return {row.name: Tick(row.name, row.at, row.interval_s, row.note) for row in rows}
