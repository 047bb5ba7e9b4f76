"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long one example takes depends on what else the machine does; time is tested elsewhere.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")
