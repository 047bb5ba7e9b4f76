"""Sends an answer in the way a fault demands.

Works on a `Wire`, the few things a connection can do, so that the faults read as what happens to
the client. What the rules are is not known here.
"""

import asyncio
import time
from email.utils import formatdate
from typing import Protocol

import orjson

from sandbox.answers import HTML, Answer, Request, make_answer
from sandbox.apis import pdl, rdap
from sandbox.faults import Fault, FaultKind

_DRIPS = 20
LOOP_MARK = "sandbox-loop="


class Wire(Protocol):
    """One connection, while it has one request to answer."""

    def send(self, answer: Answer) -> None:
        """Send the whole answer, and bill what it bills."""

    def send_part(self, answer: Answer, body: bytes) -> None:
        """Send the head of an answer with only the beginning of its body."""

    def send_more(self, body: bytes) -> None:
        """Send more of a body that was begun."""

    def finish(self, answer: Answer) -> None:
        """Say that the last byte was sent, and bill what the answer bills."""

    def close(self) -> None:
        """Send what is buffered, then end the connection in order."""

    def reset(self) -> None:
        """End the connection by TCP RST."""


async def deliver(fault: Fault, api: str, request: Request, answer: Answer, wire: Wire) -> None:
    """Do to a request what the fault says; returns when the next request may be answered."""
    body = b"" if request.method == "HEAD" else b"".join(answer.body)
    match fault.kind:
        case FaultKind.STATUS:
            wire.send(failure(fault, api, answer.asked))
        case FaultKind.LATENCY:
            await asyncio.sleep(fault.seconds)
            wire.send(answer)
        case FaultKind.HANG | FaultKind.OUTAGE:
            await asyncio.sleep(1e6 if fault.hang_s is None else fault.hang_s)
            wire.close()
        case FaultKind.RESET:
            if fault.after_bytes:
                wire.send_part(answer, body[: min(fault.after_bytes, len(body) - 1)])
                # Let the part reach the client before the reset throws away what is buffered.
                await asyncio.sleep(0.05)
            wire.reset()
        case FaultKind.TRUNCATED:
            wire.send_part(answer, body[: len(body) // 2])
            wire.close()
        case FaultKind.REDIRECT_LOOP:
            wire.send(redirect_loop(request, "a"))
        case FaultKind.SLOW_BODY:
            await _drip(fault.seconds, answer, body, wire)
        case FaultKind.MALFORMED:
            wire.send(malformed(api, answer))


async def _drip(seconds: float, answer: Answer, body: bytes, wire: Wire) -> None:
    size = max(1, -(-len(body) // _DRIPS))
    wire.send_part(answer, body[:size])
    for start in range(size, len(body), size):
        await asyncio.sleep(seconds / _DRIPS)
        wire.send_more(body[start : start + size])
    wire.finish(answer)


def failure(fault: Fault, api: str, asked: tuple[str, ...] = ()) -> Answer:
    """Return the answer of a status fault, in the form the API gives its errors."""
    headers = {}
    if fault.retry_after is not None or fault.retry_after_date:
        seconds = fault.retry_after if fault.retry_after is not None else 1
        when = formatdate(time.time() + seconds, usegmt=True)
        headers["Retry-After"] = when if fault.retry_after_date else str(seconds)
    status = fault.status
    match api:
        case "pdl":
            content, content_type = (
                orjson.dumps(pdl.error_content(status)),
                "application/json",
            )
        case "rdap":
            content, content_type = (
                orjson.dumps(rdap.error_content(status)),
                "application/rdap+json",
            )
        case _:
            content, content_type = f"<html><h1>{status}</h1></html>".encode(), HTML
    return make_answer(status, content, content_type, headers, asked)


def redirect_loop(request: Request, side: str) -> Answer:
    """Return a redirect to the other side of a loop of two addresses."""
    location = f"https://{request.host}{request.path}?{LOOP_MARK}{side}"
    return make_answer(302, b"", HTML, {"Location": location})


def malformed(api: str, answer: Answer) -> Answer:
    """Return the answer with a body that its type and encoding do not fit."""
    if api == "site":
        garbage = bytes((index * 151 + 7) % 256 for index in range(2048))
        headers = {"Content-Encoding": "gzip"}
        return make_answer(200, garbage, "text/html", headers, answer.asked)
    body = b"".join(answer.body)
    return make_answer(
        answer.status,
        body[: len(body) * 2 // 3],
        answer.content_type,
        None,
        answer.asked,
    )
