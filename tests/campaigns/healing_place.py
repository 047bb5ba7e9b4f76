"""Where cases are played: one home with an internet of its own, its servers, and a webhook.

A place begins with its lists taken in and nothing worked on. The long campaign opens a new one for
every case and round; in the short form cases share one, each with a lane of its own.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.request import urlopen

from tests.campaigns.healing_dagster import RECONCILER, Dagster
from tests.campaigns.healing_records import Lane, Records
from tests.campaigns.healing_servers import Servers
from tests.campaigns.healing_waits import until
from tests.campaigns.healing_webhook import Webhook, webhook
from tests.support.postgres import PostgresServer
from tests.support.processes import Result, Sandbox, pipeline, sandbox, write_list
from tests.support.requirements import ROOT

TRAPS = "HEALING_TRAPS"
_TRAPPED = f"""load_from:
  - python_module:
      module_name: tests.campaigns.trapped_definitions
      location_name: pipeline
      working_directory: {ROOT}
"""


@dataclass(frozen=True)
class LanePlan:
    """So many batches of so many domains, in a list with all others of that size."""

    prefix: str
    batches: int = 3
    size: int = 4

    @property
    def domains(self) -> list[str]:
        return [f"{self.prefix}-{n:04}.example" for n in range(self.batches * self.size)]


class Internet:
    """A sandbox whose faults are set and taken away one by one."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._faults: dict[str, str] = {}
        self._lock = threading.Lock()

    def set(self, name: str, fault: str) -> None:
        """Let a fault begin: lines of a `[[fault]]` table."""
        self._change({name: fault})

    def clear(self, name: str) -> None:
        """Let it end."""
        self._change({name: ""})

    def slow(self, lane: Lane, phase: str) -> None:
        """Let a lane take its time in one phase, so that a fault finds it at work.

        A site is asked for many pages, the register only once.
        """
        where, seconds = f'api = "site"\nhost = "*{lane.prefix}-*"', "[1.0, 4.0]"
        if phase == "COMPANY_ENRICHMENT":
            where, seconds = f'api = "rdap"\npath = "*{lane.prefix}-*"', "[1.0, 14.0]"
        self.set(f"slow {lane.prefix} {phase}", f'kind = "latency"\n{where}\nseconds = {seconds}')

    def quick(self, lane: Lane) -> None:
        """Let it take no more time than it needs."""
        slow = [name for name in self._faults if name.startswith(f"slow {lane.prefix} ")]
        self._change(dict.fromkeys(slow, ""))

    def _change(self, faults: Mapping[str, str]) -> None:
        with self._lock:
            self._faults |= faults
            tables = [f"[[fault]]\n{text}\n" for text in self._faults.values() if text]
            self._sandbox.set_faults("\n".join(tables) or "preset=none")

    def calls(self) -> dict[str, dict[str, dict[str, int]]]:
        """All counters of the sandbox, those of single paths too."""
        with urlopen(f"{self._sandbox.url}/_sandbox/calls?detail=paths", timeout=20) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def requests_to(self, api: str) -> int:
        """HTTP requests that reached an API."""
        return int(self.calls()["requests"][api])  # type: ignore[call-overload]

    @property
    def settings(self) -> dict[str, str]:
        return self._sandbox.settings


@dataclass
class Place:
    """One home and everything around it.

    Args:
        lanes: By prefix.
        database: The PostgreSQL server that ledger and Dagster are on; None for SQLite.
        traps: Folder whose files arm the traps of `trapped_definitions`.
    """

    folder: Path
    home: Path
    internet: Internet
    webhook: Webhook
    settings: dict[str, str]
    servers: Servers
    records: Records
    database: PostgresServer | None
    traps: Path
    lanes: dict[str, Lane] = field(default_factory=dict)

    @property
    def dagster(self) -> Dagster:
        return self.servers.dagster

    @property
    def heal_s(self) -> float:
        """Seconds between two looks of the reconciler."""
        return float(self.settings.get("PIPELINE_HEAL_INTERVAL", "60"))

    def command(self, *arguments: str) -> Result:
        """Run the command line in this home."""
        return pipeline(*arguments, home=self.home, **self.settings)

    def restart(self, **changed: str) -> None:
        """End the servers in order, and start them with some settings changed."""
        self.servers.end()
        self.settings |= changed
        self.servers.settings = dict(self.settings)
        self.servers.start()

    def wait_for_ticks(self, count: int, sensor: str = RECONCILER) -> None:
        """Wait until a sensor has looked so many times from now on."""
        since = time.time()
        interval_s = max(self.heal_s, 10.0)
        until(
            lambda: sum(at > since for at in self.dagster.ticks(sensor)) >= count,
            (count + 1) * interval_s + 60,
            f"{count} ticks of {sensor}",
        )

    def take_in(self, plans: Sequence[LanePlan]) -> None:
        """Take the lists in, and work on nothing."""
        for size in sorted({plan.size for plan in plans}):
            mine = [plan for plan in plans if plan.size == size]
            domains = [domain for plan in mine for domain in plan.domains]
            source = write_list(self.folder / f"by-{size}.csv", domains)
            arguments = ["run", str(source), "--only", "PROFILE_BUILD", "--batch-size", str(size)]
            done = self.command(*arguments, "--json")
            assert done.code in {0, 1}, done.err
        for plan in plans:
            self.know(plan.prefix, plan.domains)

    def know(self, prefix: str, domains: Sequence[str]) -> Lane:
        """Make a lane of what the ledger holds by now."""
        lane = Lane(prefix, domains, self.records.keys_of(prefix))
        self.lanes[prefix] = lane
        return lane

    def expect(self, lane: Lane, *quarantined: tuple[str, str]) -> Lane:
        """Note what must end in quarantine."""
        self.lanes[lane.prefix] = replace(lane, quarantined=frozenset(quarantined))
        return self.lanes[lane.prefix]


@contextmanager
def opened(
    folder: Path,
    plans: Sequence[LanePlan],
    *,
    settings: Mapping[str, str],
    seed: int,
    database: tuple[PostgresServer, str] | None = None,
    is_trapped: bool = False,
) -> Iterator[Place]:
    """A place whose servers run; nothing of it is left afterwards.

    Args:
        settings: PIPELINE_ variables besides those of internet, webhook and database.
        database: A PostgreSQL server and the URL of an empty database on it.
        is_trapped: Whether the definitions with traps are loaded.
    """
    home, traps = folder / "home", folder / "traps"
    for path in (home, traps):
        path.mkdir(parents=True)
    workspace = None
    if is_trapped:
        workspace = folder / "workspace.yaml"
        workspace.write_text(_TRAPPED, encoding="utf-8")
    with ExitStack() as stack:
        internet = Internet(stack.enter_context(sandbox("--seed", str(seed))))
        hook = stack.enter_context(webhook())
        everything = {**internet.settings, "PIPELINE_ALERT_URLS": hook.url, **settings}
        if database is not None:
            everything["PIPELINE_DATABASE_URL"] = database[1]
        if is_trapped:
            everything[TRAPS] = str(traps)
        servers = Servers(home, folder / "servers.log", everything, workspace)
        records = Records(home, database[1] if database else None)
        server = database[0] if database else None
        place = Place(folder, home, internet, hook, everything, servers, records, server, traps, {})
        place.take_in(plans)
        stack.callback(servers.end)
        servers.start()
        yield place
