"""`pipeline doctor`: checks what commonly goes wrong, and says for each thing what to do.

Changes nothing: no folder is made, no ledger created, nothing sent but name lookups and, with
`connect_to`, one connection to that address. The checks of the settings and of what they name are
in `doctor_checks` and `doctor_alerts`; this file checks the installation and the machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from pipeline_assets.commands.doctor_alerts import of_alerts
from pipeline_assets.commands.doctor_checks import Check, Level, of_settings
from pipeline_assets.commands.settings_list import show_settings
from pipeline_assets.commands.wording import console, plain, print_json, safe, span
from resources.core.config import PROJECT_ROOT, Settings, load_settings
from resources.core.errors import UsageError
from resources.core.redaction import redact, remember

OLDEST_PYTHON, FIRST_UNKNOWN_PYTHON = (3, 11), (3, 14)
UI_PORT = 3000
LEAST_FREE_BYTES = 1_000_000_000
CLOCK_TOLERANCE_S = 60.0
# Dagster is pinned: parts of it that are not documented are used.
PINNED = frozenset({"dagster", "dagster-webserver"})
_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor(show_all_settings: bool, as_json: bool) -> int:
    """Print all checks. Returns 0 without failures, else 1."""
    settings, problem = _read_settings()
    if settings is not None:
        remember(settings.secrets())
    if show_all_settings:
        show_settings(settings, problem, as_json=as_json)
        return 0 if problem is None else 1
    checks = list(_checks(settings, problem))
    if as_json:
        print_json(
            {
                "checks": [one.as_json() for one in checks],
                "failed": sum(one.level is Level.FAIL for one in checks),
                "warned": sum(one.level is Level.WARN for one in checks),
            }
        )
    else:
        _show(checks)
    return 1 if any(one.level is Level.FAIL for one in checks) else 0


def _read_settings() -> tuple[Settings | None, str | None]:
    try:
        return load_settings(), None
    except UsageError as error:
        return None, redact(str(error))


def _show(checks: list[Check]) -> None:
    out = console()
    for one in checks:
        style = _STYLES[one.level]
        text = safe(redact(one.found), 1_000)
        out.print(f"[{style}]{one.level:<4}[/]  {one.name:<12} {text}", soft_wrap=True)
        if one.advice:
            out.print(f"{' ' * 19}→ {safe(redact(one.advice), 1_000)}", soft_wrap=True)


def _checks(settings: Settings | None, problem: str | None) -> Iterator[Check]:
    yield _python()
    yield from _packages()
    if problem is not None:
        yield Check(
            Level.FAIL,
            "settings",
            problem,
            "Correct it; `pipeline doctor --settings` lists every setting.",
        )
    yield from _project_files()
    yield from _port()
    yield _clock()
    if settings is not None:
        yield from _home(settings.home)
        yield from of_settings(settings)
        yield from of_alerts(settings)


# -- the installation ---------------------------------------------------------------------------


def _python() -> Check:
    version = sys.version_info[:2]
    words = f"Python {sys.version.split()[0]} in {sys.prefix}"
    if OLDEST_PYTHON <= version < FIRST_UNKNOWN_PYTHON:
        return Check(Level.OK, "python", words)
    return Check(Level.FAIL, "python", words, "Use Python 3.11 to 3.13: make PYTHON=python3.12")


def _packages() -> Iterator[Check]:
    """The direct requirements against `requirements.lock`."""
    locked = _locked(PROJECT_ROOT / "requirements.lock")
    if not locked:
        yield Check(
            Level.WARN,
            "packages",
            f"There is no requirements.lock in {PROJECT_ROOT}, so versions were not compared.",
        )
        return
    wrong: dict[str, str] = {}
    names = sorted({*_direct_requirements(), *PINNED} & locked.keys())
    for name in names:
        found = _installed(name)
        if found != locked[name]:
            wrong[name] = f"{name} is {found or 'missing'}, locked is {locked[name]}"
    if not wrong:
        yield Check(Level.OK, "packages", f"{len(names)} packages as in requirements.lock")
        return
    is_serious = bool(PINNED & wrong.keys()) or any("missing" in each for each in wrong.values())
    level = Level.FAIL if is_serious else Level.WARN
    yield Check(level, "packages", "; ".join(wrong.values()), "Run `make setup` again.")


def _locked(path: Path) -> dict[str, str]:
    """Versions by name that hold for this machine."""
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line[:1].isalnum():
            continue
        try:
            one = Requirement(line.rstrip(" \\"))
        except InvalidRequirement:
            continue
        if one.marker is None or one.marker.evaluate():
            found[one.name] = str(one.specifier).removeprefix("==")
    return found


def _direct_requirements() -> set[str]:
    try:
        wanted = metadata.requires("pipeline") or []
    except metadata.PackageNotFoundError:
        return set()
    return {one.name for one in map(Requirement, wanted) if not one.marker or one.marker.evaluate()}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _project_files() -> Iterator[Check]:
    missing = [n for n in ("dagster.yaml", "workspace.yaml") if not (PROJECT_ROOT / n).exists()]
    if missing:
        yield Check(
            Level.FAIL,
            "dagster",
            f"{' and '.join(missing)} is missing in {PROJECT_ROOT}.",
            "Restore it from the repository.",
        )
    home = os.environ.get("DAGSTER_HOME")
    if home and Path(home).expanduser().absolute() != PROJECT_ROOT:
        yield Check(
            Level.WARN,
            "dagster",
            f"DAGSTER_HOME points to {home}; `pipeline` uses {PROJECT_ROOT} all the same.",
            "Unset it, or a bare `dagster` command will not see these runs.",
        )
    elif not missing:
        yield Check(Level.OK, "dagster", f"dagster.yaml and workspace.yaml in {PROJECT_ROOT}")


# -- the machine --------------------------------------------------------------------------------


def _home(home: Path) -> Iterator[Check]:
    """Whether state can be written, and whether there is room."""
    there = home
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        if not there.is_dir():
            raise NotADirectoryError(20, "a file is in the way", str(there))
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Check(
            Level.FAIL,
            "home",
            f"{home} cannot be written: {error.strerror or error} ({there}).",
            "Set PIPELINE_HOME to a folder that you may write to.",
        )
        return
    state = "writable" if there == home else "will be made by the first run"
    yield Check(Level.OK, "home", f"{home} ({state})")
    free = shutil.disk_usage(there).free
    words = f"{free / 1e9:.1f} GB free for {home}"
    if free < LEAST_FREE_BYTES:
        yield Check(Level.WARN, "disk", words, "Free space, or set PIPELINE_HOME to another disk.")
    else:
        yield Check(Level.OK, "disk", words)


def _port() -> Iterator[Check]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", UI_PORT))
        except OSError as error:
            yield Check(
                Level.WARN,
                "port",
                f"Port {UI_PORT} is not free: {plain(error.strerror or error)}.",
                "Use another one: pipeline ui --port 3001",
            )
            return
    yield Check(Level.OK, "port", f"{UI_PORT} is free for `pipeline ui`")


def _clock() -> Check:
    """The clock against the file system's, and against when this program was installed."""
    now = time.time()
    with tempfile.NamedTemporaryFile() as probe:
        off_s = abs(Path(probe.name).stat().st_mtime - now)
    built = Path(__file__).stat().st_mtime
    if now < built - CLOCK_TOLERANCE_S:
        ago = span(built - now)
        return Check(
            Level.FAIL,
            "clock",
            f"The clock is {ago} before the time at which this program was installed.",
            "Set the clock; waits and refreshes go by it.",
        )
    if off_s > CLOCK_TOLERANCE_S:
        return Check(
            Level.WARN,
            "clock",
            f"The clock and the file system's differ by {span(off_s)}.",
            "Synchronise the clocks (NTP).",
        )
    words = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    return Check(Level.OK, "clock", words)
