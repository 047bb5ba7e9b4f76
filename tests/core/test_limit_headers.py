"""What limit headers say, in all the forms that are in use, and nothing at all for garbage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resources.core.limit_headers import reset_wait, wait_until_reset
from tests.support.time import NOW  # 2027-01-15T08:00:00Z

X = "x-ratelimit-"
SPENT = {f"{X}remaining": "0"}
WINDOWS = json.dumps({"minute": "2027-01-15T08:00:30Z", "day": "2027-01-16T00:00:00Z"})


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("12", 12),
        ("0", 0),
        ("1.5", 1.5),
        ('"12"', 12),
        ("1800000042", 42),
        ("1800000042.5", 42.5),
        ("1799999000", 0),
        ("1800000042000", 42),  # milliseconds
        ("2027-01-15T08:00:42Z", 42),
        ("2027-01-15T08:00:42.500Z", 43),
        ("2027-01-15T09:00:42+01:00", 42),
        ("2027-01-15 08:00:42", 42),
        ("2027-01-15T07:00:00Z", 0),
    ],
)
def test_a_reset_is_read_in_seconds_as_a_moment_and_as_a_date(reset: str, seconds: float) -> None:
    headers = SPENT | {f"{X}reset": reset}
    assert wait_until_reset(headers, NOW) == seconds
    assert reset_wait({f"{X}reset": reset}, NOW) == seconds


@pytest.mark.parametrize("reset", ["", "soon", "-5", "nan", "inf", "1e999", "12 s", "{}", "None"])
def test_a_reset_that_cannot_be_read_says_nothing(reset: str) -> None:
    headers = SPENT | {f"{X}reset": reset}
    assert wait_until_reset(headers, NOW) is None
    assert reset_wait(headers, NOW) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # The IETF draft: two headers, one header, one header with several windows.
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "12"}, None),
        ({"ratelimit": "limit=100, remaining=0, reset=12"}, 12),
        ({"ratelimit": "limit=100, remaining=5, reset=12"}, None),
        ({"ratelimit": "Limit=100,Remaining=0,Reset=12"}, 12),
        ({"ratelimit": "limit=100, remaining=0"}, None),
        ({"ratelimit": '"default";r=0;t=12'}, 12),
        ({"ratelimit": '"default";r=50;t=12'}, None),
        ({"ratelimit": '"burst";r=0;t=3, "hour";r=0;t=600, "day";r=9;t=9000'}, 600),
        ({"ratelimit": '"default";r=0'}, None),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "1800000042"}, 42),
        # People Data Labs: an object of windows, in either kind of quotes.
        ({f"{X}remaining": '{"minute": 0, "day": 812}', f"{X}reset": WINDOWS}, 30),
        ({f"{X}remaining": '{"minute": 5, "day": 0}', f"{X}reset": WINDOWS}, 16 * 3600),
        ({f"{X}remaining": '{"minute": 0, "day": 0}', f"{X}reset": WINDOWS}, 16 * 3600),
        ({f"{X}remaining": '{"minute": 5, "day": 812}', f"{X}reset": WINDOWS}, None),
        ({f"{X}remaining": "{'minute': 0}", f"{X}reset": "{'minute': '12', 'day': '99'}"}, 12),
        ({f"{X}remaining": '{"minute": 0}', f"{X}reset": '{"day": "12"}'}, None),
        ({f"{X}remaining": "0", f"{X}reset": WINDOWS}, None),
        # Something is left, or it is not said.
        ({f"{X}remaining": "00", f"{X}reset": "12"}, 12),
        ({f"{X}remaining": "0.0", f"{X}reset": "12"}, 12),
        ({f"{X}remaining": "10", f"{X}reset": "12"}, None),
        ({f"{X}remaining": "-1", f"{X}reset": "12"}, None),
        ({f"{X}remaining": "1700000000", f"{X}reset": "12"}, None),
        ({f"{X}reset": "12"}, None),
        ({f"{X}remaining": "0"}, None),
        ({}, None),
    ],
)
def test_there_is_a_wait_only_where_a_window_is_used_up(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    assert wait_until_reset(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({f"{X}reset": WINDOWS}, 30),
        ({f"{X}remaining": '{"minute": 5, "day": 0}', f"{X}reset": WINDOWS}, 16 * 3600),
        ({f"{X}remaining": "5", f"{X}reset": "12"}, 12),
        ({f"{X}reset": '{"minute": "soon", "day": "99"}'}, 99),
        ({"ratelimit": "limit=100, remaining=0, reset=12"}, 12),
        ({}, None),
    ],
)
def test_who_complains_without_saying_which_window_is_asked_again_at_the_soonest_reset(
    headers: Mapping[str, str], seconds: float | None
) -> None:
    assert reset_wait(headers, NOW) == seconds


NAMES = st.sampled_from(
    ["ratelimit", *(f"{p}{n}" for p in (X, "ratelimit-") for n in ("remaining", "reset"))]
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"\{[\"'a-z0-9:, \[{}\]]{0,40}\}"),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
    st.dictionaries(st.sampled_from(["minute", "day"]), st.integers() | st.text()).map(json.dumps),
    st.just("0"),
)


@pytest.mark.parametrize("read", [wait_until_reset, reset_wait])
@given(headers=st.dictionaries(NAMES, VALUES), now=st.floats(0, 4e9))
@example(headers={f"{X}remaining": '{"a":' + "[" * 4000}, now=NOW)
@example(headers=SPENT | {f"{X}reset": "0001-01-01T00:00:00+23:59"}, now=NOW)
@example(headers=SPENT | {f"{X}reset": "9" * 5000}, now=NOW)
@example(headers={f"{X}reset": '{"a": ' + "9" * 5000 + "}"}, now=NOW)
@example(headers={"ratelimit": "remaining=0, reset=" + "9" * 5000}, now=NOW)
@example(headers={"ratelimit": "remaining=٣, reset=٣"}, now=NOW)
def test_whatever_a_server_sends_it_is_a_number_of_seconds_or_nothing(
    read: Callable[[Mapping[str, str], float], float | None], headers: dict[str, str], now: float
) -> None:
    wait_s = read(headers, now)
    assert wait_s is None or 0 <= wait_s < float("inf")
