"""A watch on the watchers: sees that sensors tick and don't fail, from another process than theirs.

What counts as silent is decided in `core/watch`; how people are told is in `resources/alerts`. It
starts nothing again: that is the supervisor's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from pipeline_assets.dagster_ticks import bring_back_ticks, failing_sensors
from pipeline_assets.instance import open_instance
from resources.adapters.clock import SystemClock
from resources.alerts import tell
from resources.core.alerting import WATCH_TOPICS
from resources.core.config import Settings
from resources.core.errors import UsageError
from resources.core.ports import Clock
from resources.core.redaction import redact
from resources.core.watch import listening_since, silent, troubles_of
from resources.ledger_outage import LedgerOutage
from resources.platform import Platform
from resources.sensor_watch import expected_sensors

LOOK_S = 30.0
_log = logging.getLogger(__name__)


class Watchman:
    """Looks at the ledger's ticks, and has people told who is silent.

    Args:
        expected: Seconds from one tick to the next, of each sensor that is to tick.
        say: Takes a sentence for whoever sits in front of it; each is said once in a row.
    """

    def __init__(
        self,
        settings: Settings,
        expected: dict[str, float],
        say: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._expected = expected
        self._say = say
        self._clock = clock
        self._outage = LedgerOutage(settings)
        self._listening_since = self._looked_at = clock.now()
        self._said: frozenset[str] = frozenset()

    def look_whatever_happens(self) -> None:
        """Look once; say what nobody foresaw, for who watches must not end by it."""
        try:
            self.look()
        except Exception as error:  # noqa: BLE001  # said here, with its stack in the log
            _log.exception("The watch on the sensors")
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            sentence = redact(f"The watch on the sensors failed ({what}); it looks again.")
            if sentence not in self._said:
                self._say(sentence)
            self._said = frozenset({sentence})

    def look(self) -> None:
        """Look once."""
        now = self._clock.now()
        try:
            with Platform.opened(self._settings) as platform:
                said = self._tell(platform, now)
        except (UsageError, SQLAlchemyError, OSError) as error:
            # Nobody could note a tick meanwhile: what is silent is found out anew afterwards.
            reason = redact(f"The ledger cannot be used. {error}".splitlines()[0])
            said = {"ledger": reason, **_by_itself(self._outage.away(reason, now))}
        else:
            said.update(_by_itself(self._outage.back(now)))
        for what, sentence in said.items():
            if what not in self._said:
                self._say(sentence)
        self._said = frozenset(said)

    def _tell(self, platform: Platform, now: float) -> dict[str, str]:
        """What is wrong, in sentences, by what it is about."""
        self._listening_since = listening_since(self._listening_since, self._looked_at, now, LOOK_S)
        self._looked_at = now
        ticks = {name: tick.at for name, tick in platform.ledger.ticks.all().items()}
        silences = silent(ticks, self._expected, now, self._listening_since)
        with open_instance(self._settings) as instance:
            bring_back_ticks(instance, now)
            failing = failing_sensors(instance, now)
        # A sensor that fails notes no tick of ours: that it does is the better word for it.
        names = {one.subject for one in failing}
        quiet = [one for one in troubles_of(silences) if one.subject not in names]
        troubles = [*quiet, *failing]
        problems = tell(platform.ledger, self._settings, troubles, [], now, about=WATCH_TOPICS)
        return {one.subject: one.sentence for one in troubles} | _by_itself(problems)


def _by_itself(sentences: Iterable[str]) -> dict[str, str]:
    return {sentence: sentence for sentence in sentences}


@contextmanager
def watching(settings: Settings, say: Callable[[str], None]) -> Iterator[None]:
    """Look every 30 seconds, in a thread, until the end."""
    watchman = Watchman(settings, expected_sensors(settings), say, SystemClock())
    is_over = threading.Event()

    def keep_looking() -> None:
        while not is_over.wait(LOOK_S):
            watchman.look_whatever_happens()

    thread = threading.Thread(target=keep_looking, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # A look under way may hang on a database that is away: nobody waits for it.
        is_over.set()
