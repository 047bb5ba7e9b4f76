"""One reconciliation: what the ledger wants against what Dagster shows, and what follows.

Whoever calls it asks for the runs in his own way: the sensor by requests to the daemon, `pipeline
heal` in its own process. Decisions are in `core/recovery` and `core/run_recovery`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dagster import DagsterInstance

from pipeline_assets.jobs import JOB_OF
from pipeline_assets.partitions import RANGE_END, RANGE_START
from pipeline_assets.recording import DUE_ONLY_TAG, REASON_TAG, SCOPE_TAG
from resources import troubles
from resources.adapters.ledger.watermarks import DIRECTORY_WANTED
from resources.core.models import FETCHING, Phase
from resources.core.recovery import Action, RunPlan, decide_directory
from resources.healing import Healer, Healing, Key
from resources.platform import Platform
from sensors.backfills import hold_targets_of_cancelled
from sensors.dagster_state import DagsterState
from sensors.directory_runs import VERSION_TAG, directory_runs
from sensors.faults import Fault, Faults
from sensors.mending import mend
from sensors.run_endings import note_endings
from sensors.run_repair import Repaired, repair_runs

REPAIRS_TAG = "pipeline/repairs"
# What a person asks for goes first.
PRIORITY = {"dagster/priority": "-1"}
DIRECTORY_JOB = "write_directory"
_MOST_TAG_CHARS = 200


@dataclass(frozen=True)
class Reconciliation:
    """What one look found, and what was done about it already.

    Args:
        healing: What is to be done, and why the rest is not.
        mended: Partitions whose record was put right.
        repaired: Runs that were ended or reported.
        is_advice: Whether nothing was done, and nothing is to be begun.
        faults: What could not be looked after.
    """

    healing: Healing
    mended: Sequence[Key]
    repaired: Sequence[Repaired]
    is_advice: bool
    faults: Sequence[Fault] = ()

    @property
    def sentence(self) -> str:
        """All of it in one line for a person."""
        counts = self.healing.counts()
        verb = "would be" if self.is_advice else "were"
        parts = [
            f"{count} {words}"
            for count, words in (
                (counts[Action.RUN], f"due, {len(self.healing.plans)} runs {verb} asked for"),
                (len(self.mended) or counts[Action.MEND], f"{verb} put right in Dagster"),
                (counts[Action.IN_HAND], "in hand"),
                (counts[Action.WAIT], "wait until they are due"),
                (counts[Action.PERSON], "wait for a person"),
                (counts[Action.HELD], "held by a cancel"),
                (counts[Action.GIVEN_UP], "given up: automatic runs brought nothing"),
            )
            if count
        ]
        closed = sum(one.is_done or self.is_advice for one in self.repaired)
        if closed:
            parts.append(f"{closed} dead or stuck runs {verb} closed")
        if self.faults:
            parts.append(f"{len(self.faults)} could not be looked after")
        if self.healing.is_directory_due:
            parts.append("the directory is due")
        elif self.healing.directory_waits_for:
            parts.append(f"the directory waits: {self.healing.directory_waits_for}")
        return f"batches: {'; '.join(parts)}" if parts else "everything requested is settled"

    @property
    def repaired_sentences(self) -> Sequence[str]:
        """What was closed and why, a sentence each."""
        return [f"run {one.run_id}: {one.verdict.reason}" for one in self.repaired if one.is_done]


def reconcile(
    instance: DagsterInstance,
    platform: Platform,
    *,
    is_advice: bool,
    dead: Collection[str] = (),
    server_began_at: float | None = None,
) -> Reconciliation:
    """Look at everything once. Records are put right; runs are for the caller to ask for.

    Args:
        is_advice: Decide and tell, and change nothing in Dagster. What the ledger knows of dead
            workers and of runs that ended is kept up to date all the same.
        dead: Runs that are known to be dead though Dagster does not show it.
        server_began_at: As for `repair_runs`.
    """
    now = platform.clock.now()
    state, faults = DagsterState(instance), Faults()
    if not is_advice:
        _add_partitions(platform, state)
    repaired = repair_runs(
        instance,
        platform,
        state.under_way(),
        now,
        faults,
        is_advice=is_advice,
        server_began_at=server_began_at,
    )
    note_endings(state, platform, now, faults)
    hold_targets_of_cancelled(state, platform, now, faults)
    # Advice tells what follows once they are closed.
    over = {*dead, *(one.run_id for one in repaired)} if is_advice else set(dead)
    healing = Healer(platform).look(state.seen(without=over), now)
    if healing.is_directory_due:
        runs = directory_runs(
            instance,
            platform.directory.version(),
            platform.ledger.watermarks.get(DIRECTORY_WANTED),
        )
        verdict = decide_directory(runs, now)
        healing = replace(
            healing,
            is_directory_due=verdict.is_due,
            directory_waits_for=verdict.reason,
            is_directory_given_up=verdict.is_given_up,
        )
    mended = [] if is_advice else mend(instance, platform, healing.mends, faults)
    return Reconciliation(healing, mended, repaired, is_advice, faults.found)


def tell(platform: Platform, found: Reconciliation) -> list[str]:
    """Tell people what it found. Returns what kept a message from going out, in words."""
    faults = {fault.what: fault.sentence for fault in found.faults}
    return troubles.tell_of(platform, found.healing, faults)


def _add_partitions(platform: Platform, state: DagsterState) -> None:
    """Let Dagster know every batch: whoever took the list in may have died before that."""
    known = set(state.order)
    new = [one.key for one in platform.ledger.lists.batches_of() if one.key not in known]
    if new:
        state.add(new)


def begin(platform: Platform, found: Reconciliation, plans: Sequence[RunPlan]) -> None:
    """Note that these of the planned runs are asked for now; before they are."""
    Healer(platform).note(found.healing, plans, platform.clock.now())


def job_of(phase: Phase) -> str:
    """The job that does a phase."""
    return JOB_OF[phase].name if phase in FETCHING else "build_profiles"


def tags_of(plan: RunPlan) -> Mapping[str, str]:
    """Tags of a run: its range, why it is there, and whose work it goes on with."""
    repairs = {REPAIRS_TAG: plan.repairs} if plan.repairs else {}
    return {
        RANGE_START: plan.first,
        RANGE_END: plan.last,
        DUE_ONLY_TAG: "true",
        SCOPE_TAG: plan.scope,
        REASON_TAG: plan.reason[:_MOST_TAG_CHARS],
        **PRIORITY,
        **repairs,
    }


def directory_tags(platform: Platform) -> Mapping[str, str]:
    """Tags of a run that writes the directory: why it is there, and from which profiles."""
    return {
        REASON_TAG: "profiles have changed",
        VERSION_TAG: platform.directory.version(),
        **PRIORITY,
    }
