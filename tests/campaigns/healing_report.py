"""The healing campaign's report as Markdown, and its table of times for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from tests.campaigns.checks import Check
from tests.campaigns.healing_play import Case


@dataclass(frozen=True)
class Outcome:
    """One case, played once.

    Args:
        seconds: Until all was settled; None where it never was.
        since: From when they are counted.
        bound_s: The most that they may be; None where only the end counts.
        trouble: What ended it before its end; empty for nothing.
    """

    case: Case
    number: int
    seconds: float | None
    since: str
    bound_s: float | None
    checks: Sequence[Check] = ()
    trouble: str = ""

    @property
    def is_in_time(self) -> bool:
        if self.seconds is None:
            return False
        return self.bound_s is None or self.seconds <= self.bound_s

    @property
    def wrong(self) -> list[str]:
        """What did not hold, in words."""
        found = [f"{one.name}: {one.found}" for one in self.checks if not one.is_passed]
        if self.trouble:
            found.append(self.trouble)
        elif not self.is_in_time:
            found.append(f"{self.seconds:.0f} s since {self.since}, {self.bound_s:.0f} are allowed")
        return found

    @property
    def line(self) -> str:
        """One line for a terminal."""
        time = "never" if self.seconds is None else f"{self.seconds:6.1f} s"
        bound = "" if self.bound_s is None else f" of {self.bound_s:.0f}"
        verdict = "held" if not self.wrong else "FAILED"
        return f"{self.case.name:20} {self.number:2} {time}{bound} since {self.since}: {verdict}"


def as_markdown(outcomes: Sequence[Outcome], command: str, machine: str, settings: str) -> str:
    """The whole report."""
    verdict = (
        "Everything held." if not any(o.wrong for o in outcomes) else "**Not all of it held.**"
    )
    return "\n".join(
        [
            f"# Healing by itself ({datetime.now(UTC):%Y-%m-%d})",
            "",
            "Real webserver, daemon, code server and sandbox; each round of each case from a clean "
            "start. A fault is made, nobody does anything, and the time is taken until every "
            f"domain of both phases is settled. {machine}; {settings}. {verdict}",
            "",
            f"    {command}",
            "",
            "| case | rounds | median s | worst s | bound s | counted from | person's part "
            "| verdict |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(case, outcomes) for case in _cases(outcomes)),
            "",
            "| check | times held | times failed |",
            "|---|---|---|",
            *_check_rows(outcomes),
            "",
            *_wrong(outcomes),
        ]
    )


def as_lines(outcomes: Sequence[Outcome]) -> str:
    """The same for a terminal: a line for each round, and what did not hold."""
    return "\n".join([*(one.line for one in outcomes), *_wrong(outcomes)])


def _cases(outcomes: Sequence[Outcome]) -> list[Case]:
    return list({outcome.case.name: outcome.case for outcome in outcomes}.values())


def _row(case: Case, outcomes: Sequence[Outcome]) -> str:
    mine = [one for one in outcomes if one.case.name == case.name]
    times = [one.seconds for one in mine if one.seconds is not None]
    bounds = [one.bound_s for one in mine if one.bound_s is not None]
    failed = sum(bool(one.wrong) for one in mine)
    cells = [
        case.fault,
        str(len(mine)),
        f"{median(times):.0f}" if times else "never",
        f"{max(times):.0f}" if len(times) == len(mine) else "never",
        f"{max(bounds):.0f}" if bounds else "-",
        mine[0].since.partition(",")[0],
        case.steps or "none",
        f"**{failed} failed**" if failed else "held",
    ]
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _check_rows(outcomes: Sequence[Outcome]) -> list[str]:
    held: dict[str, int] = {}
    failed: dict[str, int] = {}
    for outcome in outcomes:
        for one in outcome.checks:
            held[one.name] = held.get(one.name, 0) + one.is_passed
            failed[one.name] = failed.get(one.name, 0) + (not one.is_passed)
    return [f"| {_cell(name)} | {n} | {failed[name] or ''} |" for name, n in held.items()]


def _wrong(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"- {outcome.case.name}, round {outcome.number}: {_cell(one)}"
        for outcome in outcomes
        for one in outcome.wrong
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
