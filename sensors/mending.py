"""Puts Dagster's record right where the ledger says settled and Dagster does not show it.

A run that was killed after its last domain had settled leaves such partitions, and one that failed
before it logged anything turns materialised ones into failed ones. No run is needed: what a run
would have logged is reported from outside.
"""

from __future__ import annotations

from collections.abc import Iterable

from dagster import DagsterInstance

from pipeline_assets.company_profiles import UPSTREAM, record_profiles
from pipeline_assets.dagster_records import PartitionLog, Upstream
from pipeline_assets.recording import record_settled
from resources.artifact_writer import MANIFEST_ASSET
from resources.core.models import FETCHING, Phase
from resources.healing import Key
from resources.platform import Platform

# A tick has other things to do; what is left comes with the next one.
MOST_AT_ONCE = 100


def mend(instance: DagsterInstance, platform: Platform, wanted: Iterable[Key]) -> list[Key]:
    """Report partitions as materialised that are settled, at most `MOST_AT_ONCE`.

    Returns: those that were; what is not settled any more is left alone.
    """
    log = PartitionLog.without_run(instance)
    mended: list[Key] = []
    by_phase: dict[Phase, list[str]] = {}
    for phase, key in list(wanted)[:MOST_AT_ONCE]:
        by_phase.setdefault(phase, []).append(key)
    for phase, keys in by_phase.items():
        if phase not in FETCHING:
            upstream = Upstream(instance, UPSTREAM, keys)
            for key in keys:
                record_profiles(log, platform, upstream, key)
                mended.append((phase, key))
            continue
        upstream = Upstream(instance, [MANIFEST_ASSET], keys)
        tallies = platform.ledger.work.tallies(phase, keys)
        for key in keys:
            if tallies[key].unsettled == 0:
                record_settled(log, platform, phase, upstream, key, tallies[key])
                mended.append((phase, key))
    return mended
