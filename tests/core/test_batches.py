"""How lists and batches are named, and wanted batches become ranges."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.batches import (
    batch_key,
    contiguous_ranges,
    list_name_from,
)

KEYS = [f"list-{number:05d}" for number in range(1, 51)]


def test_keys_sort_by_number() -> None:
    assert batch_key("customers", 1) == "customers-00001"
    assert batch_key("customers", 99_999) < batch_key("customers-b", 1)
    assert sorted([batch_key("a", 10), batch_key("a", 9)]) == ["a-00009", "a-00010"]


@pytest.mark.parametrize("name", ["", "a,b", "A", "a b", "-a", "a" * 61, "a\n"])
def test_a_key_is_made_of_a_safe_name_only(name: str) -> None:
    with pytest.raises(ValueError, match="list name"):
        batch_key(name, 1)


def test_batches_are_numbered_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        batch_key("a", 0)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("domains", "domains"),
        ("Kunden M\u00fcnchen, 2024 (neu)", "kunden-munchen-2024-neu"),
        ("../../etc/passwd", "etc-passwd"),
        ("my_list-2", "my_list-2"),
        ("a" * 59 + "-b", "a" * 59),
        ("\uff21\uff22", "ab"),
    ],
)
def test_list_names_are_slugs(stem: str, name: str) -> None:
    assert list_name_from(stem) == name


@pytest.mark.parametrize("stem", ["", "---", "\u516c\u53f8", ",,,"])
def test_a_name_of_which_nothing_is_left_is_refused(stem: str) -> None:
    with pytest.raises(ValueError, match="no list name"):
        list_name_from(stem)


@given(st.text())
def test_whatever_name_comes_out_can_be_a_key(stem: str) -> None:
    try:
        name = list_name_from(stem)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,59}", name)
    assert list_name_from(name) == name
    assert batch_key(name, 1)


def test_neighbours_become_one_range() -> None:
    assert contiguous_ranges(KEYS, KEYS[3:6]) == [(KEYS[3], KEYS[5])]


def test_nothing_wanted_is_no_range() -> None:
    assert contiguous_ranges(KEYS, [], bridge=KEYS) == []


def test_a_range_never_runs_over_a_batch_that_is_not_settled() -> None:
    wanted = [KEYS[0], KEYS[2]]
    assert contiguous_ranges(KEYS, wanted) == [(KEYS[0], KEYS[0]), (KEYS[2], KEYS[2])]
    assert contiguous_ranges(KEYS, wanted, bridge=[KEYS[1]]) == [(KEYS[0], KEYS[2])]


def test_a_range_runs_over_settled_batches_up_to_the_gap_and_no_further() -> None:
    wanted = [KEYS[0], KEYS[21]]
    assert contiguous_ranges(KEYS, wanted, bridge=KEYS) == [(KEYS[0], KEYS[21])]
    assert contiguous_ranges(KEYS, wanted, bridge=KEYS, max_gap=19) == [
        (KEYS[0], KEYS[0]),
        (KEYS[21], KEYS[21]),
    ]


def test_a_wanted_key_that_does_not_exist_is_not_left_out_silently() -> None:
    with pytest.raises(ValueError, match="'gone'"):
        contiguous_ranges(KEYS, [KEYS[0], "gone"])


@given(
    st.lists(st.sampled_from("wbo"), max_size=40),
    st.integers(min_value=0, max_value=5),
)
def test_ranges_cover_exactly_what_is_wanted_and_are_as_few_as_allowed(
    kinds: list[str], max_gap: int
) -> None:
    keys = [f"k{number:03d}" for number in range(len(kinds))]
    kind_of = dict(zip(keys, kinds, strict=True))
    wanted = {key for key in keys if kind_of[key] == "w"}
    bridge = {key for key in keys if kind_of[key] == "b"}
    ranges = contiguous_ranges(keys, wanted, bridge, max_gap)
    covered = [key for first, last in ranges for key in keys if first <= key <= last]
    assert len(covered) == len(set(covered))
    assert wanted <= set(covered) <= wanted | bridge
    assert all(first in wanted and last in wanted for first, last in ranges)
    pattern = f"w(?:b{{0,{max_gap}}}w)*"
    assert len(ranges) == len(re.findall(pattern, "".join(kinds)))
