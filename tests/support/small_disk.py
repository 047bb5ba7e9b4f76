"""A disk so small that a test can fill it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.requirements import missing


class SmallDisk:
    """A file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(b"x" * 4096)

    def make_room(self) -> None:
        """Take out what filled it."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, kilobytes: int) -> Iterator[SmallDisk]:
    """Mount one at a path that is made; only root may, and not in every container."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        missing("only root can mount a small disk")
    path.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k,mode=755", "tmpfs"]
    made = subprocess.run([mount, *options, str(path)], capture_output=True, check=False)
    if made.returncode != 0:
        missing("a small disk cannot be mounted here")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
