"""Which batches' profiles are not up to date: only what may have changed since the last look is
looked at, however long some of them stay stale.
"""

from __future__ import annotations

from collections.abc import Mapping

from resources.artifact_writer import ASSET_OF
from resources.core.models import FETCHING, Phase
from resources.core.recovery import Request
from resources.platform import Platform

PROFILES_CHECKED = "profiles_checked_until"
# Clocks of several machines, and transactions that end later than they began.
OVERLAP_S = 120.0


def stale_profiles(
    platform: Platform, requests: Mapping[tuple[Phase, str], Request], now: float
) -> dict[str, str]:
    """Find batches whose profiles are missing or older than what has settled since.

    Args:
        requests: Everything that is wanted: of a list whose domains another one had settled before,
            nothing settles any more.
        now: Epoch seconds; from then on the next look looks.

    Returns: what each would be built from, by batch key; batches that nobody wants among them.
    """
    ledger = platform.ledger
    since = ledger.watermarks.get(PROFILES_CHECKED) - OVERLAP_S
    known = ledger.stale_profiles.all()
    built = ledger.artifacts.fingerprints(ASSET_OF[Phase.PROFILE_BUILD])
    candidates = ledger.work.batches_settled_since(since)
    candidates |= {
        key
        for (phase, key), request in requests.items()
        if phase in FETCHING and request.requested_at >= since
    }
    candidates |= {key for key, value in known.items() if built.get(key) == value}
    found = platform.profiles.stale_fingerprints(sorted(candidates))
    ledger.stale_profiles.change(
        {key: value for key, value in found.items() if known.get(key) != value},
        {key: value for key, value in known.items() if key in candidates and key not in found},
    )
    ledger.watermarks.set(PROFILES_CHECKED, now)
    return {key: value for key, value in known.items() if key not in candidates} | found
