"""One run of this scraper over the corpus, in a process of its own; one JSON line at the end.

The whole phase PAGE_SCRAPING without Dagster: claims, robots.txt, breakers and paces, page bodies
in the store, extraction, results in a SQLite ledger with synced group commits.

    python -m benchmarks.scraping.ours PORT PAGES HOME CONCURRENCY [again] < hosts

With `again` the same sites are visited a second time, as a refresh, and that is measured.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import orjson

from benchmarks.staging import take_in
from resources.core.config import load_settings
from resources.core.models import Phase
from resources.core.run_events import PassEnded
from resources.platform import Platform


def main() -> None:
    """Scrape all hosts that stand on stdin."""
    port, pages, home, concurrency = sys.argv[1:5]
    hosts = sys.stdin.read().split()
    settings = load_settings(
        home=Path(home),
        refresh_after=0.0,
        fetch={
            "connect_to": f"127.0.0.1:{port}",
            "allow_networks": ("127.0.0.0/8",),
            "connections_per_host": 8,
            "pages_per_site": int(pages),
            "concurrency": int(concurrency),
        },
    )
    with Platform.opened(settings) as platform:
        keys = take_in(platform, hosts)
        if sys.argv[5:] == ["again"]:
            _pass(platform, keys)
            # Only what is settled for longer than `refresh_after` is asked for again.
            now = platform.clock.now()
            platform.ledger.work.expire(Phase.PAGE_SCRAPING, keys, now, now)
        began_at = platform.clock.now()
        cpu, own, began = _cpu(), time.process_time(), time.perf_counter()
        _pass(platform, keys)
        seconds, cpu_s = time.perf_counter() - began, _cpu() - cpu
        own_cpu_s = time.process_time() - own
        found = platform.ledger.pages.count_since(began_at)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = {
        "pages": found,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "own_cpu_s": own_cpu_s,
        "peak_mb": peak_kb / 1024,
    }
    sys.stdout.write(orjson.dumps(said).decode() + "\n")


def _pass(platform: Platform, keys: list[str]) -> None:
    last = None
    for event in platform.run_phase(Phase.PAGE_SCRAPING, keys, run_id="bench", scope="bench"):
        last = event
    assert isinstance(last, PassEnded)
    assert not last.unsettled, last


def _cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
