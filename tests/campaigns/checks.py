"""What must be true of a home after all kills, held against one where nobody was killed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from resources.adapters.store import WRITING
from tests.support.dagster_view import partitions, statuses
from tests.support.processes import Result

FETCHING = ("COMPANY_ENRICHMENT", "PAGE_SCRAPING")
PHASES = (*FETCHING, "PROFILE_BUILD")
PARTITIONED = ("enriched_companies", "scraped_pages", "company_profiles")
ASSETS = (*PARTITIONED, "company_directory")
WRITING_DIRECTORY = "after all profiles: directory, summary, or nothing left to do"
UNSETTLED = ("pending", "waiting")
# When something happened differs between two runs; what happened must not.
TIMES = frozenset({"at", "fetched_at", "settled_at"})
JSON_COLUMNS = frozenset({"providers", "evidence"})


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Args:
        found: What was found, in words; what is wrong where something is.
    """

    name: str
    is_passed: bool
    found: str


class Home:
    """A PIPELINE_HOME, looked at from outside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "sandbox"
        self.store = self.state / "store"

    def query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the ledger; none while there is no schema yet."""
        ledger = self.state / "ledger.db"
        if not ledger.exists():
            return []
        connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)
        try:
            return connection.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()

    def _count(self, query: str, *values: object) -> int:
        rows = self.query(query, *values)
        return int(rows[0][0] or 0) if rows else 0

    def settled(self) -> int:
        """Settled domains, over all phases."""
        return self._count("select count(*) from work where state not in ('pending', 'waiting')")

    def has_begun(self) -> bool:
        """Whether the list has been taken in."""
        return self._count("select count(*) from work") > 0

    def unsettled(self) -> int:
        """Domains still to be settled, over all phases."""
        return self._count("select count(*) from work where state in ('pending', 'waiting')")

    def in_doubt(self) -> int:
        """Domains of paid calls whose answers were never stored."""
        return self._count(
            "select sum(domains) from calls where provider = 'pdl' and answered_at is null"
        )

    def phase_of(self, pid: int) -> str | None:
        """The phase that a process has a worker in."""
        rows = self.query("select phase from workers where pid = ? and ended_at is null", pid)
        return str(rows[0][0]) if rows else None

    def phase_without_worker(self) -> str | None:
        """What goes on without claims, once the fetching phases are settled."""
        placeholders = "phase in ('COMPANY_ENRICHMENT', 'PAGE_SCRAPING')"
        total = self._count(f"select count(*) from work where {placeholders}")
        is_open = self._count(
            f"select count(*) from work where {placeholders} and state in ('pending', 'waiting')"
        )
        if not total or is_open:
            return None
        return PHASES[-1] if self.unsettled() else WRITING_DIRECTORY

    def line(self) -> str:
        """How far it is, on one line."""
        rows = self.query(
            "select phase, sum(state not in ('pending', 'waiting')), count(*) from work group by 1"
        )
        return ", ".join(f"{phase} {settled}/{total}" for phase, settled, total in rows)

    def figures(self) -> dict[str, object]:
        """Figures that are of interest beside the checks."""
        deaths = self.query("select deaths, count(*) from work where deaths > 0 group by 1")
        return {
            "domains by workers that died with them in hand": dict(deaths),
            "most deaths with one domain alone in hand": self._count(
                "select max(deaths_alone) from work"
            ),
            "most rounds of a domain": self._count("select max(rounds) from work"),
            "workers": self._count("select count(*) from workers"),
            "provider calls": self._count("select count(*) from calls"),
            "pages": self._count("select count(*) from pages"),
            "files of interrupted writes, to be swept up later": len(
                list((self.store / WRITING).iterdir())
            ),
        }


def check_all(
    whole: Home,
    killed: Home,
    domains: Sequence[str],
    last: Result,
    billed: Mapping[str, int],
    in_doubt: int,
) -> list[Check]:
    """Everything that must hold."""
    return [
        _finished(last),
        _settled_once(killed, domains),
        _nobody_blamed(killed),
        _in_dagster(killed),
        _files_whole(killed),
        *(_same_tables(whole, killed, asset) for asset in ASSETS),
        _paid_once(billed, len(domains), in_doubt),
    ]


def _check(name: str, wrong: Sequence[object], right: str) -> Check:
    shown = "; ".join(str(one) for one in wrong[:5])
    more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
    return Check(name, not wrong, f"{shown}{more}" if wrong else right)


def _finished(last: Result) -> Check:
    wrong = [] if last.code == 0 else [f"exit code {last.code}", last.err[-500:]]
    return _check("the last run ends with exit code 0", wrong, "it does")


def _settled_once(home: Home, domains: Sequence[str]) -> Check:
    """Each domain is in one settled state a phase, and became it once."""
    states: dict[tuple[str, str], list[str]] = {}
    for phase, domain, state in home.query("select phase, domain, state from work"):
        states.setdefault((phase, domain), []).append(state)
    wanted = {(phase, domain) for phase in PHASES for domain in domains}
    wrong: list[object] = [f"{key}: missing" for key in sorted(wanted - set(states))]
    wrong += [f"{key}: nobody asked for it" for key in sorted(set(states) - wanted)]
    wrong += [
        f"{key}: {found}"
        for key, found in states.items()
        if len(found) != 1 or found[0] in UNSETTLED
    ]
    settlings = home.query(
        """select phase, domain, count(*) from events
           where what in ('succeeded', 'not_found', 'refused', 'quarantined') group by 1, 2"""
    )
    wrong += [f"{phase} {domain}: {n} times" for phase, domain, n in settlings if n != 1]
    if len(settlings) != len(FETCHING) * len(domains):
        wrong.append(f"{len(settlings)} domains have become settled, by their history")
    right = f"{len(domains)} domains, each once in each of {len(FETCHING)} fetching phases"
    return _check("every domain settled exactly once, none lost", wrong, right)


def _nobody_blamed(home: Home) -> Check:
    query = "select phase, domain, deaths_alone from work where state = 'quarantined'"
    return _check("no domain is quarantined for kills from outside", home.query(query), "none is")


def _in_dagster(home: Home) -> Check:
    wrong = []
    keys = partitions(home.state)
    for asset in PARTITIONED:
        for key, status in statuses(home.state, asset, keys).items():
            if status != "MATERIALIZED":
                wrong.append(f"{asset} {key}: {status}")
    right = f"{len(keys)} partitions of each of {len(PARTITIONED)} assets"
    return _check("Dagster shows every partition materialised", wrong, right)


def _files_whole(home: Home) -> Check:
    wrong: list[object] = []
    files = sorted(home.store.rglob("*.parquet"))
    for path in files:
        try:
            pq.read_table(path)
        except (OSError, ValueError) as error:
            wrong.append(f"{path.name}: {error}")
    rows = home.query("select asset, batch_key, path, rows from artifacts")
    for asset, key, path, count in rows:
        file = home.store / path
        found = pq.read_metadata(file).num_rows if file.exists() else None
        if found != count:
            wrong.append(f"{asset} {key}: {found} rows in the file, {count} in the ledger")
    right = f"{len(files)} tables can be read, {len(rows)} artifacts have theirs"
    return _check("artifacts are whole", wrong, right)


def _same_tables(whole: Home, killed: Home, asset: str) -> Check:
    """Column by column, without the times."""
    one, other = _columns(whole, asset), _columns(killed, asset)
    wrong = [f"column {name}: only in one" for name in sorted(set(one) ^ set(other))]
    for name in sorted(set(one) & set(other)):
        differing = Counter(map(repr, one[name])) - Counter(map(repr, other[name]))
        if one[name] != other[name]:
            sample = next(iter(differing), "the order")[:300]
            wrong.append(f"column {name}: {differing.total()} values differ, such as {sample}")
    rows = len(next(iter(one.values()), []))
    right = f"{rows} rows, {len(one)} columns"
    return _check(f"{asset} is the same as without kills", wrong, right)


def _columns(home: Home, asset: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for path in sorted((home.store / asset).glob("*.parquet")):
        for name, values in pq.read_table(path).to_pydict().items():
            if name not in TIMES:
                found.setdefault(name, []).extend(_without_times(name, value) for value in values)
    return found


def _without_times(name: str, value: Any) -> Any:
    if name in JSON_COLUMNS and isinstance(value, str):
        value = orjson.loads(value)
    return _strip(value)


def _strip(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("https://api."):
        # A domain that a bulk call was about when it was killed may be asked for alone later.
        return value.removesuffix("/bulk")
    if isinstance(value, Mapping):
        return {key: _strip(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [_strip(item) for item in value]
    return value


def _paid_once(billed: Mapping[str, int], domains: int, in_doubt: int) -> Check:
    total = sum(billed.values())
    found = f"{total} billed, {domains} domains, {in_doubt} in doubt at the kills"
    return Check(
        "billed at most once a domain, and once more for each in doubt at a kill",
        total <= domains + in_doubt and total - len(billed) <= in_doubt,
        found,
    )
