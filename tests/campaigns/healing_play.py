"""What every case has in common: what it is, how work begins, when a fault hits, how long it took.

The cases themselves are in `healing_workers`, `healing_family`, `healing_people` and
`healing_outside`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.campaigns.checks import FETCHING, Check
from tests.campaigns.healing_place import LanePlan, Place
from tests.campaigns.healing_records import Lane, WorkerSeen
from tests.campaigns.healing_waits import until

JOBS = {"COMPANY_ENRICHMENT": "enrich_companies", "PAGE_SCRAPING": "scrape_pages"}
AT_WORK_S = 120.0


@dataclass(frozen=True)
class Played:
    """How a case went.

    Args:
        seconds: Until everything was settled.
        since: From when they are counted, in words.
        checks: What this case alone must show.
        bound_s: Where it is known only afterwards, the most that they may be.
    """

    seconds: float
    since: str
    checks: Sequence[Check] = ()
    bound_s: float | None = None


Play = Callable[[Place, Lane, Random], Played]


@dataclass(frozen=True)
class Case:
    """One fault and what must become of it.

    Args:
        fault: In words, for the report.
        bound_s: Most seconds until everything is settled; None where only the end counts.
        plan: Batches and domains in each; no batch where the case brings its own list.
        settings: What it needs beside the campaign's own.
        steps: What a person does in it, because it is a person's turn; nothing in most.
        rounds: How often it is played at most; None for as often as is asked for.
    """

    name: str
    fault: str
    bound_s: float | None
    play: Play
    plan: tuple[int, int] = (3, 4)
    settings: Mapping[str, str] = field(default_factory=dict)
    steps: str = ""
    is_trapped: bool = False
    needs_postgresql: bool = False
    rounds: int | None = None

    @property
    def prefix(self) -> str:
        """What its domains' names begin with."""
        return self.name.replace("-", "")

    @property
    def lane_plan(self) -> LanePlan:
        batches, size = self.plan
        return LanePlan(self.prefix, batches, size)


def begin(
    place: Place, lane: Lane, slow: Sequence[str] = (), phases: Sequence[str] = FETCHING
) -> dict[str, str]:
    """Launch a run for each phase, as a person does. Returns their ids by phase.

    Args:
        slow: Phases that are to take their time.
    """
    for phase in slow:
        place.internet.slow(lane, phase)
    return {phase: place.dagster.launch(JOBS[phase], lane.keys) for phase in phases}


def at_work(place: Place, lane: Lane, phase: str) -> WorkerSeen:
    """Wait until a worker has settled some of a lane, and has at least half of it still to do."""

    def find() -> WorkerSeen | None:
        worker = place.records.worker(lane, phase)
        settled = place.records.settled(lane, phase)
        return worker if worker and 0 < settled <= len(lane.domains) // 2 else None

    return until(find, AT_WORK_S, f"a worker is at {lane.prefix} in {phase}", poll_s=0.05)


def settled_since(place: Place, lane: Lane, since: float, bound_s: float) -> float:
    """Wait until every domain of both phases is settled. Returns the seconds that it took.

    One that comes too late is waited for all the same: by how much is of interest.
    """
    patience_s = since + 1.5 * bound_s + 60 - time.time()
    what = f"{lane.prefix} is settled"
    at = until(lambda: place.records.settled_at(lane), patience_s, what)
    return max(0.0, at - since)


def check(name: str, is_passed: bool, found: object) -> Check:
    """Something that must hold, with what was found."""
    return Check(name, is_passed, " ".join(str(found).split())[:600])
