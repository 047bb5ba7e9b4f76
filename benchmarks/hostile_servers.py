"""What each attack of a hostile server costs, on every path by which one is met.

    python -m benchmarks.hostile_servers

Prints a table: attack, path, how it ended, processor time and memory of the side that is attacked.
Ends with 1 if one got through or cost more than is allowed. Alerts are sent by a process of their
own: its time is what it took beyond that of a plain message, its memory the largest of all so far.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from resources.adapters.notifier import channels, deliver
from resources.core.alert_text import Message, Tone
from resources.core.config import load_settings
from tests.support.attacked import FILES, ask_provider, ask_site
from tests.support.attacks import Cost, Meter, attacker, bombs, breaks, floods, redirects
from tests.support.raw_server import Step, reply

MOST_CPU_S = 2.0
MOST_MEMORY_BYTES = 300_000_000
PATHS = (*FILES, "provider", "alert")
HEAD = "| attack | path | ended as | CPU s | memory MB |"


def main() -> int:
    """Run all attacks on all paths."""
    os.environ["NO_PROXY"] = "*"
    print(HEAD, "|---|---|---|---|---|", sep="\n")
    with attacker({"*": reply(b"{}")}) as server:
        plain_s = _alert(server.port, 0.0)[1].cpu_s
    bad = 0
    for group in (floods(), bombs(), breaks(), redirects()):
        bad += _run(group, plain_s)
    print(f"\n{bad} got through or cost more than {MOST_CPU_S:g} s or 300 MB.")
    return 1 if bad else 0


def _run(attacks: Mapping[str, Step], plain_s: float) -> int:
    bad = 0
    for name, step in attacks.items():
        for path in PATHS:
            with attacker({"*": step}) as server:
                ended, cost = _meet(path, server.port, plain_s)
            is_bad = cost.cpu_s > MOST_CPU_S or cost.memory_bytes > MOST_MEMORY_BYTES
            is_bad |= attacks is redirects() and not _is_refused(ended, name, path)
            bad += is_bad
            mark = " **" if is_bad else ""
            memory = cost.memory_bytes / 1e6
            print(
                f"| {name} | {path} | {ended}{mark} | {cost.cpu_s:.2f} | {memory:.0f} |", flush=True
            )
    return bad


def _is_refused(ended: str, name: str, path: str) -> bool:
    # A robots.txt that redirects in a circle counts as none (RFC 9309).
    return ended != "taken" or (name == "circle" and path == "robots.txt")


def _meet(path: str, port: int, plain_s: float) -> tuple[str, Cost]:
    if path == "alert":
        return _alert(port, plain_s)
    with TemporaryDirectory() as folder, Meter() as meter:
        if path == "provider":
            kind = asyncio.run(ask_provider(port))
        else:
            kind = asyncio.run(ask_site(path, port, Path(folder)))
    return kind or "taken", meter.cost


def _alert(port: int, plain_s: float) -> tuple[str, Cost]:
    (channel,) = channels(load_settings(alert_urls=[f"json://127.0.0.1:{port}/hook"]))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    delivery = deliver({channel: [Message("title", "body", Tone.NOTE)]}, limit_s=4.0)[channel]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cost = Cost(max(0.0, cpu_s - plain_s), after.ru_maxrss * 1024, 0.0)
    return "taken" if delivery.sent else (delivery.problem or "")[:60], cost


if __name__ == "__main__":
    sys.exit(main())
