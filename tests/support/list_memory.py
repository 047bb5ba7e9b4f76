"""What reading a list takes, in a process of its own: this one's memory has seen other tests."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.requirements import ROOT

_READS = """
import json, sys
from pathlib import Path
from resources.adapters.list_reader import ListError, open_list
import resources.adapters.list_parquet, resources.adapters.list_workbook
def peak():  # getrusage would tell that of the process which started this one, too
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
before = peak()
rows, refusal = 0, ""
try:
    for row in open_list(Path(sys.argv[1])):
        rows += 1
except ListError as error:
    refusal = str(error)
print(json.dumps([rows, refusal, (peak() - before) / 1024]))
"""


@dataclass(frozen=True)
class Reading:
    """How a list was read.

    Args:
        refusal: Why it was not, in words; empty where it was.
        megabytes: What the process took at most beyond what it had before.
    """

    rows: int
    refusal: str
    megabytes: float


def read_apart(path: Path, timeout_s: float = 120) -> Reading:
    """Read a list to its end."""
    done = subprocess.run(
        [sys.executable, "-c", _READS, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows, refusal, megabytes = json.loads(done.stdout)
    return Reading(rows, refusal, megabytes)
