"""What a page says to robots about itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.robots_directives import Directives, directives_of


@pytest.mark.parametrize(
    ("headers", "meta", "is_indexed", "is_followed"),
    [
        ([], None, True, True),
        ([], "", True, True),
        ([], "index, follow", True, True),
        ([], "noindex", False, True),
        ([], "NoIndex,NOFOLLOW", False, False),
        ([], "none", False, False),
        ([], "all", True, True),
        ([], "noarchive, nosnippet", True, True),
        ([], "noindexing", True, True),
        (["noindex"], None, False, True),
        (["nofollow"], "noindex", False, False),
        (["otherbot: noindex, nofollow"], None, True, True),
        (["pipeline: noindex"], None, False, True),
        (["Pipeline: none"], None, False, False),
        (["otherbot: noindex", "nofollow"], None, True, False),
        (["otherbot: noindex, pipeline: nofollow"], None, True, False),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"], None, False, True),
        (["max-snippet: 20, nofollow"], None, True, False),
        (["noindex; nofollow"], None, False, False),
    ],
)
def test_what_is_said_to_us_is_heard(
    headers: list[str], meta: str | None, is_indexed: bool, is_followed: bool
) -> None:
    assert directives_of(headers, meta) == Directives(is_indexed, is_followed)


@given(st.lists(st.text(max_size=40), max_size=4), st.none() | st.text(max_size=40))
def test_nothing_that_is_written_ends_in_an_error(headers: list[str], meta: str | None) -> None:
    found = directives_of(headers, meta)
    if "no" not in "".join((*headers, meta or "")).lower():
        assert found == Directives()
