"""How long one reconciliation takes over many partitions, some of them unfinished here and there.

    python -m benchmarks.reconcile_tick --batches 10000 --scattered 500 --stale 50

Ledger and Dagster instance are real and lie in a temporary folder: all batches are settled and
materialised but the scattered ones, of which each holds a domain that is due and has a failed run
in Dagster; and the profiles of some more are stale. Only the tick is timed: everything that the
sensor does but asking the daemon for the runs. The first tick of all looks through everything that
ever settled; the others go on from there, as every tick does, with the stale profiles still stale.
Dagster's status queries are counted: one an asset, whatever the number of partitions.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from dagster import AssetKey, AssetMaterialization, DagsterInstance, DagsterRunStatus
from sqlalchemy import Connection, insert

from pipeline_assets.definitions import build_definitions
from pipeline_assets.instance import open_instance
from pipeline_assets.partitions import RANGE_END, RANGE_START
from resources.adapters.ledger import schema
from resources.artifact_writer import ASSET_OF
from resources.core.config import load_settings
from resources.core.models import FETCHING, Phase, State
from resources.platform import Platform
from sensors.reconciler import reconcile

DEFINITIONS = build_definitions()
LIST = "many"
ROWS_AT_ONCE = 50_000


def fill_ledger(
    platform: Platform, batches: int, size: int, unfinished: set[int], stale: set[int]
) -> list[str]:
    """Write settled batches straight into the tables; returns their keys."""
    now = platform.clock.now() - 3600
    platform.store.root.mkdir(parents=True, exist_ok=True)
    (platform.store.root / "x").touch()
    keys = [f"{LIST}-{number:05}" for number in range(1, batches + 1)]
    with platform.ledger.database.write() as connection:
        list_id = connection.execute(
            insert(schema.lists).values(name=LIST, created_at=now)
        ).inserted_primary_key[0]
        _insert(
            connection,
            schema.batches,
            (
                {"key": key, "list_id": list_id, "number": n, "size": size, "created_at": now}
                for n, key in enumerate(keys, 1)
            ),
        )
        _insert(connection, schema.members, _members(keys, size, list_id))
        for phase in FETCHING:
            _insert(connection, schema.work, _work(keys, size, phase, unfinished, now))
        fingerprints = {
            (is_open, is_stale): "1/" + "/".join([f"{size}.{size}", _pages_of(size, is_open)])
            if not is_stale
            else "of an earlier time"
            for is_open in (False, True)
            for is_stale in (False, True)
        }
        _insert(
            connection,
            schema.artifacts,
            (
                {
                    "asset": ASSET_OF[Phase.PROFILE_BUILD],
                    "batch_key": key,
                    "path": "x",
                    "rows": size,
                    "data_version": "x",
                    "fingerprint": fingerprints[number in unfinished, number in stale],
                    "at": now,
                }
                for number, key in enumerate(keys)
            ),
        )
    platform.ledger.requests.ask(keys, FETCHING, scope="benchmark", now=now)
    return keys


def _pages_of(size: int, is_open: bool) -> str:
    settled = size - int(is_open)
    return f"{settled}.{settled}"


def _insert(connection: Connection, table: object, rows: Iterator[dict[str, object]]) -> None:
    part: list[dict[str, object]] = []
    for row in rows:
        part.append(row)
        if len(part) == ROWS_AT_ONCE:
            connection.execute(insert(table), part)  # type: ignore[arg-type]
            part = []
    if part:
        connection.execute(insert(table), part)  # type: ignore[arg-type]


def _members(keys: Sequence[str], size: int, list_id: int) -> Iterator[dict[str, object]]:
    for number, key in enumerate(keys):
        for place in range(size):
            line = number * size + place
            yield {
                "list_id": list_id,
                "domain": f"company-{line}.example",
                "batch_key": key,
                "position": place,
                "line": line,
            }


def _work(
    keys: Sequence[str], size: int, phase: Phase, unfinished: set[int], now: float
) -> Iterator[dict[str, object]]:
    for number in range(len(keys)):
        for place in range(size):
            is_open = number in unfinished and place == 0 and phase is Phase.PAGE_SCRAPING
            yield {
                "phase": phase,
                "domain": f"company-{number * size + place}.example",
                "state": State.WAITING if is_open else State.SUCCEEDED,
                "kind": "http_5xx" if is_open else None,
                "rounds": int(is_open),
                "revision": int(not is_open),
                "settled_at": None if is_open else now,
                "updated_at": now,
            }


def fill_dagster(instance: DagsterInstance, keys: Sequence[str], unfinished: set[int]) -> None:
    """Record every partition as materialised; the unfinished ones of the pages as failed."""
    instance.add_dynamic_partitions("batches", list(keys))
    for phase in Phase:
        for number, key in enumerate(keys):
            if phase is Phase.PAGE_SCRAPING and number in unfinished:
                _fail(instance, key)
                continue
            instance.report_runless_asset_event(
                AssetMaterialization(AssetKey(ASSET_OF[phase]), partition=key)
            )


def _fail(instance: DagsterInstance, key: str) -> None:
    """A run over one partition that failed."""
    run = instance.create_run_for_job(
        DEFINITIONS.resolve_job_def("scrape_pages"),
        tags={RANGE_START: key, RANGE_END: key},
        status=DagsterRunStatus.STARTED,
    )
    instance.report_run_failed(run, "Steps failed.")


class CountingInstance:
    """Counts status queries, and hands everything on."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self.status_queries = 0

    def __getattr__(self, name: str) -> Any:
        if name == "get_status_by_partition":
            self.status_queries += 1
        return getattr(self._instance, name)


@contextmanager
def opened(home: Path) -> Iterator[tuple[Platform, DagsterInstance]]:
    """A ledger and an instance in a folder of their own."""
    os.environ["PIPELINE_HOME"] = str(home)
    os.environ["PIPELINE_FETCH__CONNECT_TO"] = "127.0.0.1:1"
    settings = load_settings()
    with Platform.opened(settings) as platform, open_instance(settings) as instance:
        yield platform, instance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=50)
    parser.add_argument("--scattered", type=int, default=500)
    parser.add_argument("--stale", type=int, default=50)
    parser.add_argument("--ticks", type=int, default=6)
    arguments = parser.parse_args()
    step = max(1, arguments.batches // max(1, arguments.scattered))
    unfinished = set(list(range(0, arguments.batches, step))[: arguments.scattered])
    settled = [number for number in range(arguments.batches) if number not in unfinished]
    stale = set(settled[:: max(1, len(settled) // max(1, arguments.stale))][: arguments.stale])
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder)) as (platform, instance),
    ):
        keys = fill_ledger(platform, arguments.batches, arguments.size, unfinished, stale)
        fill_dagster(instance, keys, unfinished)
        seconds, cpu_seconds, queries = [], [], set()
        for _ in range(arguments.ticks):
            counting = CountingInstance(instance)
            began_at, cpu_at = time.perf_counter(), time.process_time()
            found = reconcile(cast(DagsterInstance, counting), platform, is_advice=False)
            seconds.append(round(time.perf_counter() - began_at, 3))
            cpu_seconds.append(round(time.process_time() - cpu_at, 3))
            queries.add(counting.status_queries)
    still_stale = sum(phase is Phase.PROFILE_BUILD for phase, _ in found.healing.verdicts)
    print(
        f"{arguments.batches} partitions, {len(unfinished)} failed, {still_stale} with stale "
        f"profiles: {found.sentence}"
    )
    print(f"first {seconds[0]:.2f} s, then {min(seconds[1:]):.2f} to {max(seconds[1:]):.2f} s")
    print(f"of these, processor: {cpu_seconds[0]:.2f} s, then {max(cpu_seconds[1:]):.2f} s at most")
    print(f"status queries a tick: {', '.join(map(str, sorted(queries)))}")
    print(json.dumps({"partitions": arguments.batches, "seconds": seconds, "cpu": cpu_seconds}))


if __name__ == "__main__":
    main()
