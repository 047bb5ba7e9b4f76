"""`pipeline heal`: one reconciliation now, in this process, without a daemon.

What is due is run here to its end, one run after the other; then the profiles and the directory of
what has settled. What is not due, is in somebody's hands or needs a person is said and left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipeline_assets.commands import storage_trouble, summary
from pipeline_assets.commands.interrupts import EXIT_CODE, Interrupts
from pipeline_assets.commands.opening import SANDBOX_FOLDER, opened
from pipeline_assets.commands.sandbox_process import point_settings_at, sandbox_server
from pipeline_assets.commands.wording import print_json
from resources.adapters.ledger.workers import INTERRUPTED, TERMINATED
from resources.core.config import load_settings
from resources.core.recovery import Action, RunPlan
from resources.healing import Healing
from resources.platform import Platform

if TYPE_CHECKING:
    from sensors.reconciler import Reconciliation

# Phases, then profiles, then the directory; whatever comes up after that is the next call's.
MOST_LOOKS = 4
UNFINISHED = (Action.RUN, Action.WAIT, Action.PERSON, Action.HELD, Action.GIVEN_UP, Action.IN_HAND)


def heal(*, sandbox: bool, dry_run: bool, as_json: bool) -> int:
    """Do it. Returns 0 when everything requested is settled afterwards, 1 when not.

    Args:
        dry_run: Say what would be done, and do nothing.
    """
    with ExitStack() as stack:
        if sandbox:
            load_settings()
            point_settings_at(stack.enter_context(sandbox_server([])))
            os.environ["PIPELINE_HOME"] = str(load_settings().home / SANDBOX_FOLDER)
        platform = stack.enter_context(opened(sandbox=False))
        in_hand: list[RunPlan] = []
        interrupts = stack.enter_context(
            Interrupts(
                lambda by_person: _give_back(platform, in_hand, by_person=by_person),
                summary.interrupted(),
            )
        )
        try:
            found, failures = _reconcile(platform, interrupts, in_hand, is_advice=dry_run)
        except KeyboardInterrupt:
            print(summary.interrupted(), file=sys.stderr)
            return EXIT_CODE
    if as_json:
        print_json(_as_json(found, failures))
    else:
        faults = [fault.sentence for fault in found.faults]
        for sentence in (*found.repaired_sentences, *faults, *failures, found.sentence):
            print(sentence)
    return 0 if _is_finished(found.healing) else 1


def _is_finished(healing: Healing) -> bool:
    counts = healing.counts()
    is_directory_left = healing.is_directory_due or healing.directory_waits_for
    return not is_directory_left and not any(counts[action] for action in UNFINISHED)


def _give_back(platform: Platform, in_hand: Sequence[RunPlan], *, by_person: bool) -> None:
    """Give claims back; what a person stopped is held, also where it only waited to try again."""
    now = platform.clock.now()
    platform.ledger.workers.end_of_process(now, INTERRUPTED if by_person else TERMINATED)
    if by_person:
        for plan in in_hand:
            platform.ledger.requests.hold(
                plan.keys, plan.phase, "a person ended `pipeline heal`", now
            )


def _reconcile(
    platform: Platform, interrupts: Interrupts, in_hand: list[RunPlan], *, is_advice: bool
) -> tuple[Reconciliation, list[str]]:
    """Look and run until nothing new comes up. Returns the last look, and what failed runs said.

    Args:
        in_hand: Told the runs that are begun and not over.
    """
    from pipeline_assets.definitions import build_definitions
    from pipeline_assets.instance import Runs, open_instance
    from sensors.reconciler import (
        DIRECTORY_JOB,
        begin,
        directory_tags,
        job_of,
        reconcile,
        tags_of,
        tell,
    )

    failures: list[str | None] = []
    with storage_trouble.without_dagsters_words(), open_instance(platform.settings) as instance:
        runs = Runs(instance, build_definitions())
        dead = runs.dead() if is_advice else runs.reap()
        found = reconcile(instance, platform, is_advice=is_advice, dead=dead)
        _say(tell(platform, found))
        # A batch is run once: what is due again at once would keep this command for ever.
        done: set[tuple[str, str]] = set()
        for _ in range(MOST_LOOKS):
            plans = [
                plan
                for plan in found.healing.plans
                if not done.issuperset((plan.phase, key) for key in plan.keys)
            ]
            if is_advice or not (plans or found.healing.is_directory_due):
                break
            begin(platform, found, plans)
            in_hand[:] = plans
            for plan in plans:
                done.update((plan.phase, key) for key in plan.keys)
                print(f"{plan.phase}: {plan.reason}", file=sys.stderr)
                failures.append(runs.run(job_of(plan.phase), tags_of(plan)))
                if interrupts.requested.is_set():
                    raise KeyboardInterrupt
                in_hand.remove(plan)
            if found.healing.is_directory_due:
                failures.append(runs.run(DIRECTORY_JOB, directory_tags(platform)))
            found = reconcile(instance, platform, is_advice=False)
            _say(tell(platform, found))
    return found, [failure for failure in failures if failure is not None]


def _say(problems: Iterable[str]) -> None:
    """What kept an alert from going out, such as a channel that does not answer."""
    for problem in problems:
        print(problem, file=sys.stderr)


def _as_json(found: Reconciliation, failures: list[str]) -> dict[str, object]:
    return {
        "sentence": found.sentence,
        "batches": {
            action.value: count for action, count in sorted(found.healing.counts().items())
        },
        "runs_due": [
            {"phase": plan.phase, "first": plan.first, "last": plan.last, "reason": plan.reason}
            for plan in found.healing.plans
        ],
        "directory": found.healing.directory_waits_for
        or ("due" if found.healing.is_directory_due else "written"),
        "mended": [{"phase": phase, "batch": key} for phase, key in found.mended],
        "closed": list(found.repaired_sentences),
        "failures": failures,
        "faults": [fault.sentence for fault in found.faults],
    }
