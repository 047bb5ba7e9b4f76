"""Extraction in processes of its own: a page that kills or stalls one costs that page alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psutil
import pytest

from resources.adapters.extraction_pool import ExtractionPool
from resources.core.errors import CallError, FailureKind

HOME = b"""<html lang=en><head><title>Acme</title></head><body>
<a href="/about">About us</a> <a href="/contact">Contact</a> <p>Mail info@acme.example</p></body>"""
T = TypeVar("T")
URL = "https://acme.example/"


def _children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [one for one in found if "extraction_worker" in " ".join(one.cmdline())]


def _with_pool(
    use: Callable[[ExtractionPool], Awaitable[T]], size: int = 1, limit_s: float = 20
) -> T:
    async def run() -> T:
        async with ExtractionPool(size, limit_s) as pool:
            return await use(pool)

    return asyncio.run(run())


def test_a_home_page_comes_with_the_pages_to_fetch_next() -> None:
    found = _with_pool(
        lambda pool: pool.extract(HOME, URL, "text/html", None, site="acme.example", limit=5)
    )
    assert found.is_html
    assert found.page["title"] == "Acme"
    assert found.page["emails"] == ["info@acme.example"]
    assert {choice["kind"] for choice in found.choices} == {"about", "contact"}


def test_a_page_whose_process_dies_is_malformed_and_the_next_one_is_not() -> None:
    async def use(pool: ExtractionPool) -> str:
        for child in _children():
            child.kill()
            child.wait(timeout=10)
        with pytest.raises(CallError) as caught:
            await pool.extract(HOME, URL, "text/html", None)
        assert caught.value.failure.kind is FailureKind.MALFORMED
        assert "crashed" in caught.value.failure.message
        return str((await pool.extract(HOME, URL, "text/html", None)).page["title"])

    assert _with_pool(use) == "Acme"


def test_a_page_that_takes_too_long_is_malformed() -> None:
    async def use(pool: ExtractionPool) -> None:
        with pytest.raises(CallError) as caught:
            await pool.extract(HOME * 100, URL, "text/html", None)
        assert caught.value.failure.kind is FailureKind.MALFORMED
        assert "longer than" in caught.value.failure.message

    _with_pool(use, limit_s=0.0)


def test_many_pages_at_once_share_the_processes_and_keep_their_answers_apart() -> None:
    async def use(pool: ExtractionPool) -> list[str]:
        pages = [HOME.replace(b"Acme", f"Acme {n}".encode()) for n in range(40)]
        found = await asyncio.gather(*(pool.extract(p, URL, "text/html", None) for p in pages))
        return [str(one.page["title"]) for one in found]

    assert _with_pool(use, size=2) == [f"Acme {n}" for n in range(40)]


def test_a_cancelled_page_leaves_the_pool_in_order() -> None:
    async def use(pool: ExtractionPool) -> str:
        task = asyncio.ensure_future(pool.extract(HOME * 500, URL, "text/html", None))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return str((await pool.extract(HOME, URL, "text/html", None)).page["title"])

    assert _with_pool(use) == "Acme"


def test_no_process_is_left_behind() -> None:
    before = {child.pid for child in _children()}
    _with_pool(lambda pool: pool.extract(HOME, URL, "text/html", None), size=2)
    assert {child.pid for child in _children()} <= before
