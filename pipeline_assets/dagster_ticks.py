"""What Dagster knows of its sensors' ticks: which fail, and which wait for a time that never comes.

A tick that takes too long, or a code server that cannot load, leaves no word in our ledger; Dagster
notes it as failed. Who is told, and when, is the watchman's.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    SensorInstigatorData,
    TickStatus,
)

from resources.core.alerting import CLOCK_TOLERANCE_S, Topic, Trouble
from resources.core.redaction import redact

# One alone may be a database that was restarted.
MOST_FAILED = 2
# Older ones are of a daemon that is gone; that it is silent is told elsewhere.
LATELY_S = 1_800.0
_ENDED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
_MOST_CHARS = 300


def failing_sensors(instance: DagsterInstance, now: float) -> list[Trouble]:
    """Sensors whose newest ticks have all failed, a trouble each."""
    troubles: dict[str, Trouble] = {}
    for state in _sensor_states(instance):
        ticks = instance.get_ticks(
            state.instigator_origin_id, state.selector_id, limit=MOST_FAILED, statuses=_ENDED
        )
        if _fails(ticks, now):
            troubles[state.instigator_name] = Trouble(
                Topic.TICK_FAILS,
                state.instigator_name,
                f"The sensor {state.instigator_name} fails at each tick: {_why(ticks[0])}",
            )
    return list(troubles.values())


def bring_back_ticks(instance: DagsterInstance, now: float) -> list[str]:
    """Let sensors tick that wait for a time which is far ahead, as after a clock was put back.

    Dagster counts a sensor's interval from its newest tick, whenever that was.

    Returns: their names.
    """
    late = []
    for state in _sensor_states(instance):
        data = state.instigator_data
        if not isinstance(data, SensorInstigatorData):
            continue
        newest = max(data.last_tick_timestamp or 0.0, data.last_tick_start_timestamp or 0.0)
        if newest > now + CLOCK_TOLERANCE_S:
            instance.update_instigator_state(
                state.with_data(
                    data._replace(last_tick_timestamp=None, last_tick_start_timestamp=None)
                )
            )
            late.append(state.instigator_name)
    return late


def _sensor_states(instance: DagsterInstance) -> Sequence[InstigatorState]:
    return instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)


def _fails(ticks: Sequence[InstigatorTick], now: float) -> bool:
    return (
        len(ticks) == MOST_FAILED
        and all(tick.status is TickStatus.FAILURE for tick in ticks)
        and abs(now - ticks[0].timestamp) < LATELY_S
    )


def _why(tick: InstigatorTick) -> str:
    error = tick.error
    while error is not None and error.cause is not None:
        error = error.cause
    words = " ".join((error.message if error is not None else "no reason was noted").split())
    return redact(words)[:_MOST_CHARS]
