"""Extraction in processes of its own: a page that kills or stalls one costs that page alone."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import psutil
import pytest

from resources.adapters.bodies import digest_of
from resources.adapters.extraction_pool import ExtractionPool, Wanted
from resources.core.errors import CallError, FailureKind

HOME = b"""<html lang=en><head><title>Acme</title></head><body>
<a href="/about">About us</a> <a href="/contact">Contact</a> <p>Mail info@acme.example</p></body>"""
T = TypeVar("T")
URL = "https://acme.example/"


def _wanted(body: bytes, *, site: str | None = None, limit: int = 0) -> Wanted:
    return Wanted(body, "", URL, "text/html", site=site, limit=limit)


def _children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [one for one in found if "extraction_worker" in " ".join(one.cmdline())]


def _with_pool(
    use: Callable[[ExtractionPool], Awaitable[T]], size: int = 1, limit_s: float = 20
) -> T:
    async def run() -> T:
        async with ExtractionPool(size, 1_000_000, limit_s) as pool:
            return await use(pool)

    return asyncio.run(run())


def test_a_home_page_comes_with_the_pages_to_fetch_next() -> None:
    found = _with_pool(lambda pool: pool.extract(_wanted(HOME, site="acme.example", limit=5)))
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
            await pool.extract(_wanted(HOME))
        assert caught.value.failure.kind is FailureKind.MALFORMED
        assert "crashed" in caught.value.failure.message
        return str((await pool.extract(_wanted(HOME))).page["title"])

    assert _with_pool(use) == "Acme"


def test_a_page_that_takes_too_much_of_the_processor_is_malformed() -> None:
    async def run() -> None:
        async with ExtractionPool(1, 20_000_000, page_cpu_s=0.004) as pool:
            with pytest.raises(CallError) as caught:
                await pool.extract(_wanted(HOME * 5_000))
            assert caught.value.failure.kind is FailureKind.MALFORMED
            assert "0.004 s of processor time" in caught.value.failure.message

    asyncio.run(run())


def test_a_page_that_takes_too_long_is_malformed() -> None:
    async def use(pool: ExtractionPool) -> None:
        with pytest.raises(CallError) as caught:
            await pool.extract(_wanted(HOME * 100))
        assert caught.value.failure.kind is FailureKind.MALFORMED
        assert "longer than" in caught.value.failure.message

    _with_pool(use, limit_s=0.0)


def test_many_pages_at_once_share_the_processes_and_keep_their_answers_apart() -> None:
    async def use(pool: ExtractionPool) -> list[str]:
        pages = [HOME.replace(b"Acme", f"Acme {n}".encode()) for n in range(40)]
        found = await asyncio.gather(*(pool.extract(_wanted(p)) for p in pages))
        return [str(one.page["title"]) for one in found]

    assert _with_pool(use, size=2) == [f"Acme {n}" for n in range(40)]


def test_a_cancelled_page_leaves_the_pool_in_order() -> None:
    async def use(pool: ExtractionPool) -> str:
        task = asyncio.ensure_future(pool.extract(_wanted(HOME * 500)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return str((await pool.extract(_wanted(HOME))).page["title"])

    assert _with_pool(use) == "Acme"


def test_no_process_is_left_behind() -> None:
    before = {child.pid for child in _children()}
    _with_pool(lambda pool: pool.extract(_wanted(HOME)), size=2)
    assert {child.pid for child in _children()} <= before


def test_a_body_is_unpacked_where_it_is_extracted() -> None:
    packed = gzip.compress(HOME)
    found = _with_pool(lambda pool: pool.extract(replace(_wanted(packed), encoding="gzip")))
    assert found.page["title"] == "Acme"
    assert (found.size_bytes, found.body_hash) == (len(HOME), digest_of(HOME))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (gzip.compress(b"<p>" * 1_000_000), FailureKind.TOO_LARGE),
        (gzip.compress(HOME)[:-9], FailureKind.MALFORMED),
        (b"no gzip", FailureKind.MALFORMED),
    ],
)
def test_a_bomb_or_a_broken_body_costs_that_page_alone(body: bytes, kind: FailureKind) -> None:
    async def use(pool: ExtractionPool) -> str:
        with pytest.raises(CallError) as caught:
            await pool.extract(replace(_wanted(body), encoding="gzip"))
        assert caught.value.failure.kind is kind
        return str((await pool.extract(_wanted(HOME))).page["title"])

    assert _with_pool(use) == "Acme"
