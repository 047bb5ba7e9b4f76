"""`pipeline doctor` on alerts: whether there is a channel, can be used, and was reached lately."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.commands.doctor_checks import Check, Level
from pipeline_assets.commands.wording import many, span
from resources.adapters.ledger.alert_channels import AlertChannels, ChannelProblem
from resources.adapters.ledger.database import Database
from resources.adapters.ledger.schema import alert_channels
from resources.adapters.notifier import channels, unusable_urls
from resources.core.config import Settings
from resources.core.errors import UsageError

_NAME = "alerts"


def of_alerts(settings: Settings) -> Iterator[Check]:
    """A line for each channel that nobody hears anything through; one where all is well."""
    known = channels(settings)
    if not known:
        yield Check(
            Level.WARN,
            _NAME,
            "No channel is set: what is wrong is only seen in `pipeline status`.",
            "Set PIPELINE_ALERT_URLS to an Apprise address, such as mailto://... or slack://...",
        )
        return
    unusable = unusable_urls(settings)
    for name in unusable:
        yield Check(
            Level.FAIL,
            _NAME,
            f"{name} is no address that Apprise knows, so nobody is told through it.",
            "Correct it; a comma inside of an address is written %2C.",
        )
    names = {one.name for one in known}.difference(unusable)
    failing = [one for one in _problems(settings) if one.name in names]
    now = time.time()
    for one in failing:
        yield Check(
            Level.FAIL,
            _NAME,
            f"{one.sentence} That began {span(max(0.0, now - one.since))} ago.",
            "Check the address and the service behind it; what was not sent is sent once it takes "
            "messages again.",
        )
    well = len(names) - len(failing)
    if well:
        yield Check(Level.OK, _NAME, f"{many(well, 'channel')} without a known problem")


def _problems(settings: Settings) -> Sequence[ChannelProblem]:
    """What the ledger knows; one that is missing, older or away knows nothing."""
    if settings.database_url is None and not (settings.home / "ledger.db").exists():
        return []
    try:
        with closing(Database(settings.ledger_url)) as database:
            with database.read() as connection:
                columns = inspect(connection).get_columns(alert_channels.name)
            has_pauses = any(column["name"] == "next_try_at" for column in columns)
            return AlertChannels(database).problems() if has_pauses else []
    except (SQLAlchemyError, UsageError, ImportError):
        return []  # the check of the ledger says why
