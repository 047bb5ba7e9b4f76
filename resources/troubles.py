"""What is wrong now, as troubles that alerts are made of: found by a reconciliation, told once.

Which troubles there are is here; when a message goes out, and how many, is in `core/alerting`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from resources.alerts import tell
from resources.breaker_troubles import long_paused
from resources.core.alerting import HEALING_TOPICS, Topic, Trouble
from resources.core.errors import FailureKind
from resources.core.models import Phase
from resources.core.recovery import MOST_DEATHS, MOST_FRUITLESS_RUNS, Action
from resources.directory import ASSET as DIRECTORY
from resources.healing import Healing
from resources.platform import Platform

# Our own trouble, that no other side is to blame for.
_LOCAL = (FailureKind.LOCAL_NETWORK, FailureKind.STORE)


def tell_of(platform: Platform, healing: Healing, faults: Mapping[str, str]) -> list[str]:
    """Send what is new or over. Returns what kept a message from going out, in words.

    Args:
        faults: What could not be looked after, by its name; a sentence each.
    """
    troubles = [*_of_batches(healing), *long_paused(platform, platform.clock.now())]
    troubles += [Trouble(Topic.NOT_LOOKED_AFTER, what, words) for what, words in faults.items()]
    now = platform.clock.now()
    return tell(platform.ledger, platform.settings, troubles, [], now, about=HEALING_TOPICS)


def tell_of_closed_runs(platform: Platform) -> list[str]:
    """Send at once what was written down of runs that were closed (`note_closed_run`)."""
    now = platform.clock.now()
    return tell(platform.ledger, platform.settings, [], [], now, about=())


def note_closed_run(platform: Platform, run_id: str, reason: str, now: float) -> None:
    """Write down that a dead or stuck run was closed; whoever tells next tells it, once."""
    event = Trouble(Topic.RUN_REPAIRED, run_id, f"run {run_id}: {reason}")
    platform.ledger.alerts.happened(event, now)


def _of_batches(healing: Healing) -> list[Trouble]:
    given_up: Counter[Phase] = Counter()
    persons: Counter[tuple[Phase, str]] = Counter()
    local: Counter[str] = Counter()
    paused: Counter[Phase] = Counter()
    deadly: Counter[Phase] = Counter()
    reasons: dict[Phase, str] = {}
    dying: dict[Phase, str] = {}
    for (phase, key), verdict in healing.verdicts.items():
        if verdict.deaths >= MOST_DEATHS:
            deadly[phase] += 1
            dying.setdefault(phase, f"{key}: {verdict.deaths}")
        match verdict.action:
            case Action.GIVEN_UP:
                given_up[phase] += 1
                reasons.setdefault(phase, f"{key}: {verdict.reason}")
            case Action.PERSON:
                persons[phase, verdict.kind or "unknown"] += 1
            case _ if verdict.attempts >= MOST_FRUITLESS_RUNS:
                kinds = healing.standings[phase, key].work.kinds
                for kind in _LOCAL:
                    local[kind] += bool(kinds.get(kind))
                paused[phase] += bool(kinds.get(FailureKind.BREAKER_OPEN))
    found = [
        Trouble(
            Topic.NO_PROGRESS,
            phase,
            f"{phase}: automatic runs bring nothing in {count} batches and have ended "
            f"(such as {reasons[phase]}). `pipeline failures` says why; a run that you start, or "
            "`pipeline retry --batch KEY`, goes on.",
            count,
        )
        for phase, count in given_up.items()
    ]
    if healing.is_directory_given_up:
        found.append(
            Trouble(
                Topic.NO_PROGRESS,
                DIRECTORY,
                f"{DIRECTORY}: automatic runs fail to write it and have ended. Their log says why; "
                "a run that you start, or new profiles, go on.",
            )
        )
    found += [
        Trouble(
            Topic.NEEDS_PERSON,
            f"{phase} {kind}",
            f"{phase}: {count} batches wait for a person ({kind}). Set it right, then "
            f"`pipeline retry --kind {kind}`.",
            count,
        )
        for (phase, kind), count in persons.items()
    ]
    found += [
        Trouble(
            Topic.LOCAL_TROUBLE,
            kind,
            f"{count} batches wait for our own side ({kind}) and are tried every few minutes; "
            "`pipeline doctor` says what is wrong.",
            count,
        )
        for kind, count in local.items()
        if count
    ]
    found += [
        Trouble(
            Topic.NO_PROGRESS,
            f"{phase} workers die",
            f"{phase}: run after run dies in {count} batches while nothing settles (such as "
            f"{dying[phase]} in a row). They are tried again every few minutes; is there enough "
            "memory? Dagster's page of the newest run says how it ended.",
            count,
        )
        for phase, count in deadly.items()
    ]
    found += [
        Trouble(
            Topic.BREAKER_OPEN,
            phase,
            f"{phase}: {count} batches wait for calls that are paused, and "
            f"{MOST_FRUITLESS_RUNS} automatic runs or more have brought nothing. They are tried "
            "again by themselves; `pipeline status` says what is paused.",
            count,
        )
        for phase, count in paused.items()
        if count
    ]
    return found
