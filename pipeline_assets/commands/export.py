"""`pipeline export`: the profiles as a file, alone or joined to the rows of a list.

Profiles are read batch by batch from the artifacts; the rows of a list in parts, in their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline_assets.commands.opening import list_names, opened
from pipeline_assets.commands.row_files import check_output, row_file
from pipeline_assets.commands.wording import many, print_json
from resources.adapters import scratch
from resources.adapters.ledger.reading import Reading
from resources.adapters.list_reader import ListError, ListReader, open_list
from resources.adapters.suffix_list import bundled_rules
from resources.core.domains import NormalizedDomain, normalize
from resources.core.errors import UsageError
from resources.core.models import Phase, State
from resources.directory import COLUMNS
from resources.platform import Platform
from resources.profile_builder import ASSET as PROFILES
from resources.profile_builder import SCHEMA
from resources.profile_files import newest_profiles

ROWS_AT_A_TIME = 10_000
MOST_EXTRA_COLUMNS = 20
OWN_COLUMNS = ("pipeline_domain", "pipeline_state", "pipeline_reason")
REJECTED, UNKNOWN = "rejected", "not_listed"
_PROFILE_COLUMNS = [name for name in COLUMNS if name not in {"domain", "state"}]


def export(
    output: Path,
    *,
    join: Path | None,
    column: str | None,
    name: str | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Write the file. Returns the exit code.

    Raises:
        UsageError: the output or the list can't be used; nothing was written.
    """
    output = output.absolute()
    check_output(output)
    if column is not None and join is None:
        raise UsageError("--column names a column of the file to join; give it with --join.")
    with opened(sandbox=sandbox) as platform:
        list_names(platform, name)
        if join is None:
            told = _export_profiles(platform, output, name)
        else:
            told = _export_joined(platform, output, join.absolute(), column, name)
    if as_json:
        print_json({"output": str(output), **told})
    else:
        states = ", ".join(f"{count} {state}" for state, count in told["states"].items())
        print(f"{many(told['rows'], 'row')} in {output}" + (f" ({states})" if states else ""))
    return 0


# -- profiles alone -----------------------------------------------------------------------------


def _export_profiles(platform: Platform, output: Path, name: str | None) -> dict[str, Any]:
    is_flat = output.suffix.lower() == ".csv"
    columns = COLUMNS if is_flat else SCHEMA.names
    schema = pa.schema([SCHEMA.field(column) for column in columns])
    states: Counter[str] = Counter()
    with row_file(output, schema, columns) as file:
        for rows in _profiles(platform, name, columns):
            states.update(row["state"] for row in rows)
            file.write([[row[column] for column in columns] for row in rows])
    return {"rows": states.total(), "states": dict(states)}


def _profiles(
    platform: Platform, name: str | None, columns: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    """Profiles batch by batch, each company once."""
    for table in newest_profiles(platform.ledger, platform.store, name, columns):
        yield table.to_pylist()


# -- joined to a list ---------------------------------------------------------------------------


def _export_joined(
    platform: Platform, output: Path, file: Path, column: str | None, name: str | None
) -> dict[str, Any]:
    if output.exists() and file.exists() and output.samefile(file):
        raise UsageError(f"{output} is the list itself; give the result another name.")
    try:
        reader = open_list(file, column, platform.settings.home / scratch.FOLDER)
        heading = _heading(reader)
        layout = _Layout(reader, heading)
        profiles = _Lookup(platform, name)
        states: Counter[str] = Counter()
        with row_file(output, layout.schema, layout.heading) as target:
            rows = _rows(reader)
            while part := list(islice(rows, ROWS_AT_A_TIME)):
                found = profiles.find({domain for _, domain, _ in part if domain is not None})
                appended = [_appended(domain, reason, found) for _, domain, reason in part]
                states.update(row[1] for row in appended)
                target.write(
                    [
                        layout.fitted(cells) + more
                        for (cells, _, _), more in zip(part, appended, strict=True)
                    ]
                )
    except ListError as error:
        raise UsageError(str(error)) from error
    return {"rows": states.total(), "states": dict(states)}


def _heading(reader: ListReader) -> list[str]:
    """Names of all columns; those beyond the heading, which some rows have, get names too."""
    named = reader.heading()
    widest = max((len(cells) for _, cells in reader.with_cells()), default=0)
    extra = min(widest, len(named) + MOST_EXTRA_COLUMNS) - len(named)
    return named + [f"column_{len(named) + 1 + place}" for place in range(extra)]


class _Layout:
    """The columns of the joined file: the list's own, ours, then those of the profile."""

    def __init__(self, reader: ListReader, original: Sequence[str]) -> None:
        self._width = len(original)
        self._delimiter = reader.form.delimiter or " "
        taken: set[str] = set()
        unique = [
            _free(each.strip() or f"column_{i + 1}", taken) for i, each in enumerate(original)
        ]
        own = [_free(each, taken) for each in OWN_COLUMNS]
        profile = [
            _free(each if each.casefold() not in taken else f"pipeline_{each}", taken)
            for each in _PROFILE_COLUMNS
        ]
        self.heading = [*original, *own, *profile]
        self.schema = pa.schema(
            [
                *((each, pa.string()) for each in (*unique, *own)),
                *(
                    (each, SCHEMA.field(source).type)
                    for each, source in zip(profile, _PROFILE_COLUMNS, strict=True)
                ),
            ]
        )

    def fitted(self, cells: Sequence[str]) -> list[str]:
        """A row's cells in the width of the file; nothing is lost, the last may hold several."""
        if len(cells) > self._width:
            rest = self._delimiter.join(cells[self._width - 1 :])
            return [*cells[: self._width - 1], rest]
        return [*cells, *[""] * (self._width - len(cells))]


def _free(name: str, taken: set[str]) -> str:
    """The name, or the name with a number where it is taken in any case."""
    free, repeat = name, 2
    while free.casefold() in taken:
        free, repeat = f"{name}_{repeat}", repeat + 1
    taken.add(free.casefold())
    return free


def _rows(reader: ListReader) -> Iterator[tuple[list[str], str | None, str]]:
    """(cells, domain, why there is none) of every row."""
    suffixes = bundled_rules()
    for row, cells in reader.with_cells():
        found = normalize(row.value, suffixes)
        if isinstance(found, NormalizedDomain):
            yield cells, found.domain, ""
        else:
            yield cells, None, f"{found.reason}: {found.detail}"


class _Lookup:
    """Profiles by domain, read from the batches that hold them."""

    def __init__(self, platform: Platform, name: str | None) -> None:
        self._platform = platform
        self._name = name
        self._reading = Reading(platform.ledger.database)
        self._written = platform.ledger.artifacts.of_asset(PROFILES)

    def find(self, domains: set[str]) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each domain; those in no list are left out."""
        batches = self._reading.batches_with(sorted(domains), self._name)
        wanted: dict[str, set[str]] = {}
        found: dict[str, Mapping[str, Any]] = {}
        for domain, keys in batches.items():
            built = [key for key in keys if key in self._written]
            if built:
                newest = max(built, key=lambda key: self._written[key].at)
                wanted.setdefault(newest, set()).add(domain)
            else:
                found[domain] = {
                    "state": State.PENDING.value,
                    "missing": f"not worked on yet ({Phase.PROFILE_BUILD})",
                }
        for key, mine in wanted.items():
            for row in self._platform.store.read_table(
                self._written[key].path, COLUMNS
            ).to_pylist():
                if row["domain"] in mine:
                    found[row["domain"]] = row
        return found


def _appended(domain: str | None, reason: str, found: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """A row's values for our columns and the profile's."""
    if domain is None:
        return [None, REJECTED, reason, *[None] * len(_PROFILE_COLUMNS)]
    row = found.get(domain)
    if row is None:
        sentence = "in no list here: `pipeline run` takes it in"
        return [domain, UNKNOWN, sentence, *[None] * len(_PROFILE_COLUMNS)]
    why = None if row["state"] == State.SUCCEEDED else (row["missing"] or "nothing was found")
    return [domain, row["state"], why, *(row.get(name) for name in _PROFILE_COLUMNS)]
