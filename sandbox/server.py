"""Listens on loopback and serves until it is told to end."""

import asyncio
import gc
import os
import signal

import uvloop

from sandbox.connection import Connection
from sandbox.internet import Internet
from sandbox.mistakes import UsageMistake

_PARENT_CHECK_S = 0.25
_BACKLOG = 4096


def serve(world: Internet, host: str, port: int, parent: int | None) -> None:
    """Serve until SIGTERM or SIGINT, or until the parent process is gone.

    Args:
        world: what answers.
        host: a loopback address.
        port: 0 picks a free one.
        parent: the process id whose end ends the sandbox, None to ignore it.

    Raises:
        UsageMistake: the port cannot be had.
    """
    # What was loaded at start never becomes garbage, and pages make none that is cyclic: the
    # collector's full passes over the caches would cost more than serving.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    uvloop.run(_serve(world, host, port, parent))


async def _serve(world: Internet, host: str, port: int, parent: int | None) -> None:
    loop = asyncio.get_running_loop()
    is_over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_over.set)
    live: set[Connection] = set()
    try:
        server = await loop.create_server(
            lambda: Connection(loop, world, live), host, port, backlog=_BACKLOG
        )
    except OSError as error:
        raise UsageMistake(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another --port"
        ) from error
    bound = server.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    print(f"sandbox listening on http://{shown}:{bound}", flush=True)
    watch = loop.create_task(_until_orphaned(parent, is_over)) if parent is not None else None
    await is_over.wait()
    if watch is not None:
        watch.cancel()
    server.close()
    for connection in list(live):
        if connection.transport is not None:
            connection.transport.abort()
    await asyncio.sleep(0)


async def _until_orphaned(parent: int, is_over: asyncio.Event) -> None:
    """Wait until this process has been handed to another parent: ours has died, however."""
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_CHECK_S)
    is_over.set()
