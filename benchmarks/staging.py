"""What several benchmarks set up alike: a list in a ledger, a server in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from resources.adapters.ledger.lists import NewMember
from resources.platform import Platform

BATCH_SIZE = 50


def take_in(platform: Platform, domains: Sequence[str]) -> list[str]:
    """Take in a list of new domains. Returns the keys of its batches."""
    platform.ledger.lists.add(
        "bench",
        source="bench",
        digest="1",
        rows=len(domains),
        accepted=len(domains),
        duplicates=0,
        new=[NewMember(domain, line) for line, domain in enumerate(domains, 1)],
        rejected=(),
        batch_size=BATCH_SIZE,
        now=platform.clock.now(),
    )
    return [batch.key for batch in platform.ledger.lists.batches_of("bench")]


@contextlib.contextmanager
def served(serve: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """Run a server in a process of its own.

    Args:
        serve: Called there with a connection, to which it sends its port, and the arguments.

    Returns: the port on 127.0.0.1.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, *arguments), daemon=True
    )
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join(10)
