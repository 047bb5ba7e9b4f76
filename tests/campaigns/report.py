"""A campaign's report as Markdown."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from tests.campaigns.kills import BATCH_SIZE, Campaign


def as_markdown(campaign: Campaign, machine: str) -> str:
    """The whole report."""
    kills = campaign.kills
    verdict = "Everything held." if campaign.is_passed else "**Not everything held.**"
    lives = sorted(kill.after_s for kill in kills)
    median_s = lives[len(lives) // 2] if lives else 0.0
    return "\n".join(
        [
            f"# {len(kills)} kills of the main job ({datetime.now(UTC):%Y-%m-%d})",
            "",
            f"`pipeline run` over {campaign.domains} fictional companies in batches of "
            f"{BATCH_SIZE}, in the sandbox with faults, ended by SIGKILL {len(kills)} times at "
            "seeded random moments, each time started again, at last left alone; and the same "
            f"list once without kills. {machine}. {verdict}",
            "",
            "    python -m tests.campaigns.kills "
            f"--kills {campaign.wanted} --seed {campaign.seed} --domains {campaign.domains}",
            "",
            "| check | verdict | found |",
            "|---|---|---|",
            *(
                f"| {check.name} | {'held' if check.is_passed else '**failed**'} "
                f"| {_cell(check.found)} |"
                for check in campaign.checks
            ),
            "",
            "| killed in | times | of these after something was settled in that life |",
            "|---|---|---|",
            *_phase_rows(campaign),
            "",
            "| figure | |",
            "|---|---|",
            f"| seconds without kills | {campaign.undisturbed_s:.0f} |",
            f"| seconds with {len(kills)} kills and restarts | {campaign.seconds:.0f} |",
            f"| median life of a process | {median_s:.1f} s |",
            f"| paid answers billed | {campaign.billed} |",
            f"| paid look-ups in doubt at the kills | {campaign.in_doubt} |",
            *(f"| {name} | {_cell(value)} |" for name, value in campaign.figures.items()),
            "",
        ]
    )


def _phase_rows(campaign: Campaign) -> list[str]:
    times = Counter(kill.phase for kill in campaign.kills)
    worked = Counter(kill.phase for kill in campaign.kills if kill.settled)
    return [f"| {phase} | {n} | {worked[phase]} |" for phase, n in sorted(times.items())]


def _cell(value: object) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{n} with {key}" for key, n in value.items()) or "none"
    return " ".join(str(value).split()).replace("|", "\\|")
