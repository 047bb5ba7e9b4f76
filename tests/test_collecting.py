"""The collector leaves a phase alone, and is as it was afterwards."""

from __future__ import annotations

import gc
import weakref

import pytest

from resources.collecting import NEW_OBJECTS, collected_seldom


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_left_alone_until_the_last_phase_is_over() -> None:
    usual = gc.get_threshold()
    frozen = gc.get_freeze_count()
    older = weakref.ref(_Cycle())
    first = collected_seldom()
    second = collected_seldom()
    with first:
        assert gc.get_threshold()[0] == NEW_OBJECTS
        assert gc.get_freeze_count() > frozen
        second.__enter__()
        newer = weakref.ref(_Cycle())
        gc.collect()
        assert newer() is None  # what a phase leaves behind is collected as ever
    assert gc.get_threshold()[0] == NEW_OBJECTS
    second.__exit__(None, None, None)
    assert gc.get_threshold() == usual
    gc.collect()
    assert older() is None


def test_the_collector_is_as_it_was_after_a_phase_that_failed() -> None:
    usual = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), collected_seldom():
        raise ZeroDivisionError
    assert gc.get_threshold() == usual
