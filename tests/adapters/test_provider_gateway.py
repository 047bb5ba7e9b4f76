"""The way to a provider: bulk calls, kept answers, rows before calls, and who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.adapters.ledger.calls import Budget
from resources.adapters.ledger.commits import CommitQueue
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.provider_gateway import CallPolicy, ProviderGateway
from resources.core.breaker import RETRIES_ALWAYS_ALLOWED, BreakerPolicy
from resources.core.enrichment import Enrichment
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import Candidate, CompanyQuery, DomainTask, RawAnswer, Settled
from resources.core.pacing import PaceLimits
from resources.core.provider_chain import ChainLink
from resources.core.retry import RetryPolicy
from tests.support.gates import NEVER_OPENS, gate_on
from tests.support.ledgers import open_at, sqlite_url
from tests.support.time import NOW, ManualClock, until

Answers = Mapping[str, RawAnswer | Failure]
Ask = Callable[[Sequence[CompanyQuery]], Awaitable[Answers]]


def _answer(domain: str, credits: float = 1.0) -> RawAnswer:
    return RawAnswer(f'"{domain}"'.encode(), "https://api.example/", NOW, credits)


@dataclass
class FakeProvider:
    """Answers everything, or what the script says; looks into the ledger while it is asked."""

    ledger: Ledger
    script: list[Ask] = field(default_factory=list)
    name: str = "pdl"
    is_paid: bool = True
    bulk_size: int = 3
    asked: list[list[str]] = field(default_factory=list)
    rows_while_asked: list[dict[str, list[tuple[Any, Any]]]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def endpoint(self, queries: Sequence[CompanyQuery]) -> str:
        return self.name

    async def ask(self, queries: Sequence[CompanyQuery]) -> Answers:
        domains = [query.domain for query in queries]
        self.asked.append(domains)
        self.rows_while_asked.append(
            {
                domain: [
                    (row["state"], row["answered_at"]) for row in self.ledger.calls.story(domain)
                ]
                for domain in domains
            }
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.script:
                return await self.script.pop(0)(queries)
            await asyncio.sleep(0)
            return {domain: _answer(domain) for domain in domains}
        finally:
            self.in_flight -= 1

    def read(self, query: CompanyQuery, answer: RawAnswer) -> Sequence[Candidate]:
        return []


def _fails(kind: FailureKind) -> Ask:
    async def ask(queries: Sequence[CompanyQuery]) -> Answers:
        raise CallError(Failure(kind, "why", provider="pdl"))

    return ask


async def _hangs(queries: Sequence[CompanyQuery]) -> Answers:
    await asyncio.Event().wait()
    raise AssertionError(queries)


def _held(go: asyncio.Event) -> Ask:
    async def ask(queries: Sequence[CompanyQuery]) -> Answers:
        await go.wait()
        return {query.domain: _answer(query.domain) for query in queries}

    return ask


def _says(**answers: RawAnswer | Failure) -> Ask:
    async def ask(queries: Sequence[CompanyQuery]) -> Answers:
        return {f"{name}.example": answer for name, answer in answers.items()}

    return ask


class _Way:
    """A gateway with all it stands on."""

    def __init__(self, folder: Path, **provider: Any) -> None:
        # The second connection is what the provider looks through: it sees committed rows only.
        self.ledger = open_at(sqlite_url(folder))
        self.outside = open_at(sqlite_url(folder))
        self.provider = FakeProvider(self.outside, **provider)
        self.clock = ManualClock()
        self.commits = CommitQueue(self.ledger.database, 50)

    @asynccontextmanager
    async def gateway(
        self,
        *,
        concurrency: int = 8,
        attempts: int = 1,
        fresh_s: float = 1000,
        max_credits: float | None = None,
        patience_s: float = 60,
        is_required: bool = True,
        closing_s: float = 10,
        policy: BreakerPolicy = NEVER_OPENS,
    ) -> AsyncIterator[ProviderGateway]:
        """The way as a new run has it, with a gate of its own."""
        async with gate_on(self.ledger, policy=policy, clock=self.clock) as gate:
            yield ProviderGateway(
                self.provider,
                self.ledger,
                self.commits,
                gate,
                self.clock,
                CallPolicy(
                    PaceLimits(1000, 1000, concurrency),
                    RetryPolicy(attempts, 0.0, 0.0),
                    fresh_s,
                    1.0,
                    patience_s,
                    is_required,
                    closing_s,
                ),
                Budget("scope", max_credits),
                "worker",
                Random(0),
            )

    def close(self) -> None:
        self.commits.close()
        self.ledger.close()
        self.outside.close()


def _run(
    way: _Way, opened: AbstractAsyncContextManager[ProviderGateway], *names: str
) -> dict[str, RawAnswer | Failure | BaseException]:
    async def run() -> dict[str, RawAnswer | Failure | BaseException]:
        domains = [f"{name}.example" for name in names]
        async with opened as gateway:
            answers = (gateway.answer(CompanyQuery(domain)) for domain in domains)
            found = await asyncio.gather(*answers, return_exceptions=True)
            await gateway.close()
        return dict(zip(names, found, strict=True))

    return asyncio.run(asyncio.wait_for(run(), 20))


@pytest.fixture
def way(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = _Way(tmp_path)
    yield made
    made.close()


def test_many_domains_fill_calls_up_to_the_bulk_size(way: _Way) -> None:
    found = _run(way, way.gateway(), *"abcdefgh")
    assert [len(call) for call in way.provider.asked] == [3, 3, 2]
    assert found == {name: _answer(f"{name}.example") for name in "abcdefgh"}


@settings(max_examples=15, deadline=None)
@given(names=st.sets(st.integers(0, 99), min_size=1), bulk=st.integers(1, 20))
def test_everybody_gets_their_own_answer(names: set[int], bulk: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        way = _Way(Path(folder), bulk_size=bulk)
        found = _run(way, way.gateway(), *(str(name) for name in names))
        assert found == {str(name): _answer(f"{name}.example") for name in names}
        assert sorted(domain for call in way.provider.asked for domain in call) == sorted(
            f"{name}.example" for name in names
        )
        assert all(len(call) <= bulk for call in way.provider.asked)
        way.close()


def test_a_domain_that_two_ask_for_is_asked_once(way: _Way) -> None:
    async def run() -> list[Any]:
        async with way.gateway() as gateway:
            return await asyncio.gather(
                *(gateway.answer(CompanyQuery("a.example")) for _ in range(5))
            )

    assert asyncio.run(run()) == [_answer("a.example")] * 5
    assert way.provider.asked == [["a.example"]]


def test_a_call_is_committed_before_it_is_sent(way: _Way) -> None:
    _run(way, way.gateway(), "a", "b")
    assert way.provider.rows_while_asked == [
        {"a.example": [("asked", None)], "b.example": [("asked", None)]}
    ]
    (row,) = way.outside.calls.story("a.example")
    assert (row["state"], row["outcome"]) == ("match", "answered")


def test_an_answer_is_committed_before_anybody_gets_it(way: _Way) -> None:
    async def run() -> None:
        async with way.gateway() as gateway:
            answer = await gateway.answer(CompanyQuery("a.example"))
            assert way.outside.calls.find("pdl", ["a.example"], 0) == {"a.example": answer}

    asyncio.run(run())


def test_kept_answers_are_not_asked_for_again_while_fresh(way: _Way) -> None:
    way.provider.script = [_says(a=_answer("a.example"), b=RawAnswer(None, "https://x/", NOW))]
    first = _run(way, way.gateway(), "a", "b")
    assert _run(way, way.gateway(), "a", "b", "c") == {**first, "c": _answer("c.example")}
    assert way.provider.asked == [["a.example", "b.example"], ["c.example"]]
    way.clock.advance(1001)
    _run(way, way.gateway(), "a")
    assert way.provider.asked[-1] == ["a.example"]


def test_an_answer_that_was_lost_in_a_kill_is_in_doubt_and_asked_for_again(way: _Way) -> None:
    async def run() -> None:
        way.provider.script = [_hangs]
        async with way.gateway(closing_s=0.01) as gateway:
            waiting = asyncio.ensure_future(gateway.answer(CompanyQuery("a.example")))
            await until(lambda: way.provider.in_flight == 1)
            await gateway.close()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(run())
    (row,) = way.outside.calls.story("a.example")
    assert (row["state"], row["answered_at"]) == ("asked", None)
    assert _run(way, way.gateway(), "a") == {"a": _answer("a.example")}


def test_one_who_stops_waiting_does_not_take_the_answer_from_the_others(way: _Way) -> None:
    async def run() -> None:
        go = asyncio.Event()
        way.provider.script = [_held(go)]
        async with way.gateway() as gateway:
            leaves = asyncio.ensure_future(gateway.answer(CompanyQuery("a.example")))
            stays = asyncio.ensure_future(gateway.answer(CompanyQuery("b.example")))
            await until(lambda: way.provider.in_flight == 1)
            leaves.cancel()
            go.set()
            assert await stays == _answer("b.example")

    asyncio.run(run())
    assert way.outside.calls.find("pdl", ["a.example"], 0)  # paid for, so kept


def test_what_nobody_waits_for_any_more_is_not_sent(way: _Way) -> None:
    async def run() -> None:
        async with way.gateway() as gateway:
            leaves = asyncio.ensure_future(gateway.answer(CompanyQuery("a.example")))
            stays = asyncio.ensure_future(gateway.answer(CompanyQuery("b.example")))
            await asyncio.sleep(0)
            leaves.cancel()
            assert await stays == _answer("b.example")

    asyncio.run(run())
    assert way.provider.asked == [["b.example"]]
    assert way.outside.calls.story("a.example") == []


def test_what_nobody_waits_for_any_more_is_not_sent_again_either(way: _Way) -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def fails(queries: Sequence[CompanyQuery]) -> Answers:
            await go.wait()
            raise CallError(Failure(FailureKind.HTTP_5XX, "why", provider="pdl"))

        way.provider.script = [fails]
        async with way.gateway(attempts=3) as gateway:
            leaves = asyncio.ensure_future(gateway.answer(CompanyQuery("a.example")))
            stays = asyncio.ensure_future(gateway.answer(CompanyQuery("b.example")))
            await until(lambda: way.provider.in_flight == 1)
            leaves.cancel()
            await asyncio.wait({leaves})
            go.set()
            assert await stays == _answer("b.example")

    asyncio.run(run())
    assert way.provider.asked == [["a.example", "b.example"], ["b.example"]]


def test_only_so_many_calls_are_under_way_at_a_time(tmp_path: Path) -> None:
    way = _Way(tmp_path, bulk_size=1)

    async def run() -> None:
        go = asyncio.Event()
        way.provider.script = [_held(go)] * 8
        async with way.gateway(concurrency=2) as gateway:
            waiting = [
                asyncio.ensure_future(gateway.answer(CompanyQuery(f"{name}.example")))
                for name in "abcdefgh"
            ]
            await until(lambda: way.provider.in_flight == 2)
            go.set()
            await asyncio.gather(*waiting)

    asyncio.run(run())
    assert way.provider.most_in_flight == 2
    assert len(way.provider.asked) == 8
    way.close()


# -- patience ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_required", "of_the_queued"),
    [(True, FailureKind.LIMITER), (False, FailureKind.TIMEOUT)],
)
def test_a_provider_that_hangs_is_waited_for_only_so_long(
    tmp_path: Path, is_required: bool, of_the_queued: FailureKind
) -> None:
    way = _Way(tmp_path, bulk_size=1, script=[_hangs])
    gateway = way.gateway(concurrency=1, patience_s=1.0, is_required=is_required, closing_s=0.01)
    found = _run(way, gateway, "a", "b", "c")
    failures = [answer for answer in found.values() if isinstance(answer, Failure)]
    assert [failure.kind for failure in failures] == [FailureKind.TIMEOUT, *[of_the_queued] * 2]
    assert {failure.provider for failure in failures} == {"pdl"}
    assert way.provider.asked == [["a.example"]]
    way.close()


def test_what_is_kept_is_given_while_the_provider_hangs(way: _Way) -> None:
    _run(way, way.gateway(), "a")

    async def run() -> None:
        way.provider.script = [_hangs]
        async with way.gateway(concurrency=1, closing_s=0.01) as gateway:
            hangs = asyncio.ensure_future(gateway.answer(CompanyQuery("b.example")))
            await until(lambda: way.provider.in_flight == 1)
            assert await gateway.answer(CompanyQuery("a.example")) == _answer("a.example")
            hangs.cancel()
            await gateway.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_an_answer_that_comes_too_late_for_its_domain_is_kept_for_the_next_run(
    tmp_path: Path,
) -> None:
    way = _Way(tmp_path, bulk_size=1)

    async def run() -> None:
        go = asyncio.Event()
        way.provider.script = [_held(go)]
        async with way.gateway(patience_s=1.0) as gateway:
            answer = await gateway.answer(CompanyQuery("a.example"))
            assert isinstance(answer, Failure)
            assert answer.kind is FailureKind.TIMEOUT
            go.set()
            await gateway.close()

    asyncio.run(run())
    assert _run(way, way.gateway(), "a") == {"a": _answer("a.example")}
    assert way.provider.asked == [["a.example"]]
    way.close()


def test_domains_settle_without_an_optional_provider_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "paid").mkdir()
    (tmp_path / "free").mkdir()
    paid = _Way(tmp_path / "paid")
    free = _Way(tmp_path / "free", name="rdap", is_paid=False, bulk_size=1, script=[_hangs])
    domains = ["a.example", "b.example", "c.example"]

    async def run() -> list[Any]:
        hanging = free.gateway(concurrency=1, patience_s=0.2, is_required=False, closing_s=0.01)
        async with hanging as rdap, paid.gateway() as pdl:
            chain = [ChainLink("rdap", is_required=False), ChainLink("pdl", is_required=True)]
            work = Enrichment(chain, {"rdap": rdap, "pdl": pdl}, frozenset(), 10)
            tasks = [DomainTask(CompanyQuery(domain), "batch", 0) for domain in domains]
            outcomes = await asyncio.gather(*(work.attempt(task) for task in tasks))
            for gateway in (rdap, pdl):
                await gateway.close()
            return outcomes

    for outcome in asyncio.run(asyncio.wait_for(run(), 20)):
        assert isinstance(outcome, Settled)
        assert outcome.payload is not None
        (noted,) = orjson.loads(outcome.payload)["noted"]
        assert (noted["provider"], noted["kind"]) == ("rdap", "timeout")
    assert sorted(domain for call in paid.provider.asked for domain in call) == domains
    paid.close()
    free.close()


# -- the end ----------------------------------------------------------------------------------


def test_a_call_under_way_at_the_end_still_brings_its_answer(way: _Way) -> None:
    async def run() -> None:
        go = asyncio.Event()
        way.provider.script = [_held(go)]
        async with way.gateway() as gateway:
            waiting = asyncio.ensure_future(gateway.answer(CompanyQuery("a.example")))
            await until(lambda: way.provider.in_flight == 1)
            waiting.cancel()
            closing = asyncio.ensure_future(gateway.close())
            await asyncio.sleep(0)
            go.set()
            await closing

    asyncio.run(asyncio.wait_for(run(), 20))
    assert way.outside.calls.find("pdl", ["a.example"], 0) == {"a.example": _answer("a.example")}


def test_nothing_new_is_sent_at_the_end(tmp_path: Path) -> None:
    way = _Way(tmp_path, bulk_size=1)

    async def run() -> None:
        go = asyncio.Event()
        way.provider.script = [_held(go)]
        async with way.gateway(concurrency=1) as gateway:
            waiting = [
                asyncio.ensure_future(gateway.answer(CompanyQuery(f"{name}.example")))
                for name in "abc"
            ]
            await until(lambda: way.provider.in_flight == 1)
            closing = asyncio.ensure_future(gateway.close())
            await asyncio.sleep(0)
            late = await gateway.answer(CompanyQuery("d.example"))
            assert isinstance(late, Failure)
            assert late.kind is FailureKind.CANCELLED
            go.set()
            await closing
            found = await asyncio.gather(*waiting, return_exceptions=True)
            assert found[0] == _answer("a.example")
            assert not any(isinstance(answer, RawAnswer) for answer in found[1:])

    asyncio.run(asyncio.wait_for(run(), 20))
    assert way.provider.asked == [["a.example"]]
    assert way.outside.calls.story("b.example") == []
    way.close()


# -- failures ---------------------------------------------------------------------------------


def test_a_failed_call_fails_all_it_asked_for_and_is_noted(way: _Way) -> None:
    way.provider.script = [_fails(FailureKind.HTTP_5XX)]
    found = _run(way, way.gateway(), "a", "b")
    assert {answer.kind for answer in found.values()} == {FailureKind.HTTP_5XX}  # type: ignore[union-attr]
    (row,) = way.outside.calls.story("a.example")
    assert (row["state"], row["outcome"]) == ("failed", "http_5xx")


def test_each_try_of_a_call_has_a_row_of_its_own(way: _Way) -> None:
    way.provider.script = [_fails(FailureKind.TIMEOUT), _fails(FailureKind.CONNECT)]
    assert _run(way, way.gateway(attempts=3), "a") == {"a": _answer("a.example")}
    assert len(way.provider.asked) == 3
    assert way.outside.calls.spent("scope") == {"pdl": (3, 1.0)}


def test_one_failed_item_does_not_fail_the_others_and_is_asked_for_again(way: _Way) -> None:
    broken = Failure(FailureKind.HTTP_5XX, "only this one", provider="pdl")
    way.provider.script = [_says(a=_answer("a.example"), b=broken)]
    assert _run(way, way.gateway(), "a", "b") == {"a": _answer("a.example"), "b": broken}
    assert _run(way, way.gateway(), "a", "b")["b"] == _answer("b.example")
    assert way.provider.asked == [["a.example", "b.example"], ["b.example"]]


def test_an_item_that_the_provider_left_out_is_a_failure_and_no_hang(way: _Way) -> None:
    way.provider.script = [_says(a=_answer("a.example"))]
    found = _run(way, way.gateway(), "a", "b")
    assert found["a"] == _answer("a.example")
    assert isinstance(found["b"], Failure)
    assert found["b"].kind is FailureKind.MALFORMED


@pytest.mark.parametrize("kind", [FailureKind.AUTH, FailureKind.QUOTA_EXHAUSTED])
def test_a_provider_that_needs_a_person_is_not_asked_again_in_this_run(
    way: _Way, kind: FailureKind
) -> None:
    async def run() -> None:
        way.provider.script = [_fails(kind)]
        async with way.gateway(attempts=3) as gateway:
            for name in ("a", "b", "c"):
                answer = await gateway.answer(CompanyQuery(f"{name}.example"))
                assert isinstance(answer, Failure)
                assert answer.kind is kind

    asyncio.run(run())
    assert way.provider.asked == [["a.example"]]
    assert _run(way, way.gateway(), "a") == {"a": _answer("a.example")}  # a new run asks again


def test_an_item_that_says_the_credits_are_used_up_closes_the_provider_too(way: _Way) -> None:
    async def run() -> None:
        empty = Failure(FailureKind.QUOTA_EXHAUSTED, "no credits", provider="pdl")
        way.provider.script = [_says(a=empty)]
        async with way.gateway() as gateway:
            assert await gateway.answer(CompanyQuery("a.example")) == empty
            assert await gateway.answer(CompanyQuery("b.example")) == empty

    asyncio.run(run())
    assert way.provider.asked == [["a.example"]]


def test_a_closed_provider_still_gives_what_was_kept(way: _Way) -> None:
    _run(way, way.gateway(), "a")

    async def run() -> RawAnswer | Failure:
        way.provider.script = [_fails(FailureKind.AUTH)]
        async with way.gateway() as gateway:
            await gateway.answer(CompanyQuery("b.example"))
            return await gateway.answer(CompanyQuery("a.example"))

    assert asyncio.run(run()) == _answer("a.example")


def test_an_unforeseen_exception_of_a_provider_is_a_bug_and_its_call_is_noted(way: _Way) -> None:
    async def explode(queries: Sequence[CompanyQuery]) -> Answers:
        raise ZeroDivisionError("oops")

    way.provider.script = [explode, explode]
    found = _run(way, way.gateway(), "a")["a"]
    assert isinstance(found, Failure)
    assert (found.kind, found.provider) == (FailureKind.BUG, "pdl")
    assert way.outside.calls.story("a.example")[0]["outcome"] == "bug"


# -- breaker and pace -------------------------------------------------------------------------

OPENS_AT_ONCE = BreakerPolicy(threshold=1, timeout_s=300)


def _kinds(found: Mapping[str, object]) -> dict[str, FailureKind]:
    return {name: answer.kind for name, answer in found.items() if isinstance(answer, Failure)}


@pytest.mark.parametrize("is_required", [True, False])
def test_a_paused_provider_is_not_asked_and_stops_the_run_only_where_it_is_required(
    way: _Way, is_required: bool
) -> None:
    way.provider.script = [_fails(FailureKind.HTTP_5XX)]
    _run(way, way.gateway(policy=OPENS_AT_ONCE), "a")
    found = _run(way, way.gateway(policy=OPENS_AT_ONCE, is_required=is_required), *"bcde")
    assert _kinds(found) == dict.fromkeys("bcde", FailureKind.BREAKER_OPEN)
    for failure in found.values():
        assert isinstance(failure, Failure)
        assert failure.is_for_all is is_required
        assert failure.retry_after_s == 300
    assert way.provider.asked == [["a.example"]]
    assert way.outside.calls.story("b.example") == []


def test_one_domain_alone_tries_whether_the_provider_is_back(way: _Way) -> None:
    way.provider.script = [_fails(FailureKind.HTTP_5XX), _fails(FailureKind.HTTP_5XX)]
    _run(way, way.gateway(policy=OPENS_AT_ONCE), "a")
    way.clock.advance(300)
    found = _run(way, way.gateway(policy=OPENS_AT_ONCE), *"bcd")
    # The one that was asked has used up a round, and the others have not.
    assert sorted(_kinds(found).values()) == sorted(
        [FailureKind.HTTP_5XX, FailureKind.BREAKER_OPEN, FailureKind.BREAKER_OPEN]
    )
    assert [len(call) for call in way.provider.asked] == [1, 1]


def test_once_the_one_domain_is_answered_the_others_are_asked_too(way: _Way) -> None:
    way.provider.script = [_fails(FailureKind.HTTP_5XX)]
    _run(way, way.gateway(policy=OPENS_AT_ONCE), "a")
    way.clock.advance(300)
    found = _run(way, way.gateway(policy=OPENS_AT_ONCE), *"bcdef")
    assert found == {name: _answer(f"{name}.example") for name in "bcdef"}
    assert len(way.provider.asked[1]) == 1


def test_tries_of_one_provider_end_with_its_budget(way: _Way) -> None:
    way.provider.script = [_fails(FailureKind.HTTP_5XX)] * 10
    assert _kinds(_run(way, way.gateway(attempts=10), "a")) == {"a": FailureKind.HTTP_5XX}
    assert len(way.provider.asked) == 1 + RETRIES_ALWAYS_ALLOWED


@pytest.mark.parametrize(
    ("is_required", "kind"), [(True, FailureKind.LIMITER), (False, FailureKind.TIMEOUT)]
)
def test_a_wait_that_is_longer_than_patience_is_told_at_once(
    way: _Way, is_required: bool, kind: FailureKind
) -> None:
    async def complain(queries: Sequence[CompanyQuery]) -> Answers:
        raise CallError(Failure(FailureKind.RATE_LIMITED, "slow down", "https://x/", "pdl", 600))

    way.provider.script = [complain]
    assert _kinds(_run(way, way.gateway(), "a")) == {"a": FailureKind.RATE_LIMITED}
    found = _run(way, way.gateway(is_required=is_required), "b")
    assert _kinds(found) == {"b": kind}
    assert found["b"].retry_after_s == 600  # type: ignore[union-attr]
    assert way.provider.asked == [["a.example"]]


def test_items_that_complain_slow_the_next_calls_down(way: _Way) -> None:
    slower = Failure(FailureKind.RATE_LIMITED, "slow down", provider="pdl", retry_after_s=600)
    way.provider.script = [_says(a=_answer("a.example"), b=slower)]
    found = _run(way, way.gateway(), "a", "b")
    assert found == {"a": _answer("a.example"), "b": slower}
    assert _kinds(_run(way, way.gateway(), "c")) == {"c": FailureKind.LIMITER}


# -- money ------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("limit", [0, 1, 2, 4, 5, 7, 20])
def test_the_budget_is_used_up_to_its_last_credit_and_never_beyond(
    way: _Way, limit: int, concurrency: int
) -> None:
    found = _run(way, way.gateway(max_credits=limit, concurrency=concurrency), *"abcdefghij")
    kinds = [answer.kind for answer in found.values() if isinstance(answer, Failure)]
    assert kinds == [FailureKind.BUDGET_EXHAUSTED] * max(0, 10 - limit)
    spent = way.outside.calls.spent("scope")
    assert spent.get("pdl", (0, 0.0))[1] == min(limit, 10)


def test_what_calls_under_way_turn_out_not_to_cost_is_spent_on_others(way: _Way) -> None:
    async def nobody_is_known(queries: Sequence[CompanyQuery]) -> Answers:
        await asyncio.sleep(0)
        return {query.domain: RawAnswer(None, "https://x/", NOW) for query in queries}

    way.provider.script = [nobody_is_known] * 3
    found = _run(way, way.gateway(max_credits=3), *"abcdefghijkl")
    assert not [answer for answer in found.values() if isinstance(answer, Failure)]
    assert way.outside.calls.spent("scope") == {"pdl": (4, 3.0)}


def test_what_was_bought_before_the_budget_ran_out_is_not_lost(way: _Way) -> None:
    found = _run(way, way.gateway(max_credits=2), "a", "b", "c")
    bought = {name for name, answer in found.items() if isinstance(answer, RawAnswer)}
    assert len(bought) == 2


def test_free_providers_know_no_budget(tmp_path: Path) -> None:
    way = _Way(tmp_path, is_paid=False)
    way.provider.script = [_says(a=_answer("a.example", 0.0))]
    assert _run(way, way.gateway(max_credits=0), "a") == {"a": _answer("a.example", 0.0)}
    way.close()
