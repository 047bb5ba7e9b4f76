"""The main job, killed again and again at seeded random moments, until all of it is settled.

    python -m tests.campaigns.kills --kills 200 --seed 7 --report docs/reports/kills.md

One list is run twice: once with nobody killing anything, and once with SIGKILL for the process and
its children, each time started again. Both have an internet of their own with the same seed and
the same faults. What must hold afterwards is in `checks`, the report's words are in `report`.

Which faults there are and why is said in `faults.toml`.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from tests.campaigns.checks import Check, Home, check_all
from tests.support.processes import PIPELINE, Sandbox, environment, pipeline, sandbox, write_list

FAULTS = Path(__file__).with_name("faults.toml")
SETTINGS = {"PIPELINE_RETRY_BACKOFF_BASE": "0.3"}
BATCH_SIZE = 10
DOMAINS_A_KILL = 3
WAIT = "600s"
LONGEST_LIFE_S = 120.0
# Shares of the kills in start-up and soon after a worker has begun; the others come once some more
# domains are settled, so that all phases get their part.
IN_STARTUP, AT_ONCE = 0.1, 0.25
STARTUP_S, AT_ONCE_S, AFTER_S = 4.0, 1.0, 0.3
STARTING_UP = "start-up and between the phases"


@dataclass(frozen=True)
class Kill:
    """One life that ended by SIGKILL.

    Args:
        phase: Where it was hit.
        after_s: Seconds it had lived.
        settled: Domains that it had settled, over all phases.
        in_doubt: Domains of its paid calls whose answers were not stored.
    """

    phase: str
    after_s: float
    settled: int
    in_doubt: int


@dataclass(frozen=True)
class Campaign:
    """What happened, for the report."""

    domains: int
    seed: int
    kills: Sequence[Kill]
    wanted: int
    undisturbed_s: float
    seconds: float
    billed: int
    checks: Sequence[Check]
    figures: dict[str, object]

    @property
    def is_passed(self) -> bool:
        return all(check.is_passed for check in self.checks)

    @property
    def in_doubt(self) -> int:
        return sum(kill.in_doubt for kill in self.kills)


@dataclass(frozen=True)
class Moment:
    """When a life is to end: so many seconds after something has been reached.

    Args:
        settled: Domains settled in this life; None for the first worker's beginning, and nothing
            at all where `is_startup`.
    """

    is_startup: bool
    settled: int | None
    then_s: float


def draw_moment(random: Random, left: int, kills_left: int) -> Moment:
    """Draw one, so that the kills that are left spread over the work that is left."""
    kind = random.random()
    if kind < IN_STARTUP or left == 0:
        return Moment(True, None, random.uniform(0, STARTUP_S))
    if kind < IN_STARTUP + AT_ONCE:
        return Moment(False, None, random.uniform(0, AT_ONCE_S))
    share = max(1, round(1.5 * left / max(1, kills_left)) - 1)
    return Moment(False, random.randint(1, share), random.uniform(0, AFTER_S))


@contextmanager
def _life(arguments: Sequence[str], home: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running job in a session of its own; it and its children are gone afterwards."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            [str(PIPELINE), *arguments],
            stdout=said,
            stderr=said,
            env=environment(home, **SETTINGS),
            cwd=home.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        children: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        # The parent first: it must not see its children die and draw conclusions.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait(timeout=30)
        psutil.wait_procs(children, timeout=30)


def _live_until(moment: Moment, process: subprocess.Popen[bytes], home: Home) -> bool:
    """Wait for the moment. Returns False when the job has ended by itself before."""
    settled_before, began_at = home.settled(), time.monotonic()

    def is_reached() -> bool:
        if moment.is_startup:
            return True
        if moment.settled is None:
            return home.phase_of(process.pid) is not None
        return home.settled() - settled_before >= moment.settled

    while not is_reached():
        if process.poll() is not None:
            return False
        if time.monotonic() - began_at > LONGEST_LIFE_S:
            raise TimeoutError(f"nothing was settled for {LONGEST_LIFE_S:g} s; see the log")
        time.sleep(0.01)
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment.then_s)
    return process.poll() is None


def kill_again_and_again(
    arguments: Sequence[str], home: Home, kills: int, random: Random, log: Path
) -> list[Kill]:
    """Start the job and kill it, so many times or until it has nothing left to do."""
    done: list[Kill] = []
    idle_lives = 0
    while len(done) < kills and idle_lives < kills:
        left = home.unsettled() if home.has_begun() else kills
        moment = draw_moment(random, left, kills - len(done))
        settled, doubts, began_at = home.settled(), home.in_doubt(), time.monotonic()
        with _life(arguments, home.path, log) as process:
            is_alive = _live_until(moment, process, home)
            after_s = time.monotonic() - began_at
        if not is_alive:
            idle_lives += 1
            continue
        phase = home.phase_of(process.pid) or home.phase_without_worker() or STARTING_UP
        done.append(Kill(phase, after_s, home.settled() - settled, home.in_doubt() - doubts))
        print(f"{len(done)}/{kills} {phase} {home.line()}", file=sys.stderr, flush=True)
    return done


def _arguments(internet: Sandbox, source: Path) -> list[str]:
    url, size = internet.url, str(BATCH_SIZE)
    return ["run", str(source), "--sandbox-url", url, "--batch-size", size, "--json"]


def run(kills: int, seed: int, domains: int, folder: Path) -> Campaign:
    """Do both runs and hold them against each other."""
    names = [f"company-{number:04}.example" for number in range(domains)]
    source = write_list(folder / "list.csv", names)
    options = ("--seed", str(seed), "--faults", str(FAULTS))
    whole, killed = Home(folder / "whole"), Home(folder / "killed")
    with sandbox(*options) as internet:
        arguments = [*_arguments(internet, source), "--wait", WAIT]
        reference = pipeline(*arguments, home=whole.path, timeout=900, **SETTINGS)
        if reference.code != 0:
            raise RuntimeError(f"the run that nobody kills did not finish: {reference.err}")
        pages = sum(internet.calls()["pages"].values())
    began_at = time.monotonic()
    with sandbox(*options) as internet:
        arguments = [*_arguments(internet, source), "--wait", WAIT]
        done = kill_again_and_again(arguments, killed, kills, Random(seed), folder / "killed.log")
        last = pipeline(*arguments, home=killed.path, timeout=900, **SETTINGS)
        calls = internet.calls()
    in_doubt = sum(kill.in_doubt for kill in done)
    return Campaign(
        domains,
        seed,
        done,
        kills,
        reference.json["seconds"],
        time.monotonic() - began_at,
        sum(calls["billed"]["pdl"].values()),
        check_all(whole, killed, names, last, calls["billed"]["pdl"], in_doubt),
        {
            "requests for pages without kills": pages,
            "requests for pages with them": sum(calls["pages"].values()),
            **killed.figures(),
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign and write its report; 0 when everything held."""
    from tests.campaigns.report import as_markdown

    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--domains", type=int, help="length of the list; three for each kill")
    parser.add_argument("--report", type=Path, help="file to write; standard output otherwise")
    parser.add_argument("--folder", type=Path, help="keep everything there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        domains = options.domains or DOMAINS_A_KILL * options.kills
        campaign = run(options.kills, options.seed, domains, folder)
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    text = as_markdown(campaign, machine)
    if options.report is None:
        print(text)
    else:
        options.report.write_text(text, encoding="utf-8")
        print(f"{'passed' if campaign.is_passed else 'FAILED'}: {options.report}")
    return 0 if campaign.is_passed else 1


if __name__ == "__main__":
    sys.exit(main())
