"""The partitions of all assets but the directory: one per batch, added when a list comes in."""

from dagster import BackfillPolicy, DynamicPartitionsDefinition

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

BATCHES = DynamicPartitionsDefinition(name="batches")

# Batches per run of a backfill. The profiles' number must differ from their parents': with the
# same number Dagster skips the child's whole run when one parent partition fails (adr/0002).
MANIFESTS_PER_RUN = BackfillPolicy.multi_run(200)
PHASE_PER_RUN = BackfillPolicy.multi_run(10)
PROFILES_PER_RUN = BackfillPolicy.multi_run(8)
