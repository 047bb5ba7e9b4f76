"""Limits of credits, by the invocation that they were given to.

Whoever goes on with an invocation's work, in whatever process, is held to the limit that it began
with. What was spent is counted from the calls (`calls`).
"""

from __future__ import annotations

from sqlalchemy import select

from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import budgets


class Budgets:
    """Rows of limits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def limit_of(self, scope: str, default: float | None, now: float) -> float | None:
        """The limit that an invocation has, for ever.

        Args:
            scope: Names the invocation.
            default: Stored as its limit if it has none yet; credits, None for no limit.

        Returns: the stored limit, which may be somebody else's `default`; None for no limit.
        """
        new = {"scope": scope, "max_credits": default, "at": now}
        with self._database.write() as connection:
            connection.execute(self._database.insert_ignore(budgets).values(**new))
            found: float | None = connection.execute(
                select(budgets.c.max_credits).where(budgets.c.scope == scope)
            ).scalar_one()
        return found
