"""What several commands begin with: the right home, the platform, and a list's name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from resources.core.config import Settings, load_settings
from resources.core.errors import UsageError
from resources.platform import Platform

SANDBOX_FOLDER = "sandbox"


def enter_sandbox_home() -> None:
    """Let settings mean the sandbox's home from now on, and the inbox in it: no live list is taken.

    To be called once.
    """
    home = load_settings().home / SANDBOX_FOLDER
    os.environ["PIPELINE_HOME"] = str(home)
    os.environ["PIPELINE_INBOX"] = str(home / "inbox")


def sandbox_settings() -> Settings:
    """Settings for the home that `pipeline run --sandbox` uses."""
    os.environ["PIPELINE_HOME"] = str(load_settings().home / SANDBOX_FOLDER)
    # Any address: reading a ledger connects nowhere, but it must be told apart from a live one.
    os.environ.setdefault("PIPELINE_FETCH__CONNECT_TO", "127.0.0.1:1")
    return load_settings()


@contextmanager
def opened(*, sandbox: bool) -> Iterator[Platform]:
    """The platform for reading; refuses a home that holds nothing yet."""
    settings = sandbox_settings() if sandbox else load_settings()
    if settings.database_url is None and not (settings.home / "ledger.db").exists():
        other = settings.home / SANDBOX_FOLDER / "ledger.db"
        hint = "Results of the sandbox are shown with --sandbox." if other.exists() else ""
        raise UsageError(
            f"There is nothing in {settings.home} yet: `pipeline run FILE` begins. {hint}".strip()
        )
    platform = Platform.open(settings)
    try:
        yield platform
    finally:
        platform.close()


def list_names(platform: Platform, name: str | None) -> list[str]:
    """The lists asked for: the named one, or all.

    Raises:
        UsageError: there is no such list.
    """
    names = platform.ledger.lists.names()
    if name is None:
        return names
    if name not in names:
        known = ", ".join(names) or "none yet"
        raise UsageError(f"There is no list {name!r}. Lists: {known}.")
    return [name]
