"""One `pipeline run`: drives Dagster in this process until a list is settled, as far as it can be.

Phases in order, each in a run of its own over the batches that need it; then profiles and the
directory where something new has settled; with a time to wait, again as soon as domains are due.
What is settled costs nothing: a second call does no work.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dagster import DagsterInstance

from pipeline_assets.instance import Runs
from pipeline_assets.jobs import JOB_OF
from pipeline_assets.recording import DUE_ONLY_TAG, SCOPE_TAG
from resources.adapters.ledger.lists import IngestReport
from resources.adapters.ledger.watermarks import DIRECTORY_WANTED
from resources.artifact_writer import ASSET_OF, MANIFEST_ASSET
from resources.core.batches import contiguous_ranges
from resources.core.errors import RULES, FailureKind
from resources.core.models import FETCHING, Phase
from resources.core.tallies import Tally, comes_back, sum_up
from resources.healing import MOST_BATCHES_PER_RUN
from resources.platform import Platform
from resources.profile_builder import ASSET as PROFILES

MAX_PAUSE_S = 30.0


@dataclass(slots=True)
class Outcome:
    """What one invocation did, and where the list stands.

    Args:
        ingest: What became of the file's rows.
        batches: Batch keys of the whole list.
        tallies: Per phase, the whole list.
        seconds: Per phase, spent in this invocation.
        calls: (calls, credits) by provider in this invocation.
        pages: Pages fetched in this invocation.
        failures: What failed runs said, newest last.
        is_built: Whether profiles and directory are as new as what has settled.
    """

    ingest: IngestReport
    batches: Sequence[str] = ()
    unsettled_batches: int = 0
    tallies: dict[Phase, Tally] = field(default_factory=dict)
    seconds: dict[Phase, float] = field(default_factory=dict)
    calls: dict[str, tuple[int, float]] = field(default_factory=dict)
    pages: int = 0
    failures: Sequence[str] = ()
    is_built: bool = True

    @property
    def is_finished(self) -> bool:
        return self.unsettled_batches == 0 and self.is_built


class Invocation:
    """Works on one list.

    Args:
        say: Told one line when something begins or is worth knowing.
        stop: Once set, nothing more is begun.
        only: Work on this phase alone.
    """

    def __init__(
        self,
        platform: Platform,
        instance: DagsterInstance,
        runs: Runs,
        say: Callable[[str], None],
        stop: threading.Event,
        only: Phase | None = None,
    ) -> None:
        self._platform = platform
        self._instance = instance
        self._runs = runs
        self._say = say
        self._stop = stop
        self._only = only
        self._scope = str(uuid.uuid4())
        self._seconds: dict[Phase, float] = {}
        self._failures: list[str] = []
        self._is_built = True
        self._started_at = platform.clock.now()

    def run(self, report: IngestReport, wait_s: float) -> Outcome:
        """Do all that can be done now; then wait and go on for up to `wait_s` seconds.

        Raises:
            LeaseLost: this process stood still for so long that others work on its domains.
        """
        ledger = self._platform.ledger
        keys = [batch.key for batch in ledger.lists.batches_of(report.list_name)]
        # Wanted from now on: what this command leaves, however it ends, is healed by itself.
        wanted = list(self._phases(FETCHING))
        ledger.requests.ask_by_person(keys, wanted, scope=self._scope, now=self._started_at)
        if Phase.PROFILE_BUILD in self._phases(tuple(Phase)):
            ledger.watermarks.set(DIRECTORY_WANTED, self._started_at)
            ledger.requests.release(
                [(Phase.PROFILE_BUILD, key) for key in keys], now=self._started_at
            )
        ledger.budgets.limit_of(self._scope, self._platform.settings.max_credits, self._started_at)
        ledger.drivers.begin(self._scope, self._started_at)
        try:
            return self._drive(report, keys, wait_s)
        finally:
            ledger.drivers.end(self._scope, self._platform.clock.now())

    def _drive(self, report: IngestReport, keys: Sequence[str], wait_s: float) -> Outcome:
        reaped = self._runs.reap()
        if reaped:
            self._say(f"{len(reaped)} run(s) of a killed process were closed; going on from there.")
        self._take_in(keys)
        give_up_at = time.monotonic() + wait_s
        tags = {SCOPE_TAG: self._scope}
        while True:
            for phase in self._phases(FETCHING):
                self._work_on(phase, keys, tags)
            if Phase.PROFILE_BUILD in self._phases(tuple(Phase)):
                self._build(keys, tags)
            pause_s = self._pause(keys)
            left_s = give_up_at - time.monotonic()
            if pause_s is None or pause_s > left_s:
                break
            now = self._platform.clock.now()
            self._platform.ledger.drivers.beat(self._scope, now, waits_until=now + pause_s)
            if pause_s >= 1:
                self._say(f"Waiting {pause_s:.0f} s until the next domains are due.")
            self._stop.wait(pause_s)
            self._check_stop()
            tags = {SCOPE_TAG: self._scope, DUE_ONLY_TAG: "true"}
        for phase in self._phases(FETCHING):
            self._record_settled(phase, keys, tags)
        return self._outcome(report, keys)

    def _phases(self, wanted: Sequence[Phase]) -> Sequence[Phase]:
        return [phase for phase in wanted if self._only in (None, phase)]

    def _take_in(self, keys: Sequence[str]) -> None:
        self._runs.add_partitions(keys)
        missing = self._runs.unrecorded(MANIFEST_ASSET, keys)
        for start, end in self._ranges(missing):
            self._report(self._runs.run_range("take_in", start, end, {SCOPE_TAG: self._scope}))

    def _work_on(self, phase: Phase, keys: Sequence[str], tags: dict[str, str]) -> None:
        is_by_person = DUE_ONLY_TAG not in tags
        if is_by_person:
            self._platform.ledger.work.make_due(phase, keys)
        tallies = self._platform.ledger.work.tallies(phase, keys)
        now = self._platform.clock.now()
        open_keys = [
            key
            for key in keys
            if tallies[key].unsettled or _has_due_refresh(tallies[key], now, is_by_person)
        ]
        # Settled in the ledger, but Dagster does not know: a killed run. Logging costs no work.
        settled = [key for key in keys if not tallies[key].unsettled]
        wanted = set(open_keys) | set(self._runs.unrecorded(ASSET_OF[phase], settled))
        if not wanted:
            return
        domains = sum(tallies[key].open for key in open_keys)
        self._say(f"{phase}: {domains} domains in {len(open_keys)} batches.")
        started = time.monotonic()
        try:
            for start, end in self._ranges(wanted, bridge=settled):
                self._report(self._runs.run_range(JOB_OF[phase].name, start, end, tags))
        finally:
            spent = time.monotonic() - started
            self._seconds[phase] = self._seconds.get(phase, 0.0) + spent

    def _record_settled(self, phase: Phase, keys: Sequence[str], tags: dict[str, str]) -> None:
        """Log what another run has settled while ours failed on it: without work."""
        tallies = self._platform.ledger.work.tallies(phase, keys)
        settled = [key for key in keys if not tallies[key].unsettled]
        for start, end in self._ranges(self._runs.unrecorded(ASSET_OF[phase], settled)):
            self._report(self._runs.run_range(JOB_OF[phase].name, start, end, tags))

    def _build(self, keys: Sequence[str], tags: dict[str, str]) -> None:
        started = time.monotonic()
        # Of all lists: another one may hold a domain of ours, and the directory holds all of them.
        known = [batch.key for batch in self._platform.ledger.lists.batches_of()]
        stale = set(self._platform.profiles.stale(known)) & set(self._runs.all_partitions())
        built = set(self._platform.ledger.artifacts.of_asset(PROFILES)) & set(keys)
        stale |= set(self._runs.unrecorded(PROFILES, sorted(built)))
        stale -= self._held_profiles().difference(keys)
        said = []
        if stale:
            self._say(f"{Phase.PROFILE_BUILD}: {len(stale)} batches.")
            for start, end in self._ranges(stale):
                said.append(self._runs.run_range("build_profiles", start, end, tags))
                self._report(None)
        if self._platform.directory.is_stale():
            said.append(self._runs.run("write_directory", tags))
        self._is_built = not any(said)
        for one in said:
            self._report(one)
        spent = time.monotonic() - started
        self._seconds[Phase.PROFILE_BUILD] = self._seconds.get(Phase.PROFILE_BUILD, 0.0) + spent

    def _held_profiles(self) -> set[str]:
        """What a person cancelled; this command ends no hold but that of its own list."""
        wanted = self._platform.ledger.requests.all()
        return {
            key
            for (phase, key), one in wanted.items()
            if phase is Phase.PROFILE_BUILD and one.held_reason is not None
        }

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _report(self, failure: str | None) -> None:
        self._check_stop()
        self._platform.ledger.drivers.beat(self._scope, self._platform.clock.now())
        if failure is not None:
            self._platform.ledger.workers.require_process_unburied()
            self._failures.append(failure)
            self._say(failure)

    def _ranges(
        self, wanted: set[str] | Sequence[str], bridge: Sequence[str] = ()
    ) -> list[tuple[str, str]]:
        """Ranges that cover the wanted batches, each of at most `MOST_BATCHES_PER_RUN`."""
        if not wanted:
            return []
        keys = self._runs.all_partitions()
        places = {key: place for place, key in enumerate(keys)}
        ranges = []
        for start, end in contiguous_ranges(keys, set(wanted), bridge=set(bridge)):
            for first in range(places[start], places[end] + 1, MOST_BATCHES_PER_RUN):
                last = min(first + MOST_BATCHES_PER_RUN - 1, places[end])
                ranges.append((keys[first], keys[last]))
        return ranges

    def _pause(self, keys: Sequence[str]) -> float | None:
        """Seconds until something is due again, or None when no wait helps."""
        now = self._platform.clock.now()
        pauses = []
        for phase in self._phases(FETCHING):
            total = sum_up(self._platform.ledger.work.tallies(phase, keys).values())
            for due_at in (total.next_round_at, total.next_refresh_at):
                if due_at is not None:
                    pauses.append(max(0.05, due_at - now))
            if any(comes_back(kind) for kind in (*total.waiting_kinds, *total.refreshing_kinds)):
                pauses.append(MAX_PAUSE_S)
            if total.claimed or total.refreshing_claimed:
                # Another run of a list that shares a domain; it may settle it, or give it back.
                pauses.append(MAX_PAUSE_S)
        return min(pauses, default=None)

    def _outcome(self, report: IngestReport, keys: Sequence[str]) -> Outcome:
        ledger = self._platform.ledger
        outcome = Outcome(report, keys, seconds=self._seconds, failures=self._failures)
        outcome.is_built = self._is_built
        unsettled: set[str] = set()
        for phase in Phase:
            tallies = ledger.work.tallies(phase, keys)
            outcome.tallies[phase] = sum_up(tallies.values())
            if self._only in (None, phase):
                unsettled |= {key for key in keys if tallies[key].unsettled}
        outcome.unsettled_batches = len(unsettled)
        outcome.calls = ledger.calls.spent(self._scope)
        outcome.pages = ledger.pages.count_since(self._started_at)
        return outcome


def _has_due_refresh(tally: Tally, now: float, is_by_person: bool) -> bool:
    """Whether a settled domain of a batch is to be worked on again now.

    What waits for a person is tried when a person begins the run, as unsettled domains are.
    """
    if tally.next_refresh_at is not None and tally.next_refresh_at <= now:
        return True
    return any(
        comes_back(kind) or (is_by_person and RULES[FailureKind(kind)].needs_person)
        for kind in tally.refreshing_kinds
    )
