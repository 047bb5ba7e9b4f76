"""One look at everything that was requested: what is unfinished, and what is done about it.

Brings the ledger's rows and what Dagster shows together, lets `core/recovery` decide, and notes
what is begun. It knows no Dagster: what Dagster shows comes in as `Seen`, and whoever asks for runs
(a sensor, a command) carries the `Healing` out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from resources.adapters.ledger.requests import Launch
from resources.adapters.providers.registry import required_providers
from resources.artifact_writer import ASSET_OF
from resources.core.breaker import Breaker, Status
from resources.core.errors import RULES, FailureKind
from resources.core.models import FETCHING, Phase
from resources.core.recovery import (
    OF_OURS,
    OPEN,
    Action,
    Gate,
    OpenWork,
    Request,
    RunPlan,
    Standing,
    Verdict,
    decide,
    gate_of_ours,
    is_directory_due,
    open_work,
    plan_runs,
)
from resources.core.tallies import Tally
from resources.directory import ASSET as DIRECTORY
from resources.phase_run import CODE_VERSIONS, breaker_policy
from resources.platform import Platform
from resources.profile_builder import CODE_VERSION as PROFILES_VERSION
from resources.stale_profiles import stale_profiles

# Dagster keeps a run's events in memory until it ends, so that a run must not grow with the list.
MOST_BATCHES_PER_RUN = 40
# More would only wait in Dagster's queue, in front of what a person asks for.
MOST_RUNS_PER_PHASE = 4
# What no other domain of the phase would be spared: a wrong key, a spent quota.
OF_A_PROVIDER = (FailureKind.AUTH, FailureKind.QUOTA_EXHAUSTED)
Key = tuple[Phase, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What Dagster shows.

    Args:
        order: All partitions in Dagster's order.
        recorded: Partitions that are shown as materialised, by asset.
        in_hand: Who is at a partition of a phase's asset, or is about to be, in words.
        is_directory_in_hand: Whether a run is writing the directory, or is about to.
    """

    order: Sequence[str]
    recorded: Mapping[str, frozenset[str]]
    in_hand: Mapping[Key, str]
    is_directory_in_hand: bool = False


@dataclass(frozen=True, slots=True)
class Healing:
    """What is to be done now, and why the rest is not.

    Args:
        plans: Runs to be asked for.
        mends: Partitions whose record in Dagster is to be put right.
        is_directory_due: Whether the directory is to be written.
        verdicts: Of everything requested that is not finished and recorded.
        settled: Batches by phase that are settled and recorded.
        directory_waits_for: Why a stale directory is not written now, where that is no matter of
            course.
        is_directory_given_up: Whether automatic runs fail to write it.
    """

    plans: Sequence[RunPlan]
    mends: Sequence[Key]
    is_directory_due: bool
    verdicts: Mapping[Key, Verdict]
    standings: Mapping[Key, Standing] = field(default_factory=dict)
    settled: Mapping[Phase, int] = field(default_factory=dict)
    directory_waits_for: str = ""
    is_directory_given_up: bool = False

    def counts(self) -> Counter[Action]:
        """Batches by what is done about them, all phases together."""
        return Counter(verdict.action for verdict in self.verdicts.values())


class Healer:
    """Looks at everything that was requested."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._ledger = platform.ledger

    def look(self, seen: Seen, now: float) -> Healing:
        """Decide about every requested batch in every phase. Starts nothing.

        What a dead worker had in hand is freed first.
        """
        self._ledger.workers.bury_dead(now)
        requests = self._ledger.requests.all()
        driven = self._driven(now)
        known = set(seen.order)
        decided: dict[Key, tuple[Standing, Verdict]] = {}
        settled: dict[Phase, set[str]] = {}
        for phase in FETCHING:
            mine = {key: one for (of, key), one in requests.items() if of is phase and key in known}
            settled[phase] = set()
            for standing in self._fetching(phase, mine, seen, driven, now, settled[phase]):
                verdict = decide(standing, now)
                decided[phase, standing.request.batch_key] = (standing, verdict)
        settled[Phase.PROFILE_BUILD] = set()
        wanted = {key for phase, key in requests if phase in FETCHING and key in known}
        for standing in self._profiles(wanted, requests, seen, driven, decided, now):
            decided[Phase.PROFILE_BUILD, standing.request.batch_key] = (
                standing,
                decide(standing, now),
            )
        return self._healing(seen, decided, settled, now)

    def _healing(
        self,
        seen: Seen,
        decided: Mapping[Key, tuple[Standing, Verdict]],
        settled: Mapping[Phase, set[str]],
        now: float,
    ) -> Healing:
        plans: list[RunPlan] = []
        for phase in Phase:
            mine = {key: pair for (of, key), pair in decided.items() if of is phase}
            plans += plan_runs(
                phase,
                seen.order,
                mine,
                most_batches=MOST_BATCHES_PER_RUN,
                most_runs=self._free_runs(phase, seen),
                settled=settled[phase],
            )
        profiles = [v for (phase, _), (_, v) in decided.items() if phase is Phase.PROFILE_BUILD]
        written = self._ledger.artifacts.find(DIRECTORY, "")
        return Healing(
            plans,
            [pair for pair, (_, verdict) in decided.items() if verdict.action is Action.MEND],
            is_directory_due(
                is_stale=self._platform.directory.is_stale(),
                is_in_hand=seen.is_directory_in_hand,
                # A living command writes it too, once it has built profiles: that may be hours.
                more_is_coming=bool(self._driven(now))
                or any(v.action in {Action.RUN, Action.IN_HAND} for v in profiles),
                written_at=written.at if written else None,
                now=now,
            ),
            {pair: verdict for pair, (_, verdict) in decided.items()},
            {pair: standing for pair, (standing, _) in decided.items()},
            {phase: len(keys) for phase, keys in settled.items()},
        )

    def _driven(self, now: float) -> set[str]:
        return self._ledger.drivers.living(now, self._platform.settings.stuck_after)

    def _free_runs(self, phase: Phase, seen: Seen) -> int:
        running = {by for (of, _), by in seen.in_hand.items() if of is phase}
        return max(0, MOST_RUNS_PER_PHASE - len(running))

    # -- the fetching phases ----------------------------------------------------------------------

    def _fetching(
        self,
        phase: Phase,
        requests: Mapping[str, Request],
        seen: Seen,
        driven: set[str],
        now: float,
        settled: set[str],
    ) -> Iterator[Standing]:
        """Standings of what is unfinished or not recorded; the rest is noted in `settled`."""
        unfinished = self._ledger.work.unfinished_batches(phase)
        recorded = seen.recorded.get(ASSET_OF[phase], frozenset())
        tallies = self._ledger.work.tallies(phase, [key for key in requests if key in unfinished])
        gates = self._gates(phase, tallies, requests, seen, now)
        for key, request in requests.items():
            in_hand = seen.in_hand.get((phase, key)) or _driver(request, driven)
            if key not in unfinished and key in recorded and in_hand is None:
                settled.add(key)
                continue
            tally = tallies.get(key, Tally())
            yield Standing(
                request,
                open_work(tally),
                tally.progress,
                is_recorded=key in recorded,
                in_hand_by=in_hand,
                gate=gates.get(request.scope, gates[""]),
                code_version=CODE_VERSIONS[phase],
                is_settled=tally.unsettled == 0,
            )

    def _gates(
        self,
        phase: Phase,
        tallies: Mapping[str, Tally],
        requests: Mapping[str, Request],
        seen: Seen,
        now: float,
    ) -> dict[str, Gate]:
        """What holds the phase back, by scope; `""` for scopes of which nothing is known."""
        ours = self._gate_of_ours(phase, tallies, requests, seen, now)
        if phase is not Phase.COMPANY_ENRICHMENT:
            return {"": ours}
        kinds: Counter[str] = Counter()
        spent: Counter[str] = Counter()
        for key, tally in tallies.items():
            if requests[key].held_reason is not None:
                continue
            mine = open_work(tally).kinds
            kinds.update(mine)
            spent[requests[key].scope] += mine.get(FailureKind.BUDGET_EXHAUSTED, 0)
        if any(kinds[kind] for kind in OF_A_PROVIDER):
            waits = self._ledger.person_waits
            refused = waits.count(phase, OF_A_PROVIDER, self._accepted_at(phase))
            for kind in OF_A_PROVIDER:
                if refused[kind]:
                    reason = f"{refused[kind]} domains wait for a person ({kind}): "
                    gate = Gate(reason + RULES[kind].sentence, needs_person=True, kind=kind)
                    return {"": gate}
        gate = self._breaker_gate(phase, seen, now)
        gates = {"": ours if gate == OPEN else gate}
        for scope, count in spent.items():
            if count:
                rule = RULES[FailureKind.BUDGET_EXHAUSTED]
                reason = f"{count} domains wait for a person (budget_exhausted): {rule.sentence}"
                gates[scope] = Gate(reason, needs_person=True, kind=FailureKind.BUDGET_EXHAUSTED)
        return gates

    def _gate_of_ours(
        self,
        phase: Phase,
        tallies: Mapping[str, Tally],
        requests: Mapping[str, Request],
        seen: Seen,
        now: float,
    ) -> Gate:
        """Whether our own network or store is away."""
        troubled = []
        for key, tally in tallies.items():
            work = open_work(tally)
            if requests[key].held_reason is None and any(work.kinds.get(one) for one in OF_OURS):
                code = CODE_VERSIONS[phase]
                troubled.append(
                    Standing(
                        requests[key], work, tally.progress, is_recorded=False, code_version=code
                    )
                )
        if not troubled or self._ledger.work.has_settled_since_waiting_for(phase, OF_OURS):
            return OPEN
        is_being_tried = any(of is phase for of, _ in seen.in_hand)
        return gate_of_ours(troubled, is_being_tried=is_being_tried, now=now)

    def _accepted_at(self, phase: Phase) -> float:
        """Since when it is not known that a provider refuses us, epoch seconds: each has answered
        since what it refused before, or a person has acted, who may have set it right."""
        waits = self._ledger.person_waits
        answered = (waits.answered_at(name) for name in required_providers(self._platform.settings))
        return max(waits.last_asked_at(phase), min(answered, default=math.inf))

    def _breaker_gate(self, phase: Phase, seen: Seen, now: float) -> Gate:
        """Whether a provider that every domain needs is away."""
        paused = self.paused_providers()
        blocked = {name: one.blocked_until(now) for name, one in paused.items()}
        if any(until > now for until in blocked.values()):
            name = max(blocked, key=lambda each: blocked[each])
            reason = f"calls to {name} are paused: {paused[name].reason}"
            return Gate(reason, until=blocked[name])
        if not paused:
            return OPEN
        name = next(iter(paused))
        if any(of is phase for of, _ in seen.in_hand):
            return Gate(f"a run finds out whether {name} is back", until=now + 1.0)
        return Gate(f"one run finds out whether {name} is back", is_probe=True)

    def paused_providers(self) -> dict[str, Breaker]:
        """Breakers of providers that every domain needs, where they are not closed."""
        found = self._ledger.breakers.not_closed(breaker_policy(self._platform.settings))
        return {
            name: found[name]
            for name in required_providers(self._platform.settings)
            if name in found and found[name].status is not Status.CLOSED
        }

    # -- profiles ---------------------------------------------------------------------------------

    def _profiles(
        self,
        wanted: set[str],
        requests: Mapping[Key, Request],
        seen: Seen,
        driven: set[str],
        decided: Mapping[Key, tuple[Standing, Verdict]],
        now: float,
    ) -> Iterator[Standing]:
        """Standings of profiles that are not up to date, or not recorded."""
        stale = {
            key: value
            for key, value in stale_profiles(self._platform, requests, now).items()
            if key in wanted
        }
        asset = ASSET_OF[Phase.PROFILE_BUILD]
        recorded = seen.recorded.get(asset, frozenset())
        built = self._ledger.artifacts.fingerprints(asset)
        for key in sorted(
            stale.keys() | {key for key in built if key in wanted and key not in recorded}
        ):
            request = requests.get((Phase.PROFILE_BUILD, key))
            if request is None:
                of = next(requests[phase, key] for phase in FETCHING if (phase, key) in requests)
                request = Request(key, Phase.PROFILE_BUILD, of.scope, of.requested_at)
            in_hand = seen.in_hand.get((Phase.PROFILE_BUILD, key)) or _driver(request, driven)
            yield Standing(
                request,
                OpenWork({"not built": 1}, due_at=0.0) if key in stale else OpenWork(),
                stale.get(key, ""),
                is_recorded=key in recorded or key in stale,
                in_hand_by=in_hand or _more_to_come(key, decided),
                code_version=PROFILES_VERSION,
            )

    # -- what is begun ----------------------------------------------------------------------------

    def note(self, healing: Healing, plans: Sequence[RunPlan], now: float) -> None:
        """Write down that these runs are asked for now."""
        ledger, launches = self._ledger, []
        for plan in plans:
            if plan.phase is Phase.PROFILE_BUILD:
                ledger.requests.ask(plan.keys, [plan.phase], scope=plan.scope, now=now)
            for key in plan.keys:
                standing = healing.standings[plan.phase, key]
                verdict = healing.verdicts[plan.phase, key]
                launches.append(
                    Launch(
                        key,
                        plan.phase,
                        attempts=verdict.attempts,
                        deaths=verdict.deaths,
                        progress=standing.progress,
                        code_version=standing.code_version,
                    )
                )
        ledger.requests.note_launches(launches, now)


def _driver(request: Request, driven: set[str]) -> str | None:
    return "a `pipeline run` command works on it" if request.scope in driven else None


def _more_to_come(key: str, decided: Mapping[Key, tuple[Standing, Verdict]]) -> str | None:
    """Profiles are built once a batch's own runs are over, not again with every domain.

    What is settled has none, though a run or a backfill over many batches goes on.
    """
    for phase in FETCHING:
        if (pair := decided.get((phase, key))) is None:
            continue
        standing, verdict = pair
        if standing.work.count and verdict.action in {Action.RUN, Action.IN_HAND}:
            return f"{phase} is being worked on"
    return None
