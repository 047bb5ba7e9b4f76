"""What follows from a list that was taken in from the inbox: its batches are asked for and shown.

How a file becomes a list is in `inbox_intake`; which runs are started for what was asked for, in
`core/recovery`.
"""

from __future__ import annotations

from collections.abc import Collection

from resources.adapters.ledger import Ledger
from resources.adapters.ledger.inbox import InboxFiles
from resources.adapters.providers.registry import paid_providers
from resources.artifact_writer import MANIFEST_ASSET
from resources.core.config import Settings


class Asking:
    """Asks for the batches of taken lists, where no person has to say yes first."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._files = InboxFiles(ledger.database)

    def missing_limit(self) -> str | None:
        """Why batches may not be asked for, in words; None where they may."""
        paid = paid_providers(self._settings)
        if not self._settings.is_live or not paid or self._settings.max_credits is not None:
            return None
        return (
            f"may spend credits at {', '.join(paid)}, and no limit is set; set "
            "PIPELINE_MAX_CREDITS, and they are worked on."
        )

    def ask(self, file_id: int, list_name: str, scope: str, now: float) -> int:
        """Ask for the batches of a list that nobody has asked for yet. Returns how many there are.

        To be called within the transaction that notes why.
        """
        wanted = self._files.unrequested_batches(list_name)
        batches = len({key for keys in wanted.values() for key in keys})
        if batches and self.missing_limit() is not None:
            return batches
        # Noted with them: the limit that holds is the one of now, whoever runs them and when.
        self._ledger.budgets.limit_of(scope, self._settings.max_credits, now)
        for phase, keys in wanted.items():
            if keys:
                self._ledger.requests.ask(keys, (phase,), scope=scope, now=now)
        self._files.requested(file_id, now)
        return batches

    def catch_up(self, now: float) -> str | None:
        """Ask for what waited for a limit. Returns what still waits, in words."""
        for known in self._files.unrequested():
            with self._ledger.database.write():
                self.ask(known.id, known.list_name or "", known.scope, now)
        names = sorted({known.list_name or "" for known in self._files.unrequested()})
        return f"Batches of {', '.join(names)} {self.missing_limit()}" if names else None


def missing_partitions(ledger: Ledger, known: Collection[str]) -> list[str]:
    """Batches that were requested or came by the inbox, and that Dagster does not know, in order.

    Args:
        known: Dagster's partitions.
    """
    there = set(known)
    return [key for key in InboxFiles(ledger.database).wanted_batches() if key not in there]


def unwritten_manifests(ledger: Ledger) -> list[str]:
    """Batches that were requested or came by the inbox, and whose manifest is not written."""
    return InboxFiles(ledger.database).unwritten_batches(MANIFEST_ASSET)
