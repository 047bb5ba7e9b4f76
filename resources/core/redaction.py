"""Secrets stay out of every log, error, metadata value and file: one filter for all of them.

It knows the secret values of the settings (`remember`), and the shapes secrets have in URLs and
headers, so that also one that was never in the settings is hidden.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

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
# Longest first, so that a secret that holds another one is hidden whole. Replaced, never changed:
# other threads may be going through it.
_known: tuple[str, ...] = ()
_lock = threading.Lock()


def remember(secrets: Iterable[str]) -> None:
    """Add values that must never appear anywhere. Values under six characters are left out."""
    global _known  # noqa: PLW0603  # the one process-wide filter
    with _lock:
        new = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        _known = tuple(sorted({*_known, *new}, key=lambda form: (-len(form), form)))


def _forms(secret: str) -> set[str]:
    """The secret as it is, and as it stands in a URL, a query or JSON."""
    plain = secret.encode("utf-8", "replace")
    return {
        secret,
        quote(plain, safe=""),
        quote(plain),
        quote_plus(plain),
        json.dumps(secret)[1:-1],
    }


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
