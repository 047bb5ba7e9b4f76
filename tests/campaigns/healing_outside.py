"""Faults of the other side: a provider that is away, and one that does not know our key."""

from __future__ import annotations

import time
from random import Random

from tests.campaigns.checks import Check
from tests.campaigns.healing_place import Place
from tests.campaigns.healing_play import Case, Played, begin, check, settled_since
from tests.campaigns.healing_records import Lane
from tests.campaigns.healing_waits import until

BOUND_S = 120.0
COOL_DOWN_S = 5.0
# So many times it is found to be away still.
COOL_DOWNS = 3
TELL_AFTER_S = 8.0
_AWAY = 'kind = "status"\napi = "pdl"\nstatus = 503'
_SETTINGS = {
    "PIPELINE_CIRCUIT_BREAKER_TIMEOUT": f"{COOL_DOWN_S:g}",
    "PIPELINE_BREAKER_ALERT_AFTER": f"{TELL_AFTER_S:g}",
}


def _provider(place: Place, lane: Lane, random: Random) -> Played:
    place.internet.set("pdl away", _AWAY)
    began_at = time.time()
    begin(place, lane)

    def openings() -> list[float]:
        return [at for at in place.records.openings("pdl") if at >= began_at]

    until(lambda: len(openings()) >= COOL_DOWNS, 300, f"{COOL_DOWNS} cool-downs")
    words = ("pdl",)
    until(lambda: place.webhook.about(words, began_at), 120, "an alert about the provider")
    back_at = time.time()
    place.internet.clear("pdl away")
    opened = openings()
    cool_down_s = max(0.0, place.records.paused_until("pdl") - back_at)
    bound_s = cool_down_s + BOUND_S
    seconds = settled_since(place, lane, back_at, bound_s)
    told = _told(place, began_at)
    checks = [_few_runs(place, lane, opened, back_at), told]
    return Played(seconds, f"its return, {cool_down_s:.0f} s before a probe", checks, bound_s)


def _few_runs(place: Place, lane: Lane, opened: list[float], back_at: float) -> Check:
    """Each cool-down may end in one run that finds out; every other one would be in vain."""
    begun = [
        run.created_at
        for run in place.dagster.runs()
        if run.job == "enrich_companies" and run.is_by_reconciler and run.covers(lane.keys)
    ]
    counts = [
        sum(start <= at < end for at in begun)
        for start, end in zip(opened, [*opened[1:], back_at], strict=True)
    ]
    name = "at most one automatic run for each cool-down"
    return check(name, max(counts, default=0) <= 1, f"{counts} runs in {len(counts)} cool-downs")


def _told(place: Place, since: float) -> Check:
    """One message when it lasts, and one when it is over."""
    until(lambda: len(place.webhook.about(("pdl",), since)) >= 2, 2 * place.heal_s + 120, "the end")
    place.wait_for_ticks(1)
    found = [one.text for one in place.webhook.about(("pdl",), since)]
    return check("one alert, and one when it is over", len(found) == 2, found)


def _wrong_key(place: Place, lane: Lane, random: Random) -> Played:
    """The servers were started with it."""
    run = begin(place, lane)["COMPANY_ENRICHMENT"]
    until(lambda: not place.dagster.run(run).is_under_way, 180, "the run has ended")
    until(lambda: place.webhook.about(("auth",)), 2 * place.heal_s + 60, "an alert about the key")
    calls, runs = place.internet.requests_to("pdl"), len(_enriching(place, lane))
    place.wait_for_ticks(2)
    more = place.internet.requests_to("pdl") - calls
    begun = len(_enriching(place, lane)) - runs
    told = [one.text for one in place.webhook.about(("auth",))]
    waits = place.records.waiting_for(lane)
    checks = [
        check("no further call", more == 0, f"{calls} refused, {more} later"),
        check("no further run", begun == 0, f"{begun} runs"),
        check("one alert", len(told) == 1, told),
        check("all of it waits for the key", waits == {"auth": len(lane.domains)}, waits),
    ]
    right = place.internet.settings["PIPELINE_PROVIDERS__PDL__API_KEY"]
    place.restart(PIPELINE_PROVIDERS__PDL__API_KEY=right)
    asked = place.command("retry", "--kind", "auth")
    at = time.time()
    checks.append(check("`pipeline retry` takes it up", asked.code == 0, asked.err or "it does"))
    return Played(settled_since(place, lane, at, BOUND_S), "`pipeline retry`", checks)


def _enriching(place: Place, lane: Lane) -> list[str]:
    runs = place.dagster.runs()
    return [run.id for run in runs if run.job == "enrich_companies" and run.covers(lane.keys)]


CASES = [
    Case(
        "provider-down",
        f"provider down for {COOL_DOWNS} cool-downs (`circuit_breaker_timeout` = "
        f"{COOL_DOWN_S:g} s): one more and {BOUND_S:g} s",
        BOUND_S,
        _provider,
        settings=_SETTINGS,
    ),
    Case(
        "outage-of-200",
        "the same with 200 batches: 2 messages",
        BOUND_S,
        _provider,
        plan=(200, 1),
        settings=_SETTINGS,
    ),
    Case(
        "wrong-key",
        "a wrong API key, then the right one and `pipeline retry`",
        BOUND_S,
        _wrong_key,
        settings={"PIPELINE_PROVIDERS__PDL__API_KEY": "wrong"},
        steps="the right key, `pipeline retry`",
    ),
]
