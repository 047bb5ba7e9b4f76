"""The door into the ledger: opens the database, migrates its schema, hands out its parts."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from resources.adapters.ledger.alerts import Alerts
from resources.adapters.ledger.artifacts import Artifacts
from resources.adapters.ledger.breakers import Breakers
from resources.adapters.ledger.budgets import Budgets
from resources.adapters.ledger.calls import Calls
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.drivers import Drivers
from resources.adapters.ledger.lists import Lists
from resources.adapters.ledger.paces import Paces
from resources.adapters.ledger.pages import Pages
from resources.adapters.ledger.person_waits import PersonWaits
from resources.adapters.ledger.requests import Requests
from resources.adapters.ledger.runs import RunBook
from resources.adapters.ledger.schema import meta
from resources.adapters.ledger.stale_profiles import StaleProfiles
from resources.adapters.ledger.ticks import Ticks
from resources.adapters.ledger.watermarks import Watermarks
from resources.adapters.ledger.work import Work
from resources.adapters.ledger.workers import Workers
from resources.core.config import Settings
from resources.core.errors import UsageError


class Ledger:
    """All parts of the ledger on one database."""

    def __init__(self, database: Database, lease_s: float) -> None:
        self.database = database
        self.lists = Lists(database)
        self.work = Work(database)
        self.workers = Workers(database, lease_s)
        self.calls = Calls(database)
        self.pages = Pages(database)
        self.artifacts = Artifacts(database)
        self.breakers = Breakers(database)
        self.paces = Paces(database)
        self.requests = Requests(database)
        self.person_waits = PersonWaits(database)
        self.budgets = Budgets(database)
        self.drivers = Drivers(database)
        self.runs = RunBook(database)
        self.ticks = Ticks(database)
        self.watermarks = Watermarks(database)
        self.stale_profiles = StaleProfiles(database)
        self.alerts = Alerts(database)

    def close(self) -> None:
        self.database.close()

    def bind_internet(self, internet: str) -> None:
        """Let a ledger hold facts of one internet only, for ever.

        Raises:
            UsageError: it holds those of another one.
        """
        with self.database.write() as connection:
            connection.execute(
                self.database.insert_ignore(meta).values(key="internet", value=internet)
            )
            found = connection.execute(
                select(meta.c.value).where(meta.c.key == "internet")
            ).scalar_one()
        if found != internet:
            words = {
                "live": "the live internet",
                "connect_to": "a PIPELINE_FETCH__CONNECT_TO address",
            }
            raise UsageError(
                f"The ledger {self.database.name} holds facts from {words[found]}, and now "
                f"{words[internet]} is set: the two are never mixed. Use another PIPELINE_HOME, "
                "or set PIPELINE_FETCH__CONNECT_TO as before."
            )


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger that the settings name, creating and migrating it as needed.

    Raises:
        UsageError: it can't be opened; says which and why.
    """
    if settings.database_url is None:
        _make_folder(settings.home)
    ledger = Ledger(Database(settings.ledger_url), settings.lease)
    ledger.database.migrate()
    ledger.bind_internet(settings.internet)
    return ledger


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {path} cannot be made: {error.strerror}. "
            "Set PIPELINE_HOME to a folder that you may write to."
        ) from error
