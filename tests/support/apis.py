"""Provider APIs as functions, for providers that are tried without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from multidict import CIMultiDict

from resources.adapters.api_client import ApiClient, Question, Reply

Answer = Callable[[Question], Reply]


def api(answer: Answer) -> ApiClient:
    """A client whose questions a function answers."""

    async def send(question: Question) -> Reply:
        return replace(answer(question), url=str(question.url))

    return ApiClient(send)


def nobody() -> ApiClient:
    """A client that must not be used."""

    def answer(question: Question) -> Reply:
        raise AssertionError(f"{question.url} was asked")

    return api(answer)


def said(
    status: int,
    *,
    json: Any = None,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """What an API says; `json` instead of `content` where it is JSON."""
    body = content if json is None else orjson.dumps(json)
    return Reply(status, "", CIMultiDict(headers or {}), body)
