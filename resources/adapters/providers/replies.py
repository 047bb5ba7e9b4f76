"""What all provider adapters need to read an HTTP reply: status tables, waits.

What a status means is not here: each provider declares its own table, because the same status
means different things at different providers. Retries, pacing and breakers are the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from resources.adapters.api_client import Reply
from resources.core.domains import NormalizedDomain, SuffixRules, normalize
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.retry import parse_retry_after

StatusTable = Mapping[int, FailureKind]

MAX_MESSAGE_CHARS: Final = 200
_T = TypeVar("_T")


def kind_of(status: int, table: StatusTable) -> FailureKind:
    """Return what a status means: as the table says, else by its class.

    A redirect or an informational status that nobody asked for is no answer: MALFORMED.
    """
    if status in table:
        return table[status]
    if status >= 500:
        return FailureKind.HTTP_5XX
    return FailureKind.HTTP_4XX if status >= 400 else FailureKind.MALFORMED


def failure_of(
    provider: str,
    reply: Reply,
    table: StatusTable,
    now: float,
    *,
    detail: str = "",
    retry_after_s: float | None = None,
) -> Failure:
    """Return the failure that a reply stands for, with the wait it asks for.

    Args:
        provider: Name of the provider.
        reply: One that is no answer.
        table: The provider's own table.
        now: Epoch seconds; a Retry-After date is turned into seconds with it where the reply has
            no Date of its own.
        detail: What the provider said, already free of secrets.
        retry_after_s: The wait where the provider says it otherwise than by Retry-After.
    """
    status = reply.status
    headers = reply.headers
    wait = parse_retry_after(headers.get("retry-after"), now, headers.get("date"))
    said = one_line(detail)
    return Failure(
        kind=kind_of(status, table),
        message=f"{provider} answered with status {status}" + (f": {said}" if said else "."),
        url=reply.url,
        provider=provider,
        retry_after_s=retry_after_s if wait is None else wait,
    )


def malformed(provider: str, what: str, url: str) -> CallError:
    """Return the error for an answer that is not what the contract says."""
    return CallError(
        Failure(FailureKind.MALFORMED, f"{provider}: {what}.", url=url, provider=provider)
    )


def seconds_until(moment: datetime, now: float) -> float:
    """Return seconds from now to a moment, 0 when it is past; without a zone it is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, math.ceil(aware.timestamp() - now))


def one_line(text: str) -> str:
    """Return text on one line, cut to what fits a message."""
    return " ".join(text.split())[:MAX_MESSAGE_CHARS]


def json_or_none(content: bytes) -> Any:
    """Return the parsed JSON, or None when the bytes are none."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def registrable(text: str | None, suffixes: SuffixRules) -> str | None:
    """Return the registrable domain of a URL or host, or None."""
    match normalize(text or "", suffixes):
        case NormalizedDomain(domain):
            return domain
        case _:
            return None


def _none_if_invalid(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(value)
    except ValidationError:
        return None


Lenient = Annotated[_T | None, WrapValidator(_none_if_invalid)]
"""A field whose odd value counts as absent: one of them must not cost the whole (paid) record."""
