"""Puts Dagster's record right where the ledger says settled and Dagster does not show it.

A run that was killed after its last domain had settled leaves such partitions, and one that failed
before it logged anything turns materialised ones into failed ones. No run is needed: what a run
would have logged is reported from outside.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterInstance

from pipeline_assets.company_profiles import UPSTREAM, record_profiles
from pipeline_assets.dagster_records import PartitionLog, Upstream
from pipeline_assets.recording import record_settled
from resources.artifact_writer import MANIFEST_ASSET
from resources.core.models import FETCHING, Phase
from resources.healing import Key
from resources.platform import Platform
from sensors.faults import Faults

# A tick has other things to do; what is left comes with the next one.
MOST_AT_ONCE = 100


def mend(
    instance: DagsterInstance, platform: Platform, wanted: Sequence[Key], faults: Faults
) -> list[Key]:
    """Report partitions as materialised that are settled, at most `MOST_AT_ONCE`.

    Args:
        faults: Takes the batches on which that fails.

    Returns: those that were; what is not settled any more is left alone.
    """
    log = PartitionLog.without_run(instance)
    mended: list[Key] = []
    by_phase: dict[Phase, list[str]] = {}
    for phase, key in _in_turn(wanted, platform.clock.now())[:MOST_AT_ONCE]:
        by_phase.setdefault(phase, []).append(key)
    for phase, keys in by_phase.items():
        if phase not in FETCHING:
            upstream = Upstream(instance, UPSTREAM, keys)
            for key in keys:
                with faults.apart(f"{key} in {phase}"):
                    record_profiles(log, platform, upstream, key)
                    mended.append((phase, key))
            continue
        upstream = Upstream(instance, [MANIFEST_ASSET], keys)
        tallies = platform.ledger.work.tallies(phase, keys)
        for key in keys:
            if tallies[key].unsettled == 0:
                with faults.apart(f"{key} in {phase}"):
                    record_settled(log, platform, phase, upstream, key, tallies[key])
                    mended.append((phase, key))
    return mended


def _in_turn(wanted: Sequence[Key], now: float) -> list[Key]:
    """Beginning somewhere else each minute: those that fail again and again must not be the only
    ones that are tried."""
    if len(wanted) <= MOST_AT_ONCE:
        return list(wanted)
    start = int(now // 60.0) * MOST_AT_ONCE % len(wanted)
    return [*wanted[start:], *wanted[:start]]
