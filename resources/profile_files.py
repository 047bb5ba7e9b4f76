"""Reads the profiles that were built, each company once: the newest where several lists hold it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from resources.adapters.ledger import Ledger
from resources.adapters.ledger.artifacts import Artifact
from resources.adapters.store import Store
from resources.profile_builder import ASSET


def newest_profiles(
    ledger: Ledger, store: Store, list_name: str | None, columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Profiles batch by batch, in the order of the lists, one batch in memory at a time.

    Args:
        list_name: Only that list's; None for all.
        columns: Columns to read; `domain` must be among them.
    """
    written = ledger.artifacts.of_asset(ASSET)
    batches = ledger.lists.batches_of(list_name)
    holders = _newest_holders(ledger, written, {batch.key for batch in batches})
    for batch in batches:
        artifact = written.get(batch.key)
        if artifact is None:
            continue
        table = store.read_table(artifact.path, columns)
        domains = table.column("domain").to_pylist()
        is_kept = [holders.get(domain, batch.key) == batch.key for domain in domains]
        yield table if all(is_kept) else table.filter(pa.array(is_kept))


def _newest_holders(
    ledger: Ledger, written: Mapping[str, Artifact], keys: set[str]
) -> dict[str, str]:
    """For each domain that several of the batches hold, the one whose profiles are newest."""
    holders = {}
    for domain, held_by in ledger.lists.shared_domains().items():
        built = [key for key in held_by if key in keys and key in written]
        if built:
            holders[domain] = max(built, key=lambda key: (written[key].at, key))
    return holders
