"""What Dagster shows, and the command line."""

import warnings

# Partitioned checks and backfill policies are "beta" in the pinned Dagster; each use is tested.
warnings.filterwarnings("ignore", message=r".*is currently in (beta|preview).*")
