"""Foreign JSON cut to a bounded size, in values that any JSON writer takes back."""

from typing import Any, Final

MAX_DEPTH: Final = 12
_MAX_VALUES: Final = 2_000
_MAX_STRING: Final = 2_000
_MAX_ENTRIES: Final = 200


def bounded(value: Any) -> Any:
    """Return a copy without anything deeper, longer or more than the bounds.

    Also without lone surrogates and numbers that JSON has no form for (NaN, infinity).

    >>> bounded({"a": [float("nan"), 1]})
    {'a': [None, 1]}
    """
    return _copy(value, 0, [_MAX_VALUES])


def _copy(value: Any, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if isinstance(value, str):
        # A lone surrogate, possible in JSON escapes, could not be stored.
        return value[:_MAX_STRING].encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        entries = list(value.items())[:_MAX_ENTRIES] if _has_room(depth, budget) else []
        return {_copy(str(key), depth, budget): _copy(v, depth + 1, budget) for key, v in entries}
    if isinstance(value, list):
        kept = value[:_MAX_ENTRIES] if _has_room(depth, budget) else []
        return [_copy(each, depth + 1, budget) for each in kept]
    if isinstance(value, int) and not -(2**53) < value < 2**53:
        return str(value) if value.bit_length() < 4_000 else None
    # json reads NaN and Infinity, which no JSON writer takes back.
    return None if isinstance(value, float) and value - value != 0 else value


def _has_room(depth: int, budget: list[int]) -> bool:
    return depth < MAX_DEPTH and budget[0] > 0
