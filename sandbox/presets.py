"""The fault presets, in the same TOML that a file would have."""

from collections.abc import Callable
from pathlib import Path

from sandbox.faults import Faults, parse_faults
from sandbox.mistakes import UsageMistake

_MILD = """
[[fault]]
name = "host down for good"
kind = "status"
api = "site"
host_share = 0.005

[[fault]]
name = "site 503"
kind = "status"
api = "site"
rate = 0.010
retry_after = 1

[[fault]]
name = "site slow"
kind = "latency"
api = "site"
rate = 0.010
seconds = [0.2, 1.0]

[[fault]]
name = "site reset"
kind = "reset"
api = "site"
rate = 0.006

[[fault]]
name = "site truncated"
kind = "truncated"
api = "site"
rate = 0.006

[[fault]]
name = "site hangs"
kind = "hang"
api = "site"
rate = 0.002
hang_s = 3

[[fault]]
name = "pdl 429"
kind = "status"
api = "pdl"
status = 429
retry_after = 1
rate = 0.012

[[fault]]
name = "wikidata 429"
kind = "status"
api = "wikidata"
status = 429
retry_after = 1
rate = 0.012

[[fault]]
name = "rdap 429"
kind = "status"
api = "rdap"
status = 429
retry_after = 1
rate = 0.012

[[fault]]
name = "pdl 503"
kind = "status"
api = "pdl"
rate = 0.008

[[fault]]
name = "wikidata 503"
kind = "status"
api = "wikidata"
rate = 0.008

[[fault]]
name = "rdap 503"
kind = "status"
api = "rdap"
rate = 0.008
"""

_STORM = """
[[fault]]
name = "burst of 429, first"
kind = "status"
api = "pdl"
status = 429
retry_after = 2
rate = 0.9
from_s = 4
until_s = 7

[[fault]]
name = "burst of 429, second"
kind = "status"
api = "rdap"
status = 429
retry_after_date = true
retry_after = 2
rate = 0.9
from_s = 12
until_s = 15

[[fault]]
name = "429"
kind = "status"
status = 429
retry_after = 1
rate = 0.05

[[fault]]
name = "503"
kind = "status"
rate = 0.06

[[fault]]
name = "503 with a date"
kind = "status"
retry_after = 1
retry_after_date = true
rate = 0.01

[[fault]]
name = "slow"
kind = "latency"
rate = 0.05
seconds = [0.2, 2.0]

[[fault]]
name = "reset"
kind = "reset"
rate = 0.03

[[fault]]
name = "reset in mid-body"
kind = "reset"
after_bytes = 400
rate = 0.01

[[fault]]
name = "truncated"
kind = "truncated"
rate = 0.03

[[fault]]
name = "malformed"
kind = "malformed"
rate = 0.01

[[fault]]
name = "drip"
kind = "slow_body"
seconds = [1, 3]
rate = 0.01

[[fault]]
name = "redirect loop"
kind = "redirect_loop"
api = "site"
rate = 0.005

[[fault]]
name = "hang"
kind = "hang"
hang_s = 3
rate = 0.01
"""

_OUTAGE = """
[[fault]]
name = "pdl away"
kind = "outage"
api = "pdl"
until_s = 30

[[fault]]
name = "hosts away"
kind = "outage"
api = "site"
host_share = 0.3
until_s = 30
"""

PRESETS = {"none": "", "mild": _MILD, "storm": _STORM, "outage": _OUTAGE}


def read_faults(wanted: str, seed: int, clock: Callable[[], float]) -> Faults:
    """Return the faults of a preset, or of a TOML file when there is no preset of that name.

    Raises:
        UsageMistake: it is neither, or the file's TOML is wrong.
    """
    if wanted in PRESETS:
        return preset_faults(wanted, seed, clock)
    path = Path(wanted)
    if not path.is_file():
        raise UsageMistake(
            f"the faults {wanted!r} are neither a preset nor a file; "
            f"use one of {', '.join(PRESETS)}, or the path of a TOML file"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageMistake(f"cannot read the faults file {path}: {error}; mend it") from error
    return parse_faults(text, str(path), seed, clock)


def preset_faults(name: str, seed: int, clock: Callable[[], float]) -> Faults:
    """Return the faults of a preset.

    Raises:
        UsageMistake: there is no preset of that name.
    """
    if name not in PRESETS:
        raise UsageMistake(f"no fault preset {name!r}; use one of {', '.join(PRESETS)}")
    return parse_faults(PRESETS[name], name, seed, clock)
