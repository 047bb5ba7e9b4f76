"""`pipeline run`: checks the request, opens everything, drives an `Invocation`, and sums up."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.commands import estimate, storage_trouble, summary
from pipeline_assets.commands.interrupts import EXIT_CODE, Interrupts
from pipeline_assets.commands.opening import SANDBOX_FOLDER
from pipeline_assets.commands.progress import Progress
from pipeline_assets.commands.sandbox_process import (
    list_for_sandbox,
    point_settings_at,
    sandbox_server,
)
from resources.adapters import scratch
from resources.adapters.ledger.lists import IngestReport
from resources.adapters.ledger.workers import INTERRUPTED, TERMINATED
from resources.adapters.providers.registry import paid_providers
from resources.core.config import Settings, load_settings
from resources.core.errors import LeaseLost, UsageError
from resources.core.models import FETCHING, Phase
from resources.core.profile_rules import RULES
from resources.ingest import ListContent, read_list, take_in
from resources.platform import Platform

if TYPE_CHECKING:
    from pipeline_assets.invocation import Outcome

# Not a phase of its own: what PAGE_SCRAPING makes of the pages that it has.
EXTRACTION = "PAGE_EXTRACTION"
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
SETTLED, UNSETTLED = 0, 1


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    file: Path
    name: str | None
    column: str | None
    batch_size: int | None
    only: str | None
    sandbox: bool
    sandbox_url: str | None
    corpus: Path | None
    faults: str | None
    seed: int
    wait: str
    max_credits: float | None
    dry_run: bool
    as_json: bool


def run(request: Request) -> int:
    """Do it. Returns the exit code.

    Raises:
        UsageError: bad input; nothing was begun.
    """
    started = time.monotonic()
    wait_s = parse_duration(request.wait)
    only = _phase(request.only)
    file = request.file.absolute()
    with ExitStack() as stack:
        content = read_list(
            file,
            name=request.name,
            column=request.column,
            scratch=load_settings().home / scratch.FOLDER,
        )
        _set_up_sandbox(request, file, content, stack)
        settings = _settings(request)
        if request.dry_run:
            return estimate.show(settings, content, as_json=request.as_json)
        _ask_for_limit(settings)
        _ask_for_contact(settings)
        try:
            platform = stack.enter_context(_opened(settings))
            report = take_in(platform.ledger, platform.clock, content, settings.batch_size)
            content.close()  # a long list's rows are in the ledger now
            if _is_extraction(request.only):
                _ask_extraction(platform, report)
            return _work_on(platform, report, request, only, wait_s, started, stack)
        except KeyboardInterrupt:
            said, code = summary.interrupted(), EXIT_CODE
        except LeaseLost as error:
            said, code = f"pipeline: {summary.taken_over(error)}", UNSETTLED
        except BrokenPipeError:
            raise
        except (SQLAlchemyError, OSError) as error:
            said, code = f"pipeline: {storage_trouble.sentence(settings, error)}", UNSETTLED
    print(said, file=sys.stderr)
    return code


def _work_on(
    platform: Platform,
    report: IngestReport,
    request: Request,
    only: Phase | None,
    wait_s: float,
    started: float,
    stack: ExitStack,
) -> int:
    """Drive Dagster, and sum up. What it opens is closed with the stack."""
    progress = stack.enter_context(Progress(platform, is_quiet=request.as_json))
    progress.say(summary.taken_in(report))
    interrupts = stack.enter_context(_interrupts(platform, report.list_name, only))
    outcome = _drive(platform, report, only, wait_s, progress, interrupts)
    progress.stop()
    if interrupts.requested.is_set():
        raise KeyboardInterrupt
    seconds = time.monotonic() - started
    if request.as_json:
        print(summary.as_json(platform, outcome, seconds))
    else:
        summary.show(platform, outcome, seconds, is_sandbox=_is_sandbox(request))
    return SETTLED if outcome.is_finished else UNSETTLED


def _interrupts(platform: Platform, list_name: str, only: Phase | None) -> Interrupts:
    ledger = platform.ledger

    def give_back(by_person: bool) -> None:
        now = platform.clock.now()
        ledger.workers.end_of_process(now, INTERRUPTED if by_person else TERMINATED)
        if not by_person:
            return
        # All that the command was for, and not the run alone that it was in.
        keys = [batch.key for batch in ledger.lists.batches_of(list_name)]
        for phase in FETCHING if only is None else {only}.intersection(FETCHING):
            ledger.requests.hold(keys, phase, "a person ended `pipeline run`", now)

    return Interrupts(give_back, summary.interrupted())


def _drive(
    platform: Platform,
    report: IngestReport,
    only: Phase | None,
    wait_s: float,
    progress: Progress,
    interrupts: Interrupts,
) -> Outcome:
    # Dagster is heavy to import: only after everything that can be refused has been.
    from pipeline_assets.definitions import build_definitions
    from pipeline_assets.instance import Runs, open_instance
    from pipeline_assets.invocation import Invocation

    with (
        storage_trouble.without_dagsters_words(),
        open_instance(platform.settings) as instance,
    ):
        runs = Runs(instance, build_definitions())
        invocation = Invocation(platform, instance, runs, progress.say, interrupts.requested, only)
        return invocation.run(report, wait_s)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as 90, 90s, 10m, 1.5h.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,3})?)\s*([smhd]?)\s*", text)
    if match is None:
        raise UsageError(f"--wait {text!r} is no duration; write it as 90s, 10m or 2h.")
    return float(match.group(1)) * _UNITS_S[match.group(2)]


def _is_extraction(text: str | None) -> bool:
    return text is not None and text.upper() == EXTRACTION


def _ask_extraction(platform: Platform, report: IngestReport) -> None:
    keys = [batch.key for batch in platform.ledger.lists.batches_of(report.list_name)]
    platform.ledger.work.ask_extraction(keys, platform.clock.now())


def _phase(text: str | None) -> Phase | None:
    if text is None:
        return None
    if _is_extraction(text):
        return Phase.PAGE_SCRAPING
    try:
        return Phase(text.upper())
    except ValueError:
        raise UsageError(
            f"--only {text!r} is no phase; phases: {', '.join(Phase)}, {EXTRACTION}."
        ) from None


def _is_sandbox(request: Request) -> bool:
    return request.sandbox or request.sandbox_url is not None


def _set_up_sandbox(request: Request, file: Path, content: ListContent, stack: ExitStack) -> None:
    if not _is_sandbox(request):
        if request.corpus or request.faults:
            raise UsageError("--corpus and --faults need --sandbox.")
        return
    load_settings()
    if request.sandbox_url is not None:
        url = request.sandbox_url
    else:
        listed = list_for_sandbox(file, content, stack)
        arguments = ["--domains", str(listed), "--seed", str(request.seed)]
        if request.corpus is not None:
            arguments += ["--corpus", str(request.corpus.absolute())]
        if request.faults is not None:
            path = Path(request.faults)
            arguments += ["--faults", str(path.absolute()) if path.exists() else request.faults]
        url = stack.enter_context(sandbox_server(arguments))
    point_settings_at(url)
    os.environ["PIPELINE_HOME"] = str(load_settings().home / SANDBOX_FOLDER)


def _settings(request: Request) -> Settings:
    for name, value in (
        ("PIPELINE_BATCH_SIZE", request.batch_size),
        ("PIPELINE_MAX_CREDITS", request.max_credits),
    ):
        if value is not None:
            os.environ[name] = str(value)
    settings = load_settings()
    unknown = sorted(set(settings.wanted_fields) - set(RULES))
    if unknown:
        raise UsageError(
            f"Setting PIPELINE_WANTED_FIELDS names {', '.join(unknown)}, which is no profile "
            f"field; there are: {', '.join(RULES)}."
        )
    return settings


def _ask_for_limit(settings: Settings) -> None:
    """A live run that can cost money needs a limit, said or typed."""
    paid = paid_providers(settings)
    if not settings.is_live or not paid or settings.max_credits is not None:
        return
    names = ", ".join(paid)
    if not sys.stdin.isatty():
        raise UsageError(
            f"This run may spend credits at {names}. Say how many at most with --max-credits N; "
            "--dry-run shows what it would cost."
        )
    answer = input(f"This run may spend credits at {names}. How many at most? ")
    if not answer.strip().isdigit():
        raise UsageError("No limit was given, so nothing was begun. Use --max-credits N.")
    os.environ["PIPELINE_MAX_CREDITS"] = answer.strip()


def _ask_for_contact(settings: Settings) -> None:
    """Sites that are fetched from live can see who does it, or whoever runs it has been told."""
    if not settings.is_live or settings.fetch.contact:
        return
    if sys.stdin.isatty():
        answer = input(
            "How can sites reach you (an e-mail address or a URL; empty for not at all)? "
        )
        if answer.strip():
            os.environ["PIPELINE_FETCH__CONTACT"] = answer.strip()
            load_settings()  # a wrong one is refused here
            said = f"PIPELINE_FETCH__CONTACT={answer.strip()} in the environment keeps it."
            print(f"pipeline: {said}", file=sys.stderr)
            return
    said = "Sites cannot see who fetches from them: set PIPELINE_FETCH__CONTACT."
    print(f"pipeline: {said}", file=sys.stderr)


@contextmanager
def _opened(settings: Settings) -> Iterator[Platform]:
    platform = Platform.open(load_settings(home=settings.home))
    try:
        yield platform
    finally:
        platform.close()
