"""The healing campaign's short form: each fault once, many of them under the same servers.

Cases that do not disturb each other are played at once, each with a lane of its own; those that
take servers away come one after the other. Rows of places are used at the same time: most of what
happens is waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.campaigns.checks import Check
from tests.campaigns.healing import CASES, database_for, play
from tests.campaigns.healing_checks import check_directory
from tests.campaigns.healing_place import Place, opened
from tests.campaigns.healing_play import Case
from tests.campaigns.healing_report import Outcome, as_lines
from tests.support.postgres import postgres

SEED = 7
QUICK = {
    "PIPELINE_HEAL_INTERVAL": "5",
    "PIPELINE_RECOVERY_INTERVAL": "5",
    "PIPELINE_RETRY_BACKOFF_BASE": "1",
}
# Enough to be several runs of each phase.
SMALLER = {"backfill": (12, 2)}
KNOWN = {case.name: replace(case, plan=SMALLER.get(case.name, case.plan)) for case in CASES}


@dataclass(frozen=True)
class Plan:
    """A place and what is played in it.

    Args:
        stages: Names of cases that are played at once, stage by stage.
        before: Settings that the servers are restarted with before a stage.
    """

    name: str
    stages: Sequence[Sequence[str]]
    before: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def cases(self) -> list[Case]:
        return [KNOWN[name] for stage in self.stages for name in stage]

    @property
    def settings(self) -> dict[str, str]:
        """All that its cases need together; what changes between stages is left out."""
        changed = {name for settings in self.before.values() for name in settings}
        found = dict(QUICK)
        for case in self.cases:
            found |= {name: value for name, value in case.settings.items() if name not in changed}
        return found


SHARED = Plan(
    "shared",
    [
        ["worker-killed", "worker-stopped", "run-cancelled", "inbox"],
        ["daemon-killed"],
        ["code-server"],
        ["everything-killed"],
    ],
)
TRAPPED = Plan("trapped", [["worker-busy", "page-crashes"]])
ON_POSTGRESQL = Plan("postgresql", [["database-restarted"], ["backfill"]])
CHANGED = Plan(
    "changed",
    [["wrong-key"], ["advice"], ["provider-down"], ["daemon-silenced"]],
    before={1: {"PIPELINE_ENABLE_AUTO_RECOVERY": "false"}},
)
ROWS = [[SHARED], [TRAPPED, ON_POSTGRESQL], [CHANGED]]
PLAYED = [case.name for row in ROWS for plan in row for case in plan.cases]


def _play_all(plan: Plan, folder: Path) -> list[tuple[str, Outcome | Check]]:
    """Play a place's cases, and check its directory at the end."""
    found: list[tuple[str, Outcome | Check]] = []
    with ExitStack() as stack:
        server = stack.enter_context(postgres()) if plan is ON_POSTGRESQL else None
        database = database_for(server, "healing_short")
        plans = [case.lane_plan for case in plan.cases if case.plan[0]]
        is_trapped = any(case.is_trapped for case in plan.cases)
        place = stack.enter_context(
            opened(
                folder / plan.name,
                plans,
                settings=plan.settings,
                seed=SEED,
                database=database,
                is_trapped=is_trapped,
            )
        )
        for number, names in enumerate(plan.stages):
            if number in plan.before:
                place.restart(**plan.before[number])
            found += _play_stage(place, names)
        found.append((plan.name, check_directory(place, list(place.lanes.values()))))
    return found


def _play_stage(place: Place, names: Sequence[str]) -> list[tuple[str, Outcome | Check]]:
    with ThreadPoolExecutor(len(names)) as pool:
        cases = [KNOWN[name] for name in names]
        outcomes = pool.map(lambda case: play(case, place, 1, SEED), cases)
        return list(zip(names, outcomes, strict=True))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome | Check]]:
    """What became of each case, and of the directory of each place, by name."""
    folder = tmp_path_factory.mktemp("healing")

    def row(plans: Sequence[Plan]) -> list[tuple[str, Outcome | Check]]:
        return [pair for plan in plans for pair in _play_all(plan, folder)]

    with ThreadPoolExecutor(len(ROWS)) as pool:
        yield dict(pair for pairs in pool.map(row, ROWS) for pair in pairs)


@pytest.mark.slow
@pytest.mark.campaign
def test_the_times_are_printed(
    found: dict[str, Outcome | Check], capfd: pytest.CaptureFixture[str]
) -> None:
    outcomes = [one for one in found.values() if isinstance(one, Outcome)]
    with capfd.disabled():
        print(f"\n{as_lines(outcomes)}")
    assert len(outcomes) == len(PLAYED)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("name", PLAYED)
def test_a_fault_is_healed_in_time_and_nothing_is_lost_or_done_twice(
    found: dict[str, Outcome | Check], name: str
) -> None:
    outcome = found[name]
    assert isinstance(outcome, Outcome)
    assert outcome.wrong == []


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("name", [plan.name for row in ROWS for plan in row])
def test_the_directory_holds_everybody_at_the_end(
    found: dict[str, Outcome | Check], name: str
) -> None:
    directory = found[name]
    assert isinstance(directory, Check)
    assert directory.is_passed, directory.found


def test_the_short_form_leaves_out_only_what_takes_long() -> None:
    assert set(KNOWN) - set(PLAYED) == {"outage-of-200", "mixed"}
