"""The product as one plain object: settings in, ledger, store and the work of each asset out.

Dagster's assets and the command line call this; it knows neither of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from resources.adapters import log_redaction
from resources.adapters.clock import SystemClock
from resources.adapters.ledger import Ledger, open_ledger
from resources.adapters.store import Store
from resources.artifact_writer import ArtifactWriter
from resources.background import iterate_in_thread
from resources.core.batch_runner import Event
from resources.core.config import Settings
from resources.core.models import Phase
from resources.core.ports import Clock
from resources.core.redaction import remember
from resources.directory import Directory
from resources.phase_run import Parts, phase_events
from resources.profile_builder import ProfileBuilder

VERSION = "0.1.0"


@dataclass(frozen=True)
class Platform:
    """Everything a run needs, opened once per process."""

    settings: Settings
    ledger: Ledger
    store: Store
    clock: Clock
    version: str = VERSION

    @classmethod
    def open(cls, settings: Settings) -> Platform:
        """Open ledger and store. Close after use.

        Raises:
            UsageError: something can't be opened; says what and why.
        """
        remember(settings.secrets())
        log_redaction.install()
        return cls(settings, open_ledger(settings), Store(settings.home / "store"), SystemClock())

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings) -> Iterator[Platform]:
        """Open for a while.

        Raises: as `open` does.
        """
        platform = cls.open(settings)
        try:
            yield platform
        finally:
            platform.close()

    def close(self) -> None:
        self.ledger.close()

    def run_phase(
        self, phase: Phase, batch_keys: Sequence[str], *, run_id: str, scope: str
    ) -> Iterator[Event]:
        """Work through batches of a fetching phase; events as they come.

        Args:
            run_id: The Dagster run, to find the worker by.
            scope: Names the invocation whose credit limit counts.
        """
        parts = Parts(self.settings, self.ledger, self.store, self.clock, self.version)
        return iterate_in_thread(
            lambda: phase_events(parts, phase, batch_keys, run_id=run_id, scope=scope)
        )

    @property
    def artifacts(self) -> ArtifactWriter:
        return ArtifactWriter(self.ledger, self.store, self.clock)

    @property
    def profiles(self) -> ProfileBuilder:
        return ProfileBuilder(self.ledger, self.store, self.clock)

    @property
    def directory(self) -> Directory:
        return Directory(self.ledger, self.store, self.clock)
