"""What Dagster shows of a failed run: one sentence, counts, examples, causes and stack traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from dagster import (
    DagsterInstance,
    Failure,
    RetryPolicy,
    RetryRequested,
    job,
    op,
)

from pipeline_assets.failures import UNFORESEEN, as_dagster, crashed, stack_of, unusable
from resources.core.errors import (
    CallError,
    FailureKind,
    PipelinePhaseError,
    UsageError,
)
from resources.core.errors import Failure as CoreFailure
from resources.core.models import Phase
from resources.core.redaction import remember
from resources.core.unsettled import Example

PHASE = Phase.PAGE_SCRAPING
SECRET = "s3cret-of-failures"
NEWEST = Example(
    "timeout",
    "acme.example",
    "list-00002",
    f"no answer from\nacme.example for {SECRET}",
    provider="pdl",
    url=f"https://acme.example/?api_key={SECRET}",
    rounds=2,
)
BUG = Example("bug", "b.example", "list-00001", "unforeseen KeyError: 'x'", stack="Traceback: x")


@pytest.fixture(autouse=True)
def _secret() -> None:
    remember([SECRET])


def _error(
    *, counts: dict[str, int] | None = None, retry_in_s: float | None = None
) -> PipelinePhaseError:
    error = PipelinePhaseError(
        PHASE,
        "PAGE_SCRAPING: 4 of 50 domains are not settled yet.",
        retry_in_s is not None,
        batch="list-00002",
        domain="acme.example",
        provider="pdl",
        url="https://acme.example/?api_key=***",
        round=2,
        retry_in_s=retry_in_s,
        counts=counts or {"timeout": 3, "bug": 1},
    )
    error.__cause__ = CallError(CoreFailure(FailureKind.BREAKER_OPEN, f"paused {SECRET}"))
    return error


def _as_dagster(error: PipelinePhaseError, **values: Any) -> Failure | RetryRequested:
    return as_dagster(
        error, retries_done=0, max_retries=3, longest_wait_s=480, shortest_wait_s=60, **values
    )


def _failure(examples: Sequence[Example] = (NEWEST, BUG), **values: Any) -> Failure:
    failure = _as_dagster(_error(), examples=examples, **values)
    assert isinstance(failure, Failure)
    return failure


def test_the_sentence_tells_the_counts_and_the_newest_case_on_one_line() -> None:
    assert _failure().description == (
        "PAGE_SCRAPING: 4 of 50 domains are not settled yet. The newest timeout is acme.example "
        "(batch list-00002, after round 2, pdl, https://acme.example/?api_key=***): "
        "no answer from acme.example for ***"
    )
    assert _failure([]).description == "PAGE_SCRAPING: 4 of 50 domains are not settled yet."


def test_the_metadata_has_phase_counts_causes_and_whether_a_wait_mends_it() -> None:
    metadata = _failure().metadata
    assert metadata["phase"].value == "PAGE_SCRAPING"
    assert metadata["unsettled"].value == 4
    assert metadata["by_kind"].value == {"timeout": 3, "bug": 1}
    assert metadata["recoverable"].value is False
    assert metadata["cause"].value == (
        "PipelinePhaseError: PAGE_SCRAPING: 4 of 50 domains are not settled yet.\n"
        "caused by CallError: breaker_open: paused ***"
    )


def test_each_kind_has_an_example_the_most_frequent_first_with_who_must_act() -> None:
    table = _failure([BUG, NEWEST]).metadata["examples"].value
    first, second = (record.data for record in table.records)
    assert first == {
        "kind": "timeout",
        "domains": 3,
        "domain": "acme.example",
        "batch": "list-00002",
        "provider": "pdl",
        "url": "https://acme.example/?api_key=***",
        "round": 2,
        "message": "no answer from\nacme.example for ***",
        "who_acts": "nobody",
    }
    assert (second["kind"], second["url"], second["who_acts"]) == ("bug", "", "maintainers")
    assert [column.name for column in table.schema.columns] == list(first)


def test_at_most_ten_examples_are_shown() -> None:
    kinds = list(FailureKind)[:14]
    counts = {kind.value: 100 - number for number, kind in enumerate(kinds)}
    examples = [Example(kind, f"{kind}.example", "list-00001", "x") for kind in reversed(kinds)]
    failure = _as_dagster(_error(counts=counts), examples=examples)
    assert isinstance(failure, Failure)
    shown = [record.data["kind"] for record in failure.metadata["examples"].value.records]
    assert shown == kinds[:10]


def test_stack_traces_are_shown_whole_as_code_and_without_secrets() -> None:
    metadata = _failure(stacks=[f"Traceback\n  in x\nKeyError: {SECRET}", "a ``` b"]).metadata
    assert metadata["stack_traces"].value == (
        "```\nTraceback\n  in x\nKeyError: ***\n```\n\n```\na ''' b\n```"
    )
    assert "stack_traces" not in _failure().metadata


@pytest.mark.parametrize(
    ("due_s", "retries_done", "expected"),
    [
        (10, 0, 60),  # not before the others are due too
        (10, 1, 120),
        (10, 2, 240),
        (300, 0, 300),  # not before the pause is over
        (480, 2, 480),
    ],
)
def test_a_retry_waits_one_two_and_four_minutes_or_until_something_is_due(
    due_s: float, retries_done: int, expected: float
) -> None:
    raised = as_dagster(
        _error(retry_in_s=due_s),
        retries_done=retries_done,
        max_retries=3,
        longest_wait_s=480,
        shortest_wait_s=60 * 2.0**retries_done,
    )
    assert isinstance(raised, RetryRequested)
    assert (raised.seconds_to_wait, raised.max_retries) == (expected, 3)
    assert isinstance(raised.__cause__, Failure)


def _ran(raises: Callable[[int], Exception], policy: RetryPolicy | None = None) -> Any:
    """What Dagster has of an op that raises this each time it is tried."""

    @op(retry_policy=policy)
    def phase(context):  # Dagster reads its annotation, and does not know it as a string
        raise raises(context.retry_number)

    @job
    def run() -> None:
        phase()

    with DagsterInstance.ephemeral() as instance:
        result = run.execute_in_process(instance=instance, raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    return failed.step_failure_data, sum(e.is_step_up_for_retry for e in result.all_events)


def test_dagster_keeps_sentence_metadata_and_the_chain_of_causes() -> None:
    shown, retries = _ran(lambda _: _failure())
    assert retries == 0
    assert shown.user_failure_data.description == _failure().description
    assert set(shown.user_failure_data.metadata) >= {"phase", "by_kind", "examples", "cause"}
    assert shown.error.cause.cls_name == "PipelinePhaseError"
    assert shown.error.cause.cause.cls_name == "CallError"


def test_a_run_that_breaks_off_is_tried_twice_more_and_then_says_why() -> None:
    def raises(retries_done: int) -> Failure:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            return crashed(PHASE, ["list-00001", "list-00003"], error, retries_done=retries_done)

    shown, retries = _ran(raises, RetryPolicy(max_retries=UNFORESEEN.max_retries, delay=0))
    assert retries == 2
    assert shown.user_failure_data.description == (
        "PAGE_SCRAPING: the run over batches list-00001 to list-00003 was broken off: unforeseen "
        "KeyError: '***'. What it settled before is kept. The stack trace is in the run's log, "
        "for the maintainers."
    )
    metadata = shown.user_failure_data.metadata
    assert metadata["kind"].value == "bug"
    assert metadata["who_acts"].value == "maintainers"
    assert "in raises" in metadata["stack_traces"].value
    assert SECRET not in f"{shown.error} {metadata}"


def test_a_run_that_breaks_off_at_the_disk_names_the_path_and_who_acts() -> None:
    error = OSError(28, "No space left on device", "/data/store/x")
    failure = crashed(PHASE, ["list-00001"], error, retries_done=0)
    assert "over batch list-00001 was broken off: '/data/store/x'" in str(failure.description)
    assert "No space left on device" in str(failure.description)
    assert failure.metadata["who_acts"].value == "operator"
    assert failure.allow_retries is True


def test_what_would_be_an_answers_fault_in_a_call_is_ours_where_the_run_itself_meets_it() -> None:
    for error in (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), TimeoutError("late")):
        failure = crashed(PHASE, ["list-00001"], error, retries_done=2)
        assert failure.metadata["kind"].value == "bug"
        assert f"unforeseen {type(error).__name__}: " in str(failure.description)
        assert failure.allow_retries is False


def test_what_stopped_the_run_is_not_said_twice() -> None:
    error = PipelinePhaseError(
        PHASE, "The disk is full. 2 of 2 domains wait.", False, domain="acme.example"
    )
    example = Example("store", "acme.example", "list-00001", "The disk is full.")
    raised = _as_dagster(error, examples=[example])
    assert isinstance(raised, Failure)
    assert raised.description == (
        "The disk is full. 2 of 2 domains wait. "
        "The newest store is acme.example (batch list-00001)."
    )


def test_a_setting_that_cannot_be_used_is_not_tried_again() -> None:
    failure = unusable(UsageError(f"PIPELINE_X names {SECRET}."))
    assert (failure.description, failure.allow_retries) == ("PIPELINE_X names ***.", False)


def test_a_stack_trace_has_all_causes_and_no_secret() -> None:
    def outer() -> None:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise RuntimeError("outer") from error

    with pytest.raises(RuntimeError) as caught:
        outer()
    trace = stack_of(caught.value)
    assert trace.index("ValueError: ***") < trace.index("RuntimeError: outer")
    assert SECRET not in trace
