"""Provider calls, pages and artifacts."""

from __future__ import annotations

import uuid
from threading import Barrier, Thread

import pytest
from sqlalchemy import select

from resources.adapters.ledger.artifacts import Artifact
from resources.adapters.ledger.call_rows import new_call_id
from resources.adapters.ledger.calls import Budget, EndedCall, NewCall
from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.pages import PageRow, RobotsRow
from resources.adapters.ledger.schema import calls
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.models import RawAnswer
from tests.support.time import NOW

FREE = Budget("scope", None)


def _answer(body: bytes | None = b"{}", credits: float = 1.0, at: float = NOW) -> RawAnswer:
    return RawAnswer(body, "https://api.example/", at, credits)


def _begin(
    ledger: Ledger,
    *domains: str,
    budget: Budget = FREE,
    reserve: float = 0.0,
    provider: str = "pdl",
) -> str:
    return ledger.calls.begin(provider, domains, "worker", budget, reserve, NOW)


def _states(ledger: Ledger, domain: str) -> list[tuple[object, object, object]]:
    return [(row["state"], row["outcome"], row["asked"]) for row in ledger.calls.story(domain)]


def test_a_call_is_in_the_ledger_before_it_is_sent_and_in_doubt_until_it_is_answered(
    ledger: Ledger, second: Ledger
) -> None:
    _begin(ledger, "a.example", "b.example", reserve=2)
    assert _states(second, "a.example") == [("asked", None, 1)]
    assert second.calls.find("pdl", ["a.example"], 0) == {}
    assert second.calls.spent("scope") == {"pdl": (1, 0.0)}


def test_answers_are_kept_and_found_while_they_are_fresh(ledger: Ledger, second: Ledger) -> None:
    call = _begin(ledger, "a.example", "b.example", "c.example")
    received: dict[str, RawAnswer | Failure] = {
        "a.example": _answer(b'{"name": "A"}'),
        "b.example": _answer(None, 0.0),
        "c.example": Failure(FailureKind.HTTP_5XX, "one item failed"),
    }
    ledger.calls.finish(call, "pdl", received, NOW + 1)
    domains = ["a.example", "b.example", "c.example", "d.example"]
    assert second.calls.find("pdl", domains, NOW) == {
        "a.example": _answer(b'{"name": "A"}'),
        "b.example": _answer(None, 0.0),
    }
    assert second.calls.find("pdl", domains, NOW + 0.5) == {}
    assert second.calls.find("rdap", domains, 0) == {}
    assert second.calls.spent("scope") == {"pdl": (1, 1.0)}
    assert _states(ledger, "c.example") == [("failed", "answered", 1)]


def test_a_failed_call_leaves_no_answer_and_costs_nothing(ledger: Ledger) -> None:
    call = _begin(ledger, "a.example", reserve=1)
    ledger.calls.fail(call, Failure(FailureKind.TIMEOUT, "too \x00slow"), NOW + 1)
    assert _states(ledger, "a.example") == [("failed", "timeout", 1)]
    assert ledger.calls.story("a.example")[0]["message"] == "too slow"
    assert ledger.calls.find("pdl", ["a.example"], 0) == {}
    assert ledger.calls.spent("scope") == {"pdl": (1, 0.0)}


def test_asking_again_is_counted(ledger: Ledger) -> None:
    for _ in range(3):
        call = _begin(ledger, "a.example")
    ledger.calls.finish(call, "pdl", {"a.example": _answer()}, NOW)
    assert _states(ledger, "a.example") == [("match", "answered", 3)]


def test_an_older_answer_stays_readable_while_it_is_renewed(ledger: Ledger) -> None:
    ledger.calls.finish(_begin(ledger, "a.example"), "pdl", {"a.example": _answer()}, NOW)
    call = _begin(ledger, "a.example")
    assert ledger.calls.find("pdl", ["a.example"], 0) == {"a.example": _answer()}
    ledger.calls.fail(call, Failure(FailureKind.CONNECT, "reset"), NOW)
    assert ledger.calls.find("pdl", ["a.example"], 0) == {"a.example": _answer()}


@pytest.mark.parametrize("earlier", [None, b'{"name": "old"}', "no match", "failed"])
def test_a_call_noted_with_its_answers_leaves_what_one_noted_before_and_after_leaves(
    ledger: Ledger, second: Ledger, earlier: bytes | str | None
) -> None:
    received: dict[str, RawAnswer | Failure] = {
        "a.example": _answer(b'{"name": "A"}', at=NOW + 2),
        "b.example": _answer(None, 0.0, at=NOW + 2),
        "c.example": Failure(FailureKind.HTTP_5XX, "one item failed"),
    }
    for provider in ("pdl", "rdap"):
        if earlier is None:
            continue
        call = _begin(ledger, *received, provider=provider)
        if earlier == "failed":
            ledger.calls.fail(call, Failure(FailureKind.CONNECT, "reset"), NOW)
        else:
            kept = _answer(earlier if isinstance(earlier, bytes) else None)
            ledger.calls.finish(call, provider, dict.fromkeys(received, kept), NOW)
    new = NewCall("pdl", list(received), "worker", FREE, 0.0, NOW + 1)
    ledger.calls.record_many([(new, EndedCall("", "pdl", received, NOW + 2))])
    again = NewCall("rdap", list(received), "worker", FREE, 0.0, NOW + 1)
    call = ledger.calls.begin_one(again)
    ledger.calls.finish(call, "rdap", received, NOW + 2)
    for domain in received:
        assert second.calls.find("pdl", [domain], 0) == second.calls.find("rdap", [domain], 0)
        at_once, in_two = (
            {name: value for name, value in row.items() if name != "provider"}
            for row in second.calls.story(domain)
        )
        assert at_once == in_two
    spent = second.calls.spent("scope")
    assert spent["pdl"] == spent["rdap"]


def test_ids_of_calls_are_uuids_in_the_order_of_time() -> None:
    ids = [new_call_id(NOW + number) for number in range(50)]
    assert ids == sorted(ids)
    made = [uuid.UUID(one) for one in (*ids, *(new_call_id(NOW) for _ in range(50)))]
    assert len(set(made)) == 100
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}


def test_the_budget_counts_what_was_billed_and_what_is_in_doubt(ledger: Ledger) -> None:
    budget = Budget("scope", 10)
    first = _begin(ledger, "a.example", budget=budget, reserve=6)
    with pytest.raises(CallError) as caught:
        _begin(ledger, "b.example", budget=budget, reserve=5)
    assert caught.value.failure.kind is FailureKind.BUDGET_EXHAUSTED
    assert ledger.calls.story("b.example") == []
    ledger.calls.finish(first, "pdl", {"a.example": _answer(credits=1)}, NOW)
    _begin(ledger, "b.example", budget=budget, reserve=5)
    _begin(ledger, "c.example", budget=budget, reserve=4)
    with pytest.raises(CallError):
        _begin(ledger, "d.example", budget=budget, reserve=0.5)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_call_that_may_have_arrived_before_it_failed_stays_in_the_budget(
    ledger: Ledger, kind: FailureKind
) -> None:
    budget = Budget("scope", 4)
    call = _begin(ledger, "a.example", budget=budget, reserve=3)
    ledger.calls.fail(call, Failure(kind, "why"), NOW + 1)
    assert ledger.calls.spent("scope") == {"pdl": (1, 0.0)}
    _begin(ledger, "b.example", budget=budget, reserve=1)
    if kind in {FailureKind.TIMEOUT, FailureKind.CONNECT}:
        with pytest.raises(CallError) as caught:
            _begin(ledger, "c.example", budget=budget, reserve=1)
        assert caught.value.failure.kind is FailureKind.BUDGET_EXHAUSTED
    else:
        _begin(ledger, "c.example", budget=budget, reserve=3)


def test_each_invocation_has_a_budget_of_its_own_and_free_calls_need_none(ledger: Ledger) -> None:
    spent = Budget("one", 0)
    with pytest.raises(CallError):
        _begin(ledger, "a.example", budget=spent, reserve=1)
    _begin(ledger, "a.example", budget=spent, reserve=0, provider="rdap")
    _begin(ledger, "a.example", budget=Budget("two", 1), reserve=1)


def test_the_budget_is_one_for_all_providers(ledger: Ledger) -> None:
    _begin(ledger, "a.example", budget=Budget("s", 1), reserve=1)
    with pytest.raises(CallError):
        _begin(ledger, "a.example", budget=Budget("s", 1), reserve=1, provider="cognism")


def test_two_processes_at_once_never_overspend(ledger: Ledger, second: Ledger) -> None:
    barrier = Barrier(4)
    refused: list[str] = []
    errors: list[Exception] = []

    def spend(own: Ledger, name: str) -> None:
        barrier.wait()
        for number in range(15):
            try:
                _begin(own, f"{name}{number}.example", budget=Budget("s", 20), reserve=1)
            except CallError:
                refused.append(name)
            except Exception as error:  # noqa: BLE001
                errors.append(error)

    own_ledgers = {"a": ledger, "b": second, "c": ledger, "d": second}
    threads = [Thread(target=spend, args=[own, name]) for name, own in own_ledgers.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(refused) == 40
    with ledger.database.read() as connection:
        reserved = connection.execute(select(calls.c.reserved)).scalars().all()
    assert sum(reserved) == 20


# -- pages ------------------------------------------------------------------------------------


def _page(url: str = "https://a.example/", fetched_at: float = NOW, **values: object) -> PageRow:
    row: dict[str, object] = {
        "domain": "a.example",
        "url": url,
        "role": "home",
        "final_url": url,
        "status": 200,
        "content_type": "text/html",
        "body_hash": "0" * 64,
        "size_bytes": 10,
        "fetched_at": fetched_at,
    }
    return PageRow(**{**row, **values})  # type: ignore[arg-type]


def test_pages_are_kept_by_the_url_asked_for_and_found_while_new_enough(ledger: Ledger) -> None:
    old, new = _page(), _page("https://a.example/b", NOW + 5)
    ledger.pages.save_many([old])
    ledger.pages.save_many([new])
    assert ledger.pages.of_domain("a.example") == {old.url: old, new.url: new}
    assert ledger.pages.of_domain("a.example", NOW + 1) == {new.url: new}
    assert ledger.pages.of_domain("b.example") == {}
    assert ledger.pages.count_since(NOW + 1) == 1


def test_a_page_fetched_again_replaces_itself(ledger: Ledger) -> None:
    ledger.pages.save_many([_page()])
    again = _page(status=404, fetched_at=NOW + 9, body_hash=None, content_type=None)
    ledger.pages.save_many([again])
    assert ledger.pages.of_domain("a.example") == {again.url: again}


def test_a_page_with_broken_characters_and_a_long_address_is_kept(ledger: Ledger) -> None:
    row = _page("https://a.example/" + "x" * 1_980, content_type="text/\x00html\udc80")
    ledger.pages.save_many([row])
    assert ledger.pages.of_domain("a.example")[row.url].content_type == "text/html?"


def test_robots_are_kept_while_fresh(ledger: Ledger) -> None:
    host = "https://" + "a" * 253 + ":65535"
    row = RobotsRow(host, 200, b"User-agent: *\n\xff\x00", NOW)
    ledger.pages.save_robots(row)
    assert ledger.pages.robots_of(host, NOW) == row
    assert ledger.pages.robots_of(host, NOW + 1) is None
    newer = RobotsRow(host, 404, b"", NOW + 2)
    ledger.pages.save_robots(newer)
    assert ledger.pages.robots_of(host, NOW + 1) == newer


# -- artifacts --------------------------------------------------------------------------------


def test_an_artifact_is_found_by_asset_and_batch_and_replaced_by_a_newer_one(
    ledger: Ledger,
) -> None:
    first = Artifact("scraped_pages", "a-00001", "x.parquet", 1, "v1", "f1", NOW)
    other = Artifact("company_directory", "", "y.parquet", 2, "v1", "f1", NOW)
    ledger.artifacts.save(first)
    ledger.artifacts.save(other)
    assert ledger.artifacts.find("scraped_pages", "a-00001") == first
    assert ledger.artifacts.find("company_directory", "") == other
    assert ledger.artifacts.find("scraped_pages", "a-00002") is None
    newer = Artifact("scraped_pages", "a-00001", "x.parquet", 5, "v2", "f2", NOW + 1)
    ledger.artifacts.save(newer)
    assert ledger.artifacts.of_asset("scraped_pages") == {"a-00001": newer}
