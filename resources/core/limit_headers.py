"""What limit headers say: how long to wait because nothing is left, in the forms that are in use.

    X-RateLimit-Remaining: 0            X-RateLimit-Reset: 12 | 1800000000 | 2027-01-15T08:00:00Z
    X-RateLimit-Remaining: {"minute": 0, "day": 812}        (People Data Labs, one value a window)
    RateLimit-Remaining: 0              RateLimit-Reset: 12
    RateLimit: limit=100, remaining=0, reset=12     (IETF draft on RateLimit header fields, to 07)
    RateLimit: "burst";r=0;t=12, "day";r=812;t=9000                      (the same draft, from 08)

Retry-After is not here: `retry.parse_retry_after`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

# A reset above this is a moment (epoch seconds), below it a number of seconds.
_EPOCH_FROM = 1_000_000_000.0
# And above this one that is given in milliseconds: read as seconds, it is the year 5138.
_EPOCH_MS_FROM = 100_000_000_000.0
_PARAMETER = re.compile(r"([a-z]+)=(\d{1,10})(?!\d)", re.ASCII)
_PREFIXES = ("x-ratelimit-", "ratelimit-", "x-rate-limit-")


def wait_until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the window that is used up begins anew; None where something is left.

    Args:
        headers: Of an answer, names in lower case.
        now: Epoch seconds.

    >>> wait_until_reset({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "12"}, now=0.0)
    12.0
    """
    combined = _combined_wait(headers.get("ratelimit", "").lower())
    if combined is not None:
        return combined
    for prefix in _PREFIXES:
        remaining = _windows(headers.get(f"{prefix}remaining"))
        resets = _windows(headers.get(f"{prefix}reset"))
        spent = [window for window, left in remaining.items() if _is_zero(left)]
        waits = [
            wait
            for window in spent
            if window in resets and (wait := _seconds(resets[window], now)) is not None
        ]
        if waits:
            return max(waits)
    return None


def reset_wait(headers: Mapping[str, str], now: float) -> float | None:
    """The same for an answer that says "too many requests" without saying which window is spent:
    the soonest reset then."""
    wait = wait_until_reset(headers, now)
    if wait is not None:
        return wait
    for prefix in _PREFIXES:
        resets = _windows(headers.get(f"{prefix}reset")).values()
        waits = [wait for text in resets if (wait := _seconds(text, now)) is not None]
        if waits:
            return min(waits)
    return None


def _combined_wait(value: str) -> float | None:
    """The wait that the one header says which has both numbers; the longest of its windows."""
    windows = [value] if "remaining=" in value else value.split(",")
    waits = []
    for window in windows:
        numbers = dict(_PARAMETER.findall(window))
        left = numbers.get("remaining", numbers.get("r"))
        reset = numbers.get("reset", numbers.get("t"))
        if left is not None and int(left) == 0 and reset is not None:
            waits.append(float(reset))
    return max(waits, default=None)


def _windows(value: str | None) -> dict[str, str]:
    """A header's values by window; one without windows under the empty name."""
    text = (value or "").strip()
    if not text.startswith("{"):
        return {"": text.strip("\"'")} if text else {}
    try:
        data = json.loads(text.replace("'", '"'))
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(entry) for key, entry in data.items()} if isinstance(data, dict) else {}


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _seconds(text: str, now: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return _until(text, now)
    if not math.isfinite(number) or number < 0:
        return None
    if number >= _EPOCH_MS_FROM:
        number /= 1000.0
    return max(0.0, number - now) if number >= _EPOCH_FROM else number


def _until(text: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, math.ceil(aware.timestamp() - now))
