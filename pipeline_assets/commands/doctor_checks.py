"""Checks of the settings and of what they name: ledger, keys, network, doors that stand open."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import inspect, select
from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.commands.wording import iso, many, span
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.reading import Reading
from resources.adapters.ledger.schema import meta, ticks
from resources.adapters.ledger.ticks import Tick, Ticks
from resources.adapters.notifier import channels
from resources.adapters.providers.registry import PAID
from resources.core.config import Settings
from resources.core.errors import UsageError
from resources.core.watch import Silence
from resources.sensor_watch import silences

LOOKUP_S = 5.0
CONNECT_S = 3.0
WEB_PORTS = frozenset((80, 443))
CLOCK_TOLERANCE_S = 60.0
_INTERNETS = {"live": "the live internet", "connect_to": "a connect_to address (sandbox)"}


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, what was found, and what to do where it is not well."""

    level: Level
    name: str
    found: str
    advice: str = ""

    def as_json(self) -> dict[str, str]:
        return {
            "level": self.level.value,
            "name": self.name,
            "found": self.found,
            "advice": self.advice,
        }


def of_settings(settings: Settings) -> Iterator[Check]:
    """All checks that need readable settings."""
    yield from _ledger(settings)
    yield from _providers(settings)
    yield from _doors(settings)
    yield from _live_network(settings) if settings.is_live else _one_address(settings)


def _ledger(settings: Settings) -> Iterator[Check]:
    """Whether the ledger opens, and whether it holds facts of the internet that is set."""
    if settings.database_url is None and not (settings.home / "ledger.db").exists():
        yield Check(Level.OK, "ledger", "none yet; the first run makes it")
        return
    try:
        database = Database(settings.ledger_url)
    except (SQLAlchemyError, ImportError) as error:
        yield _unusable(f"PIPELINE_DATABASE_URL is no database address: {_first_line(error)}")
        return
    try:
        with database.read() as connection:
            is_made = inspect(connection).has_table(meta.name)
            internet = (
                connection.execute(select(meta.c.value).where(meta.c.key == "internet")).scalar()
                if is_made
                else None
            )
        changed_at = Reading(database).last_change() if is_made else None
        heard, silent_ones = _ticks(database, settings, time.time())
    except (SQLAlchemyError, UsageError) as error:
        yield _unusable(f"{database.name} does not open: {_first_line(error)}")
        return
    finally:
        database.close()
    yield _ledger_found(settings, database.name, internet)
    yield _sensors(heard, silent_ones, settings, time.time())
    ahead_s = (changed_at or 0.0) - time.time()
    if ahead_s > CLOCK_TOLERANCE_S:
        yield Check(
            Level.FAIL,
            "clock",
            f"The clock is {span(ahead_s)} behind the ledger's newest entry ({iso(changed_at)}).",
            "Set the clock; waits and refreshes go by it.",
        )


def _ledger_found(settings: Settings, name: str, internet: str | None) -> Check:
    if internet is None:
        return Check(Level.OK, "ledger", f"{name} opens and is empty")
    held = _INTERNETS.get(internet, internet)
    if internet == settings.internet:
        return Check(Level.OK, "ledger", f"{name} opens; it holds facts of {held}")
    return Check(
        Level.FAIL,
        "ledger",
        f"{name} holds facts of {held}, and now {_INTERNETS[settings.internet]} is set.",
        "Use another PIPELINE_HOME, or set PIPELINE_FETCH__CONNECT_TO as before.",
    )


def _ticks(
    database: Database, settings: Settings, now: float
) -> tuple[dict[str, Tick], list[Silence]]:
    """When each sensor last ticked, and who is silent; a ledger of an older version knows nothing
    of it."""
    with database.read() as connection:
        if not inspect(connection).has_table(ticks.name):
            return {}, []
    book = Ticks(database)
    return book.all(), silences(book, settings, now)


def _sensors(heard: dict[str, Tick], found: list[Silence], settings: Settings, now: float) -> Check:
    """Whether the daemon ticks, where one has run before."""
    if not heard:
        words = "none has ticked here yet; `make ui` starts what heals by itself"
        return Check(Level.OK, "sensors", words)
    at = {name: tick.at for name, tick in heard.items()}
    if not found:
        newest = max(at.values())
        words = f"{', '.join(heard)} tick, the newest {span(max(0.0, now - newest))} ago"
        return Check(
            Level.OK,
            "sensors",
            words if settings.enable_auto_recovery else f"{words}; healing is advice only",
        )
    alone = [
        one.name if one.last_at is not None else f"{one.name} (has never ticked)"
        for one in found
        if one.is_alone
    ]
    if len(alone) == len(found):
        return Check(
            Level.FAIL,
            "sensors",
            f"Silent: {', '.join(alone)}; the daemon ticks others.",
            "See their pages in Dagster: a tick that fails, or a sensor that is switched off.",
        )
    return Check(
        Level.WARN,
        "sensors",
        f"The daemon is silent: no sensor has ticked for {span(now - max(at.values()))}, so "
        "nothing heals by itself.",
        "Start it with `make ui`; if that runs, see what it says.",
    )


def _unusable(found: str) -> Check:
    return Check(
        Level.FAIL,
        "ledger",
        found,
        "Check PIPELINE_HOME and PIPELINE_DATABASE_URL, the server and the permissions.",
    )


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__


def _providers(settings: Settings) -> Iterator[Check]:
    for name in settings.chain:
        if name in PAID:
            yield _key(settings, name)
    free = [name for name in settings.chain if name not in PAID]
    if free:
        yield Check(Level.OK, "providers", f"{', '.join(free)}: no key needed")


def _key(settings: Settings, name: str) -> Check:
    variable = f"PIPELINE_PROVIDERS__{name.upper()}__API_KEY"
    if getattr(settings.providers, name).api_key is not None:
        return Check(Level.OK, "key", f"{name}: a key is set")
    return Check(
        Level.WARN,
        "key",
        f"{name} is paid and has no key, so it is left out.",
        f"Set {variable} if you have one; the others work without.",
    )


def _doors(settings: Settings) -> Iterator[Check]:
    """Doors in the address guard that somebody has opened, and who we say we are."""
    fetch = settings.fetch
    if fetch.connect_to:
        yield Check(
            Level.WARN,
            "doors",
            f"PIPELINE_FETCH__CONNECT_TO sends every call to {fetch.connect_to}.",
            "Right for a sandbox; unset it for the internet.",
        )
    if fetch.allow_networks:
        yield Check(
            Level.WARN,
            "doors",
            f"PIPELINE_FETCH__ALLOW_NETWORKS opens {', '.join(fetch.allow_networks)}: sites may "
            "lead us to machines in there.",
            "Unset it unless a sandbox or your own network is meant.",
        )
    others = sorted(set(fetch.ports) - WEB_PORTS)
    if others:
        yield Check(
            Level.WARN,
            "doors",
            f"PIPELINE_FETCH__PORTS opens {', '.join(map(str, others))}: sites may lead us to "
            "services other than web servers.",
            "Leave it at 80,443 unless you know who answers there.",
        )
    if not fetch.connect_to and not fetch.allow_networks and not others:
        yield Check(Level.OK, "doors", "closed: only public addresses are fetched from")
    inside = sorted({network for one in channels(settings) for network in one.networks})
    if inside:
        yield Check(
            Level.WARN,
            "doors",
            f"Alerts may be sent to {', '.join(inside)}: an address in PIPELINE_ALERT_URLS, or "
            "PIPELINE_ALERT_ALLOW_NETWORKS.",
            "Right for a service on your own network; otherwise name it by its public name.",
        )
    if settings.is_live and not fetch.contact:
        yield Check(
            Level.WARN,
            "contact",
            "Sites cannot see who fetches from them.",
            "Set PIPELINE_FETCH__CONTACT to an e-mail address or URL before a live run.",
        )


def _one_address(settings: Settings) -> Iterator[Check]:
    address = settings.fetch.connect_to or ""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            yield Check(Level.OK, "network", f"{address} answers")
    except OSError as error:
        yield Check(
            Level.FAIL,
            "network",
            f"{address} does not answer: {error.strerror or error}.",
            "Start it (`pipeline sandbox --port ...`), or unset PIPELINE_FETCH__CONNECT_TO.",
        )


def _live_network(settings: Settings) -> Iterator[Check]:
    """Whether names resolve and one of them can be reached; nothing is asked of it."""
    names = settings.fetch.control_names
    if not names:
        yield Check(
            Level.WARN,
            "network",
            "PIPELINE_FETCH__CONTROL_NAMES is empty: trouble of our own network would look like "
            "trouble of every site.",
            "Name two or three hosts that always resolve.",
        )
        return
    answers: dict[str, bool] = {}
    # Daemons: a resolver that hangs must not hold up the end of this process.
    lookups = [
        threading.Thread(target=_look_up, args=(name, answers), daemon=True) for name in names
    ]
    give_up_at = time.monotonic() + LOOKUP_S
    for lookup in lookups:
        lookup.start()
    for lookup in lookups:
        lookup.join(max(0.0, give_up_at - time.monotonic()))
    found = dict(answers)
    resolved = len(found)
    if any(found.values()):
        words = f"{resolved} of {many(len(names), 'control name')} resolve, and can be reached"
        yield Check(Level.OK, "network", words)
        return
    what = "resolves, but none can be reached" if resolved else "resolves"
    yield Check(
        Level.WARN,
        "network",
        f"{'Some' if resolved else 'None'} of {', '.join(names)} {what}: this machine is offline, "
        "or a firewall is in the way.",
        "Live runs wait until that is mended; --sandbox works without.",
    )


def _look_up(name: str, answers: dict[str, bool]) -> None:
    """Note whether a host accepts a connection; note nothing when its name does not resolve."""
    try:
        found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except OSError:
        return
    answers[name] = False
    for family, kind, protocol, _, address in found[:2]:
        with socket.socket(family, kind, protocol) as probe:
            probe.settimeout(CONNECT_S / 2)
            if probe.connect_ex(address) == 0:
                answers[name] = True
                return
