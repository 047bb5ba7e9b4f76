"""How much memory and time it takes to take a long list in, in a process as `pipeline run` has it.

Writes a list with names, countries and cities, of which some rows are duplicates and some hold no
domain; then a process of its own imports what `pipeline run` imports, reads the list, writes it to
a new ledger and makes its batches known to Dagster. Peak memory is that of the whole process, as
the kernel counts it (`VmHWM`), imports included. One line of JSON, then the same in words.

    python -m benchmarks.ingest_memory [--rows 1000000] [--form csv|gzip|parquet|xlsx]
        [--database URL] [--without-dagster]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BATCH_SIZE = 50
SEED = 7
DUPLICATES, RUBBISH = 0.05, 0.01
COLUMNS = ("domain", "company_name", "country", "city")
_NO_DOMAINS = ("n/a", "192.168.0.1", "not a domain", "localhost", "")
_COUNTRIES = ("DE", "US", "United Kingdom", "France", "")
_FILES = {"csv": "list.csv", "gzip": "list.csv.gz", "parquet": "list.parquet", "xlsx": "list.xlsx"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--form", choices=_FILES, default="csv")
    parser.add_argument("--database", help="URL of an empty PostgreSQL database (a new SQLite)")
    parser.add_argument("--without-dagster", action="store_true", help="import and ask it nothing")
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)  # in the process measured
    asked = parser.parse_args()
    if asked.list is not None:
        print(json.dumps(_take_in(asked.list, is_with_dagster=not asked.without_dagster)))
        return
    with tempfile.TemporaryDirectory(prefix="ingest-memory-") as folder:
        path = Path(folder) / _FILES[asked.form]
        _write(path, asked.form, asked.rows)
        told = _measured(path, asked.database, is_with_dagster=not asked.without_dagster)
    print(json.dumps({"form": asked.form, **told}))
    print(
        f"{told['rows']:,} rows ({asked.form}): {told['accepted']:,} domains, "
        f"{told['duplicates']:,} duplicates, {told['rejected']:,} rejected, "
        f"{told['batches']:,} batches in {told['seconds']} s ({told['rows_per_s']:,} rows/s; "
        f"read {told['read_s']} s, written {told['write_s']} s, made known to Dagster "
        f"{told['partitions_s']} s); peak memory {told['peak_mb']} MB"
    )


def _measured(path: Path, database: str | None, *, is_with_dagster: bool) -> dict[str, int | float]:
    """Take the list in, in a process of its own: this one has other memory."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIPELINE_", "DAGSTER_"))
    }
    settings = {"PIPELINE_HOME": str(path.parent / "home")}
    if database is not None:
        settings["PIPELINE_DATABASE_URL"] = database
    options = [] if is_with_dagster else ["--without-dagster"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest_memory", "--list", str(path), *options],
        stdout=subprocess.PIPE,
        env={**kept, **settings},
        cwd=Path(__file__).parents[1],
        check=True,
    )
    found: dict[str, int | float] = json.loads(done.stdout)
    return found


def _take_in(path: Path, *, is_with_dagster: bool) -> dict[str, int | float]:
    if is_with_dagster:
        import pipeline_assets.invocation  # noqa: F401, PLC0415  # as `pipeline run` does
    from resources.core.config import load_settings  # noqa: PLC0415
    from resources.ingest import read_list, take_in  # noqa: PLC0415
    from resources.platform import Platform  # noqa: PLC0415

    settings = load_settings()
    began = time.perf_counter()
    content = read_list(path, scratch=settings.home / "scratch")
    platform = Platform.open(settings)
    read = time.perf_counter()
    report = take_in(platform.ledger, platform.clock, content, BATCH_SIZE)
    content.close()
    written = time.perf_counter()
    if is_with_dagster:
        _add_partitions(platform.settings, report.batch_keys)
    ended = time.perf_counter()
    platform.close()
    assert report.rows == report.accepted + report.duplicates + report.rejected
    return {
        "rows": report.rows,
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "rejected": report.rejected,
        "batches": len(report.batch_keys),
        "seconds": round(ended - began, 1),
        "rows_per_s": round(report.rows / (ended - began)),
        "read_s": round(read - began, 1),
        "write_s": round(written - read, 1),
        "partitions_s": round(ended - written, 1),
        "peak_mb": round(_peak_bytes() / 1e6),
    }


def _peak_bytes() -> int:
    """The most that this process ever had in memory.

    `getrusage` would tell that of the process which started it, too.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _add_partitions(settings: object, keys: tuple[str, ...]) -> None:
    from pipeline_assets.definitions import build_definitions  # noqa: PLC0415
    from pipeline_assets.instance import Runs, open_instance  # noqa: PLC0415
    from resources.artifact_writer import MANIFEST_ASSET  # noqa: PLC0415

    with open_instance(settings) as instance:  # type: ignore[arg-type]
        runs = Runs(instance, build_definitions())
        runs.add_partitions(keys)
        assert len(runs.unrecorded(MANIFEST_ASSET, keys)) == len(keys)


def _rows(count: int) -> Iterator[tuple[str, str, str, str]]:
    """Rows in no order of their domains, which is the hardest for a database."""
    draw = random.Random(SEED)
    for number in range(count):
        chance = draw.random()
        if chance < RUBBISH:
            domain = draw.choice(_NO_DOMAINS)
        elif chance < RUBBISH + DUPLICATES and number:
            domain = _domain(draw.randrange(number))
        else:
            domain = f"https://www.{_domain(number)}/"
        name = f'Company "{number}", Ltd.'
        yield domain, name, draw.choice(_COUNTRIES), f"City {number % 5_000}"


def _domain(number: int) -> str:
    return f"company-{number * 2_654_435_761 % 2**32:08x}.com"


def _write(path: Path, form: str, count: int) -> None:
    if form == "parquet":
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        columns = zip(*_rows(count), strict=True)
        pq.write_table(pa.table(dict(zip(COLUMNS, map(list, columns), strict=True))), path)
    elif form == "xlsx":
        from openpyxl import Workbook  # noqa: PLC0415

        workbook = Workbook(write_only=True)
        sheet = workbook.create_sheet("Companies")
        sheet.append(COLUMNS)
        for row in _rows(count):
            sheet.append(row)
        workbook.save(path)
    else:
        opened = gzip.open if form == "gzip" else open
        with opened(path, "wt", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            writer.writerows(_rows(count))


if __name__ == "__main__":
    main()
