"""The product's definitions with two traps in them, for faults that nobody can order from outside.

A file in the folder that HEALING_TRAPS names arms a trap:
- `spin` holds batch keys: the first worker that begins one of them spins in its main thread, while
  the beat of its other thread goes on and nothing is settled any more. Once, ever.
- `crash` holds a domain: whoever scrapes it dies by SIGKILL at once, every time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from sqlalchemy import text

from pipeline_assets.definitions import build_definitions
from resources.background import iterate_in_thread
from resources.core.batch_runner import BatchStarted, Event
from resources.core.models import Phase
from resources.dagster_resource import PipelineResource
from resources.phase_run import Parts, phase_events
from resources.platform import Platform

TRAPS = "HEALING_TRAPS"
SPIN, SPINNING, CRASH = "spin", "spinning", "crash"
_LOOK_S = 0.02
_IN_HAND = """select 1 from work join workers w on w.id = work.claimed_by
              where work.domain = :domain and w.pid = :pid and w.run_id = :run"""


class _TrappedPlatform(Platform):
    """Walks into the traps while it works on a phase."""

    def run_phase(
        self, phase: Phase, batch_keys: Sequence[str], *, run_id: str, scope: str
    ) -> Iterator[Event]:
        parts = Parts(self.settings, self.ledger, self.store, self.clock, self.version)
        is_spinning, is_over = threading.Event(), threading.Event()

        async def events() -> AsyncIterator[Event]:
            stream = phase_events(parts, phase, batch_keys, run_id=run_id, scope=scope)
            try:
                async for event in stream:
                    if isinstance(event, BatchStarted) and _springs(event.key):
                        is_spinning.set()
                    yield event
                    if is_spinning.is_set():
                        # Nothing more is claimed, and the beat goes on.
                        await asyncio.Event().wait()
            finally:
                await stream.aclose()  # type: ignore[attr-defined]

        watch = threading.Thread(target=self._crash, args=(run_id, is_over), daemon=True)
        if phase is Phase.PAGE_SCRAPING:
            watch.start()
        try:
            for event in iterate_in_thread(events):
                yield event
                while is_spinning.is_set():
                    pass
        finally:
            is_over.set()
            if watch.is_alive():
                watch.join()

    def _crash(self, run_id: str, is_over: threading.Event) -> None:
        """Die as soon as the domain is in hand."""
        path = Path(os.environ[TRAPS]) / CRASH
        while not is_over.wait(_LOOK_S):
            if not path.exists():
                continue
            values = {"domain": path.read_text(), "pid": os.getpid(), "run": run_id}
            with self.ledger.database.read() as connection:
                if connection.execute(text(_IN_HAND), values).first():
                    os.kill(os.getpid(), signal.SIGKILL)


def _springs(key: str) -> bool:
    """Whether the spin trap is armed for this batch; it then is no more."""
    folder = Path(os.environ[TRAPS])
    try:
        if key not in (folder / SPIN).read_text().split():
            return False
        # Of two workers only one can do this.
        (folder / SPIN).rename(folder / SPINNING)
    except FileNotFoundError:
        return False
    return True


class TrappedResource(PipelineResource):
    """Gives assets the platform with the traps."""

    @property
    def platform(self) -> Platform:
        plain = super().platform
        return _TrappedPlatform(
            plain.settings, plain.ledger, plain.store, plain.clock, plain.version
        )


defs = build_definitions(resource_overrides={"pipeline": TrappedResource()})
