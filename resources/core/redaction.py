"""Secrets stay out of every log, error, metadata value and file: one filter for all of them.

It knows the secret values of the settings (`remember`), and the shapes secrets have in URLs and
headers, so that also one that was never in the settings is hidden.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable

MASK = "***"
_SHORTEST = 6
_SHAPES = (
    # user:password@ in a URL
    re.compile(r"(?<=://)[^/\s:@]{0,200}:[^/\s@]{1,200}(?=@)"),
    # key=..., token=... in a query string or a settings line
    re.compile(
        r"(?i)(?<=[?&;\s\"'])((?:api[_-]?key|apikey|access[_-]?token|token|secret|password|passwd|"
        r"signature|auth)=)[^&\s\"']{1,500}"
    ),
    # Authorization: Bearer ..., X-Api-Key: ...
    re.compile(
        r"(?i)((?:authorization|x-api-key|apikey|cookie)[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+(?:\s+[^\s\"',}]+)?"
    ),
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{16,}"),
)
_known: set[str] = set()
_lock = threading.Lock()


def remember(secrets: Iterable[str]) -> None:
    """Add values that must never appear anywhere. Values under six characters are left out."""
    with _lock:
        _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def redact(text: str) -> str:
    """Return the text with every secret replaced by `***`.

    >>> redact("GET https://me:hunter2@api.example/x?api_key=12345 failed")
    'GET https://***@api.example/x?api_key=*** failed'
    """
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    for shape in _SHAPES:
        text = shape.sub(_keep_name, text)
    return text


def _keep_name(match: re.Match[str]) -> str:
    return (match.group(1) if match.re.groups else "") + MASK
