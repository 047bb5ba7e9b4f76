"""What must be true of a lane once it is healed, whatever the fault was."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.campaigns.checks import FETCHING, PARTITIONED, PHASES, UNSETTLED, Check
from tests.campaigns.healing_place import Place
from tests.campaigns.healing_play import check
from tests.campaigns.healing_records import Lane
from tests.campaigns.healing_waits import TooLate, until

RECORDED = ("domain_batches", *PARTITIONED)


def finish_s(place: Place) -> float:
    """How long profiles, directory and Dagster's records may take after the last domain.

    Profiles and the directory come with a tick each, and a run takes its time.
    """
    return 4 * place.heal_s + 120


def check_lane(place: Place, lane: Lane) -> list[Check]:
    """Wait until profiles and records are there too, and check everything about a lane."""
    began_at = time.monotonic()
    is_finished, said = True, ""
    try:
        until(lambda: not unfinished(place, lane), finish_s(place), f"{lane.prefix} is finished")
    except TooLate as error:
        is_finished, said = False, f"{error}: {unfinished(place, lane)}"
    spent_s = time.monotonic() - began_at
    return [
        check(
            "profiles are built, and Dagster shows every partition materialised",
            is_finished,
            said or f"{len(lane.keys)} partitions of {len(RECORDED)} assets, {spent_s:.0f} s later",
        ),
        _settled_once(place, lane),
        _quarantined(place, lane),
        _paid_once(place, lane),
    ]


def unfinished(place: Place, lane: Lane) -> str:
    """What is left after the last domain has settled, in words; nothing once all is done."""
    if missing := place.records.unsettled(lane, "PROFILE_BUILD"):
        return f"{missing} profiles are not built"
    for asset in RECORDED:
        shown = place.dagster.statuses(asset)
        wrong = {key: shown.get(key) for key in lane.keys if shown.get(key) != "MATERIALIZED"}
        if wrong:
            return f"{asset}: {wrong}"
    under_way = [run.id for run in place.dagster.runs() if run.is_under_way and _is_of(run, lane)]
    return f"runs are under way: {under_way}" if under_way else ""


def _is_of(run: object, lane: Lane) -> bool:
    return bool(run.covers(lane.keys))  # type: ignore[attr-defined]


def _settled_once(place: Place, lane: Lane) -> Check:
    states, settlings = place.records.states(lane), place.records.settlings(lane)
    wrong: list[str] = []
    for phase in PHASES:
        for domain in lane.domains:
            state = states.get((phase, domain))
            times = settlings.get((phase, domain), 0)
            if state is None or state in UNSETTLED:
                wrong.append(f"{phase} {domain}: {state or 'lost'}")
            elif phase in FETCHING and times != 1:
                wrong.append(f"{phase} {domain}: settled {times} times")
    if len(states) != len(PHASES) * len(lane.domains):
        wrong.append(f"{len(states)} rows for {len(lane.domains)} domains")
    right = f"{len(lane.domains)} domains in {len(FETCHING)} phases"
    return check("every domain settled exactly once, none lost", not wrong, wrong or right)


def _quarantined(place: Place, lane: Lane) -> Check:
    states = place.records.states(lane)
    found = {pair for pair, state in states.items() if state == "quarantined"}
    name = "no domain is quarantined by mistake"
    if lane.quarantined:
        name = "the guilty domain is quarantined, and no other one"
    return check(name, found == lane.quarantined, sorted(found) or "none is")


def _paid_once(place: Place, lane: Lane) -> Check:
    billed = place.internet.calls()["billed"]["pdl"]
    mine = {domain: n for domain, n in billed.items() if domain.startswith(f"{lane.prefix}-")}
    again, in_doubt = sum(n - 1 for n in mine.values()), place.records.in_doubt()
    found = f"{len(mine)} bought, {again} of them again, {in_doubt} in doubt at kills"
    return check(
        "nothing is bought twice, but what was in doubt at a kill", again <= in_doubt, found
    )


def check_directory(place: Place, lanes: Sequence[Lane]) -> Check:
    """Wait until the directory holds everybody."""
    wanted = {domain for lane in lanes for domain in lane.domains}
    try:
        until(
            lambda: wanted <= place.records.directory(), finish_s(place), "the directory is whole"
        )
    except TooLate as error:
        missing = sorted(wanted - place.records.directory())
        return check("the directory holds everybody", False, f"{error}: {missing[:5]}")
    return check("the directory holds everybody", True, f"{len(wanted)} companies")
