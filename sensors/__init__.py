"""What Dagster runs by itself: takes lists in, and heals. Decisions are in core."""
