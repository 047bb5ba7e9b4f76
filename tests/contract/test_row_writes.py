"""Statements for many rows write what they would write one by one, on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select, update

from resources.adapters.ledger.ledger import Ledger
from resources.adapters.ledger.schema import answers
from tests.support.time import NOW


def _row(domain: str, **values: Any) -> dict[str, Any]:
    return {
        "provider": "pdl",
        "domain": domain,
        "call_id": "c",
        "state": "asked",
        "url": "https://a.example/\x00\udc80ü",
        "body": None,
        "at": NOW,
    } | values


def _all(ledger: Ledger) -> dict[str, Any]:
    with ledger.database.read() as connection:
        return {row.domain: row for row in connection.execute(select(answers))}


def test_rows_are_written_as_their_columns_keep_them(ledger: Ledger, second: Ledger) -> None:
    insert = ledger.database.rows(answers.insert())
    with ledger.database.write() as connection:
        insert.run(connection, [_row("a.example"), _row("b.example", body=b"\x00\xff")])
        insert.run(connection, [])
    found = _all(second)
    assert found["a.example"].url == "https://a.example/?ü"
    assert (found["a.example"].body, bytes(found["b.example"].body)) == (None, b"\x00\xff")
    assert (found["a.example"].asked, found["a.example"].credits, found["a.example"].at) == (
        1,
        0,
        NOW,
    )


def test_rows_with_other_keys_go_by_their_own(ledger: Ledger, second: Ledger) -> None:
    insert = ledger.database.rows(answers.insert())
    with ledger.database.write() as connection:
        insert.run(connection, [_row("a.example")])
        insert.run(connection, [_row("b.example", credits=2.5, asked=7)])
    found = _all(second)
    assert (found["a.example"].asked, found["b.example"].asked) == (1, 7)
    assert found["b.example"].credits == 2.5


def test_what_the_statement_itself_brings_is_written_with_every_row(
    ledger: Ledger, second: Ledger
) -> None:
    change = ledger.database.rows(
        update(answers)
        .where(answers.c.domain == bindparam("b_domain"), answers.c.state == "asked")
        .values(state="failed", asked=answers.c.asked + 2, url=bindparam("b_url"), body=None)
    )
    with ledger.database.write() as connection:
        rows = [_row("a.example", body=b"x"), _row("b.example", state="match"), _row("c.example")]
        ledger.database.rows(answers.insert()).run(connection, rows)
        change.run(
            connection, [{"b_domain": f"{name}.example", "b_url": f"\x00{name}"} for name in "ab"]
        )
    found = _all(second)
    assert [(row.state, row.asked) for _, row in sorted(found.items())] == [
        ("failed", 3),
        ("match", 1),
        ("asked", 1),
    ]
    assert (found["a.example"].url, found["a.example"].body) == ("a", None)
