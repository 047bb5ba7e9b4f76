"""Backfills that ended before their time: whose decision that was, and what they never launched.

Dagster cancels the runs of a backfill when a person cancels it, and also when the backfill itself
fails; the runs look the same. What a cancelled backfill was still to run is nobody's any more, and
a person wanted it so: it is held as if a run over it had been cancelled.
"""

from __future__ import annotations

from dagster import DagsterInstance, DagsterRun
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)

from resources.core.models import FETCHING, Phase
from resources.core.run_recovery import RunEnding
from resources.platform import Platform
from sensors.dagster_state import BACKFILL, PHASE_OF, DagsterState
from sensors.faults import Faults

HELD = (
    "its backfill was cancelled by a person; `pipeline retry --batch KEY`, or a run that a person "
    "starts, goes on"
)
# The newest ones; each is read whole, with all its partitions.
MOST_LOOKED_AT = 20
_CANCELLED = (BulkActionStatus.CANCELING, BulkActionStatus.CANCELED)
_FAILED = (BulkActionStatus.FAILING, BulkActionStatus.FAILED)


def is_of_failed_backfill(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether a run belongs to a backfill that fails: Dagster then cancels what it has launched."""
    backfill_id = run.tags.get(BACKFILL)
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    return backfill is not None and backfill.status in _FAILED


def hold_targets_of_cancelled(
    state: DagsterState, platform: Platform, now: float, faults: Faults
) -> None:
    """Hold what cancelled backfills were to run and is not finished, each of them once.

    Args:
        faults: Takes the backfills on which that fails; they are looked at again the next time.
    """
    found = state.instance.get_backfills(
        filters=BulkActionsFilter(statuses=list(_CANCELLED)), limit=MOST_LOOKED_AT
    )
    known = platform.ledger.runs.known_endings([one.backfill_id for one in found])
    for backfill in found:
        if backfill.backfill_id not in known:
            with faults.apart(f"backfill {backfill.backfill_id}"):
                _hold_targets(state, platform, backfill, now)


def _hold_targets(
    state: DagsterState, platform: Platform, backfill: PartitionBackfill, now: float
) -> None:
    ledger, backfill_id = platform.ledger, backfill.backfill_id
    # What a person has wanted anew since then is not held.
    cancelled_at = backfill.backfill_end_timestamp or now
    targets: dict[Phase, list[str]] = {}
    for asset, key in state.targets_of(backfill):
        if asset in PHASE_OF:
            targets.setdefault(PHASE_OF[asset], []).append(key)
    with ledger.database.write():
        # Its end is noted as that of a run is: ids of both are unique.
        ending = RunEnding.CANCELLED_BY_USER
        ledger.runs.note_ending(backfill_id, ending, "A person cancelled the backfill.", now)
        for phase, keys in targets.items():
            if phase in FETCHING:
                ledger.requests.hold(keys, phase, HELD, cancelled_at)
                continue
            # They are built without a request of their own, but not against a hold.
            stale = platform.profiles.stale(keys)
            ledger.requests.ask(stale, [phase], scope=backfill_id, now=cancelled_at)
            ledger.requests.hold(stale, phase, HELD, cancelled_at)
