"""What a test needs from its machine: skipped with the reason where it is missing, failed in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


def missing(reason: str) -> None:
    """Skip for a missing part of the machine; fail where everything must be there."""
    if os.environ.get("PIPELINE_TESTS_REQUIRE_ALL"):
        pytest.fail(f"{reason} (and PIPELINE_TESTS_REQUIRE_ALL is set)")
    pytest.skip(reason)


def shared_data(name: str) -> Path:
    """A file or folder of the shared data beside the repository."""
    path = DATA / name
    if not path.exists():
        missing(f"the shared data folder has no {name}")
    return path
