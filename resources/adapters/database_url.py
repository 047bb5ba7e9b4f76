"""How PIPELINE_DATABASE_URL is read: one driver for PostgreSQL, and patience that ends.

The ledger and Dagster's records go through it alike. Connections and pools are not in here.
"""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from resources.core.errors import UsageError

# Without a driver's name SQLAlchemy takes another one than the one that is installed.
_DRIVER = "postgresql+psycopg2"
_BARE = frozenset({"postgres", "postgresql"})
_BACKENDS = frozenset({"sqlite", "postgresql"})
# A server whose machine is gone answers nothing at all: without these, a connection to it would be
# waited for until the operating system gives up, after a quarter of an hour.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def read_url(text: str) -> URL:
    """Read a database's URL, and name the driver of PostgreSQL where it does not.

    Args:
        text: `sqlite:///path` or `postgresql://user:password@host/database`.

    Raises:
        UsageError: it is none, or its driver is not installed; never shows the password.
    """
    try:
        url = make_url(text)
        if url.drivername in _BARE:
            url = url.set(drivername=_DRIVER)
        if url.get_backend_name() not in _BACKENDS:
            raise ValueError(url.get_backend_name())
        url.get_dialect().import_dbapi()
    except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:
        # Some of their messages hold parts of the URL, which may have a password in it.
        raise UsageError(
            f"PIPELINE_DATABASE_URL cannot be used: {type(error).__name__}. Write it as "
            "postgresql://user:password@host/database (a password's @ / : # % as %40 %2F %3A %23 "
            "%25) or sqlite:///path, and install the database's driver."
        ) from None
    return url


def is_postgres(url: URL) -> bool:
    """Whether it is the URL of a PostgreSQL database."""
    return url.get_backend_name() == "postgresql"


def with_patience(url: URL, program: str) -> URL:
    """A PostgreSQL URL with time limits on what would wait for ever; what it says itself counts.

    Args:
        url: Another database's, or that of a driver which takes no such options, stays as it is.
        program: What the server shows as the connection's program.
    """
    if url.drivername != _DRIVER:
        return url
    return url.set(query={**_PATIENCE, "application_name": program, **url.query})
