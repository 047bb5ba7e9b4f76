"""What a test needs from its machine; skipped with the reason where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


def missing(reason: str) -> NoReturn:
    """Skip for a missing part of the machine; `tests/conftest.py` makes that a failure in CI."""
    pytest.skip(reason)


def shared_data(name: str) -> Path:
    """A file or folder of the shared data beside the repository."""
    path = DATA / name
    if not path.exists():
        missing(f"the shared data folder has no {name}")
    return path
