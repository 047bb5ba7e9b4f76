"""The product as a Dagster resource: opened once per run, spanning its retries, closed after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster import ConfigurableResource, InitResourceContext
from pydantic import PrivateAttr

from resources.core.config import load_settings
from resources.platform import Platform


class PipelineResource(ConfigurableResource):  # type: ignore[type-arg]
    """Gives assets the `Platform`, and remembers what this run has logged.

    Settings come from the environment and `pipeline.toml` (see `core.config`), as for every
    other command, not from Dagster's run configuration: one place for each value.
    """

    _platform: Platform | None = PrivateAttr(default=None)
    _logged: set[tuple[str, str]] = PrivateAttr(default_factory=set)

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator[Any]:
        platform = self._platform = Platform.open(load_settings())
        run_id = context.run_id
        # Who works on the run: Dagster does not tell, and a dead one must be known as dead.
        if run_id is not None:
            platform.ledger.runs.begin(run_id, platform.clock.now())
        platform.store.sweep(platform.clock.now())
        try:
            yield self
        finally:
            platform.close()
            self._platform = None

    @property
    def platform(self) -> Platform:
        """The open platform."""
        assert self._platform is not None, "the resource is used outside a run"
        return self._platform

    @property
    def logged(self) -> set[tuple[str, str]]:
        """(asset, partition) pairs that this run has recorded as materialised."""
        return self._logged
