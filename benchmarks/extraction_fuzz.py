"""Extract from thousands of broken pages: none may raise, hang, or make the process grow.

Run: python -m benchmarks.extraction_fuzz [DATA_FOLDER] [--pages N] [--seed S]

Every page goes through extraction, the choice of further pages and JSON and back. Exit code 1 when
a page raised, took more than `LIMIT_S` of CPU, the process ever held more than `PEAK_MB`, or it
held over `GROWTH_MB` more after all pages than after half of them. A page that hangs for a minute
ends the process with its stack.
"""

import argparse
import faulthandler
import gc
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Final

import orjson

from benchmarks.mutated_pages import mutated, real_pages
from resources.core.extract import choose_pages, extract_page, from_json, to_json

LIMIT_S: Final = 2.0
PEAK_MB: Final = 300
GROWTH_MB: Final = 40
_URL: Final = "https://www.acme.example/"


def check(page: bytes) -> None:
    """Take one page the whole way; AssertionError when it comes back different."""
    found = extract_page(page, _URL)
    choose_pages(found, "acme.example", limit=6)
    assert from_json(orjson.loads(orjson.dumps(to_json(found)))) == found


def main() -> int:
    """Print what happened, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    if not (arguments.data / "business_pages").is_dir():
        print(f"skipped: no pages in {arguments.data}")
        return 0
    raised, slow, half_mb = 0, [], 0.0
    pages = mutated(real_pages(arguments.data), arguments.pages, arguments.seed)
    began = time.process_time()
    slowest = 0.0
    for number, page in enumerate(pages):
        faulthandler.dump_traceback_later(60, exit=True)
        start = time.thread_time()
        try:
            check(page)
        except Exception:  # noqa: BLE001 - whatever is raised is what is looked for
            raised += 1
            print(f"page {number} raised:\n{traceback.format_exc()}")
        took = time.thread_time() - start
        slowest = max(slowest, took)
        if took > LIMIT_S:
            slow.append((number, round(took, 1)))
        if number == arguments.pages // 2:
            half_mb = _resident_mb()
    faulthandler.cancel_dump_traceback_later()
    grown = _resident_mb() - half_mb
    mean_ms = (time.process_time() - began) * 1_000 / arguments.pages
    print(
        f"{arguments.pages} mutated pages, seed {arguments.seed}: {raised} raised, "
        f"{len(slow)} took over {LIMIT_S:g} s {slow[:5]}; CPU mean {mean_ms:.1f} ms, slowest "
        f"{slowest:.2f} s; peak memory {_peak_mb():.0f} MB, {grown:+.0f} MB in the second half"
    )
    return int(bool(raised or slow or _peak_mb() > PEAK_MB or grown > GROWTH_MB))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000


def _resident_mb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    sys.exit(main())
