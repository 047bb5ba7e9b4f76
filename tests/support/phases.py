"""Runs a phase as a Dagster run does, without Dagster, on a home of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver
from sqlalchemy import select

from pipeline_assets.commands.groups import groups_of
from resources.adapters.ledger.schema import breakers, work
from resources.core.breaker import Status
from resources.core.config import FetchSettings, Settings
from resources.core.errors import FailureKind
from resources.core.models import Phase
from resources.core.run_events import Event
from resources.core.tallies import comes_back
from resources.phase_run import Parts, phase_events
from resources.platform import Platform
from tests.support.ledgers import add_list

LOOPBACK = ("127.0.0.0/8",)


@dataclass(frozen=True)
class Standing:
    """Where a domain stands after a run, as the ledger and the commands tell it.

    Args:
        is_counted: Whether a failure was counted for the breaker of what was called.
        is_tried_again: Whether `--wait` and automatic runs would go on with it by themselves.
        needs_person: Whether `status` says that somebody must act.
    """

    state: str
    kind: str | None
    rounds: int
    is_counted: bool
    is_tried_again: bool
    needs_person: bool


class PhaseHome:
    """A home with a ledger; each domain is a batch of its own, so that each can be looked at."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.ledger = platform.ledger

    def take_in(self, domains: Sequence[str], name: str = "list") -> list[str]:
        """Add a list. Returns its batch keys, in the order of the domains."""
        add_list(self.ledger, name, domains, batch_size=1, digest=name)
        return [batch.key for batch in self.ledger.lists.batches_of(name)]

    async def run(
        self,
        phase: Phase,
        keys: Sequence[str],
        resolver: AbstractResolver | None = None,
        **changes: Any,
    ) -> list[Event]:
        """One run, as a person begins it: what waits is due now.

        Args:
            changes: Settings that differ in this run.
        """
        self.ledger.work.make_due(phase, keys)
        settings = self.platform.settings.model_copy(update=changes)
        parts = Parts(
            settings, self.ledger, self.platform.store, self.platform.clock, "test", resolver
        )
        events = phase_events(parts, phase, keys, run_id="run", scope="scope")
        return [event async for event in events]

    def standing(self, phase: Phase, domain: str, endpoint: str | None = None) -> Standing:
        """Where a domain stands.

        Args:
            endpoint: Whose breaker is looked at; the site's own unless given.
        """
        rows = (work.c.phase == phase, work.c.domain == domain)
        key = endpoint or f"site/{domain}"
        with self.ledger.database.read() as connection:
            row = connection.execute(select(work).where(*rows)).one()
            breaker = connection.execute(select(breakers).where(breakers.c.endpoint == key)).first()
        kind = FailureKind(row.kind) if row.kind else None
        keys = [key for _, key in self.ledger.lists.memberships(domain)]
        (tally,) = self.ledger.work.tallies(phase, keys).values()
        return Standing(
            row.state,
            kind,
            row.rounds,
            breaker is not None and (breaker.failures > 0 or breaker.status != Status.CLOSED),
            tally.next_round_at is not None or any(map(comes_back, tally.waiting_kinds)),
            any(
                group.needs_person
                for group in groups_of(self.platform, None)
                if (group.phase, group.state, group.kind) == (phase, row.state, kind)
            ),
        )


@contextmanager
def phase_home(folder: Path, fetch: FetchSettings, **settings: Any) -> Iterator[PhaseHome]:
    """A home in a folder, with settings of its own."""
    platform = Platform.open(Settings(home=folder, fetch=fetch, **settings))
    try:
        yield PhaseHome(platform)
    finally:
        platform.close()
