"""new_domains: lists dropped into the inbox become batches and runs, by themselves.

What becomes of a file is in `resources/inbox_intake`; here its batches become partitions, and their
manifests are written. Healing them is not done here (`heal_batches`), and switching it off does not
keep lists from being taken in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from pipeline_assets.jobs import take_in
from pipeline_assets.partitions import BATCHES, RANGE_END, RANGE_START
from resources.adapters.ledger.inbox import InboxFiles
from resources.alerts import tell
from resources.artifact_writer import MANIFEST_ASSET
from resources.core.alerting import INBOX_TOPICS, Topic, Trouble
from resources.core.batches import contiguous_ranges
from resources.core.config import load_settings
from resources.core.inbox_report import IntakeReport
from resources.inbox_intake import InboxIntake
from resources.inbox_requests import missing_partitions, unwritten_manifests
from resources.platform import Platform
from resources.sensor_watch import NEW_DOMAINS, NEW_DOMAINS_EVERY_S
from sensors.dagster_state import DagsterState, RunTarget
from sensors.faults import Faults

# The daemon asks its database about each of them; what is left comes with the next tick.
MOST_NEW_PARTITIONS = 500
MOST_BATCHES_PER_RUN = 200
# More would only wait in Dagster's queue, in front of what a person asks for.
MOST_RUNS = 4
# A run that failed to write its manifests is followed by another one, but not at once.
MANIFESTS_AGAIN_S = 900.0


@sensor(
    name=NEW_DOMAINS,
    job=take_in,
    minimum_interval_seconds=round(NEW_DOMAINS_EVERY_S),
    default_status=DefaultSensorStatus.RUNNING,
    description="Takes in the lists that are dropped into the inbox (PIPELINE_INBOX, or "
    "HOME/inbox), once they are whole: their new domains become batches, which are worked on by "
    "themselves. A file that cannot be used is set aside with a report.",
)
def new_domains(context: SensorEvaluationContext) -> Iterator[SensorResult]:
    with Platform.opened(load_settings()) as platform:
        report = InboxIntake(platform.settings, platform.ledger, platform.clock).look()
        state = DagsterState(context.instance)
        new = missing_partitions(platform.ledger, state.order)[:MOST_NEW_PARTITIONS]
        requests = manifest_runs(
            [*state.order, *new],
            unwritten_manifests(platform.ledger),
            state.under_way(),
            platform.clock.now(),
        )
        yield SensorResult(
            run_requests=requests,
            skip_reason=None if requests else SkipReason(report.note),
            dynamic_partitions_requests=[BATCHES.build_add_request(new)] if new else [],
        )
        # What goes wrong here must not keep the runs from being asked for.
        faults = Faults()
        with faults.apart("alerts"):
            for sentence in (*report.troubles, *tell_of(platform, report)):
                context.log.warning(sentence)
        for fault in faults.found:
            context.log.error(fault.stack)
        # Last: a tick that is given up half-way is none.
        platform.ledger.ticks.note(
            NEW_DOMAINS, NEW_DOMAINS_EVERY_S, report.note, platform.clock.now()
        )


def tell_of(platform: Platform, report: IntakeReport) -> list[str]:
    """Tell people what is wrong with the inbox, and which files were set aside.

    A file that was set aside just before a crash is told of at the next tick.

    Returns: why files were set aside, and what kept a message from being sent.
    """
    files = InboxFiles(platform.ledger.database)
    untold = files.untold()
    now = platform.clock.now()
    events = [Trouble(Topic.LIST_SET_ASIDE, one.file, one.sentence) for one in untold.values()]
    problems = tell(
        platform.ledger, platform.settings, report.lasting, events, now, about=INBOX_TOPICS
    )
    files.told(untold, now)
    return [*(one.sentence for one in untold.values()), *problems]


def manifest_runs(
    order: Sequence[str], unwritten: Sequence[str], under_way: Sequence[RunTarget], now: float
) -> list[RunRequest]:
    """Runs that write the manifests which no run is about to write.

    Args:
        order: All partitions in Dagster's order, those that are added now included.
        unwritten: Batches whose manifest is missing.
        under_way: Runs that have not ended.
        now: Epoch seconds.
    """
    busy = [target for target in under_way if MANIFEST_ASSET in target.assets]
    in_hand = {key for target in busy for key in target.keys}
    places = {key: place for place, key in enumerate(order)}
    wanted = [key for key in unwritten if key in places and key not in in_hand]
    requests = []
    for start, end in contiguous_ranges(order, wanted):
        for first in range(places[start], places[end] + 1, MOST_BATCHES_PER_RUN):
            last = min(first + MOST_BATCHES_PER_RUN - 1, places[end])
            requests.append(
                RunRequest(
                    run_key=f"take_in:{order[first]}:{order[last]}:{now // MANIFESTS_AGAIN_S:.0f}",
                    tags={RANGE_START: order[first], RANGE_END: order[last]},
                )
            )
    return requests[: max(0, MOST_RUNS - len(busy))]
