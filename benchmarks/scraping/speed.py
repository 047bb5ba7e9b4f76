"""Scraping speed: this project and Scrapy over the same real pages, arms in turn, in one run.

200 hosts of 16 real pages each, served gzipped by nginx on loopback; robots.txt obeyed, 8
connections a host, 64 at a time; each arm a process of its own, both cores free to all. Seconds are
from the first request to the last page written; processor time includes the arm's own children and
not nginx. What Scrapy takes from a page: `extract`, the fields of this project by its own
extractor; `plain`, title, links and text by parsel; `none`, only the links of the home page.

    python -m benchmarks.scraping.speed DATA [--rounds 3] [--hosts 200] [--latency-ms 200]

DATA is a folder with `business_pages/` and `articles/`. Needs nginx, and what
`benchmarks/requirements.txt` says.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scraping.corpus import Corpus, real_pages, write_corpus
from benchmarks.scraping.servers import nginx, slow_server

PAGES = 16
AT_A_TIME = 64
SLOW_AT_A_TIME = 256


@dataclass(frozen=True)
class Found:
    """What one run of an arm came to."""

    pages: int
    seconds: float
    cpu_s: float
    peak_mb: float
    own_cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Pages a second."""
        return self.pages / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time of a page, ms."""
        return 1000 * self.cpu_s / self.pages


Arm = Callable[[int], Found]


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--latency-ms", type=float, default=200.0)
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("PIPELINE_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # nginx's workers may run as somebody else
        corpus = write_corpus(
            Path(folder) / "corpus", real_pages(asked.data), hosts=asked.hosts, pages=PAGES
        )
        with nginx(corpus) as port:
            found = _rounds(_arms(corpus, Path(folder), port), asked.rounds, corpus.total)
            _show(f"{corpus.total} pages, no latency, {AT_A_TIME} at a time", found)
            again = _ours(corpus.hosts, Path(folder), port, AT_A_TIME, "again")(0)
            first = statistics.median(one.cpu_ms for one in found["this scraper"])
            answers = (corpus.root / "access.log").read_text().split()[-corpus.total :]
            share = 100 * answers.count("304") / len(answers)
            print(
                f"\nSecond visit, nothing changed: {share:.1f} % of the answers are 304; "
                f"{again.cpu_ms:.2f} ms a page, "
                f"{100 * again.cpu_ms / first:.0f} % of the first visit's."
            )
        slow = _slow_arms(corpus, Path(folder))
        with slow_server(corpus, asked.latency_ms / 1000) as port:
            found = _rounds(
                {name: make(port) for name, make in slow.items()}, asked.rounds, corpus.total
            )
            _show(f"{asked.latency_ms:g} ms latency, {SLOW_AT_A_TIME} at a time", found)


def _arms(corpus: Corpus, folder: Path, port: int) -> dict[str, Arm]:
    return {
        "this scraper": _ours(corpus.hosts, folder, port, AT_A_TIME),
        "through the whole platform": _platform(corpus.hosts, folder, port),
        "Scrapy, extract": _scrapy(corpus.hosts, port, "extract", AT_A_TIME),
        "Scrapy, extract, 2 processes": _scrapy(corpus.hosts, port, "extract", AT_A_TIME, 2),
        "Scrapy, plain": _scrapy(corpus.hosts, port, "plain", AT_A_TIME),
        "Scrapy, none": _scrapy(corpus.hosts, port, "none", AT_A_TIME),
    }


def _slow_arms(corpus: Corpus, folder: Path) -> dict[str, Callable[[int], Arm]]:
    hosts = corpus.hosts
    return {
        "this scraper": lambda port: _ours(hosts, folder, port, SLOW_AT_A_TIME),
        "Scrapy, extract": lambda port: _scrapy(hosts, port, "extract", SLOW_AT_A_TIME),
    }


def _rounds(arms: dict[str, Arm], rounds: int, pages: int) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {name: [] for name in arms}
    for number in range(rounds):
        for name, arm in arms.items():
            one = arm(number)
            if one.pages != pages:
                sys.exit(f"{name} took {one.pages} pages instead of {pages}: nothing to compare")
            found[name].append(one)
            print(f"round {number + 1}, {name}: {one.rate:.0f} pages/s", file=sys.stderr)
    return found


def _show(title: str, found: dict[str, list[Found]]) -> None:
    ours = statistics.median(one.rate for one in found["this scraper"])
    print(f"\n{title}; medians of {len(next(iter(found.values())))}\n")
    print(
        "| arm | pages | pages/s | this scraper is so many times faster | CPU ms/page | peak MB |"
    )
    print("|---|---|---|---|---|---|")
    for name, runs in found.items():
        rate = statistics.median(one.rate for one in runs)
        cpu_ms = statistics.median(one.cpu_ms for one in runs)
        peak = max(one.peak_mb for one in runs)
        print(
            f"| {name} | {runs[0].pages} | {rate:.0f} | {ours / rate:.2f} | {cpu_ms:.2f} "
            f"| {peak:.0f} |"
        )
    own = statistics.median(1000 * one.own_cpu_s / one.pages for one in found["this scraper"])
    all_of = statistics.median(one.cpu_ms for one in found["this scraper"])
    bound = (os.cpu_count() or 1) * 1000 / all_of
    print(
        f"\nOf this scraper's {all_of:.2f} ms, {own:.2f} ms are fetch, ledger and store; its bound "
        f"on {os.cpu_count()} cores is {bound:.0f} pages/s: it reached {100 * ours / bound:.0f} %."
    )


def _ours(hosts: Sequence[str], folder: Path, port: int, at_a_time: int, *more: str) -> Arm:
    def run(number: int) -> Found:
        home = tempfile.mkdtemp(dir=folder, prefix=f"ours-{number}-")
        return Found(**_json("ours", hosts, str(port), str(PAGES), home, str(at_a_time), *more))

    return run


def _scrapy(
    hosts: Sequence[str], port: int, fields: str, at_a_time: int, processes: int = 1
) -> Arm:
    def run(_number: int) -> Found:
        shares = [hosts[number::processes] for number in range(processes)]
        started = [
            _started("scrapy_arm", share, str(port), str(PAGES), fields, str(at_a_time))
            for share in shares
        ]
        found = [Found(**_result(process)) for process in started]
        return Found(
            sum(one.pages for one in found),
            max(one.seconds for one in found),
            sum(one.cpu_s for one in found),
            sum(one.peak_mb for one in found),
        )

    return run


def _platform(hosts: Sequence[str], folder: Path, port: int) -> Arm:
    """`pipeline run`, as people run it: from its own count of seconds, Dagster's start left out."""

    def run(number: int) -> Found:
        home = Path(tempfile.mkdtemp(dir=folder, prefix=f"platform-{number}-"))
        source = home / "hosts.txt"
        source.write_text("\n".join(hosts))
        settings = {
            "PIPELINE_HOME": str(home),
            "PIPELINE_FETCH__CONNECT_TO": f"127.0.0.1:{port}",
            "PIPELINE_FETCH__ALLOW_NETWORKS": "127.0.0.0/8",
            "PIPELINE_FETCH__CONNECTIONS_PER_HOST": "8",
            "PIPELINE_FETCH__PAGES_PER_SITE": str(PAGES),
            "PIPELINE_FETCH__CONCURRENCY": str(AT_A_TIME),
        }
        command = [str(Path(sys.executable).parent / "pipeline"), "run", str(source)]
        before = os.times()
        done = subprocess.run(
            [*command, "--only", "PAGE_SCRAPING", "--json"],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        after = os.times()
        cpu_s = sum(after[2:4]) - sum(before[2:4])
        summary = json.loads(done.stdout.splitlines()[-1])
        seconds = summary["phases"]["PAGE_SCRAPING"]["seconds"]
        return Found(summary["pages"], seconds, cpu_s, 0.0)

    return run


def _json(module: str, hosts: Sequence[str], *arguments: str) -> dict[str, Any]:
    return _result(_started(module, hosts, *arguments))


def _started(module: str, hosts: Sequence[str], *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.scraping.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("\n".join(hosts))
    process.stdin.close()
    return process


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    said = process.stdout.read()
    if process.wait() != 0:
        sys.exit(f"an arm of the benchmark failed: {process.args}")
    result: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
