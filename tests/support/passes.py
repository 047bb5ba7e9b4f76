"""What a pass over batches works with, in memory: a queue with the ledger's rules, and the work."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from resources.core.errors import Failure, LeaseLost
from resources.core.models import UNSETTLED, CompanyQuery, DomainTask, Phase, Settled, State
from resources.core.rounds import Change
from resources.core.tallies import Tally, TallyRow, tally
from tests.support.time import ManualClock

Outcome = Settled | Failure
Answer = Callable[[DomainTask], Awaitable[Outcome]]
DONE = Settled(State.SUCCEEDED, payload=b"{}")


@dataclass
class Row:
    """A domain in a phase, as the ledger would hold it."""

    state: State = State.PENDING
    kind: str | None = None
    reason: str | None = None
    rounds: int = 0
    not_before: float = 0.0
    deaths: int = 0
    holder: str | None = None
    revision: int = 0
    refresh_asked: bool = False

    @property
    def is_open(self) -> bool:
        return self.state in UNSETTLED or self.refresh_asked


@dataclass
class MemoryQueue:
    """`WorkQueue` in memory, with the rules of the ledger. `batches` may share domains."""

    batches: dict[str, list[str]]
    rows: dict[str, Row] = field(default_factory=dict)
    claims: list[tuple[str, ...]] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    ended: str | None = None
    beats: list[tuple[int, int]] = field(default_factory=list)
    doing: list[str | None] = field(default_factory=list)
    held: list[tuple[tuple[str, ...], Failure]] = field(default_factory=list)
    clock: ManualClock = field(default_factory=ManualClock)
    is_taken_over: bool = False

    def __post_init__(self) -> None:
        for domains in self.batches.values():
            for domain in domains:
                self.rows.setdefault(domain, Row())

    async def tallies(self, batch_keys: Sequence[str]) -> Mapping[str, Tally]:
        await asyncio.sleep(0)
        return {
            key: tally(
                TallyRow(
                    r.state,
                    r.kind,
                    1,
                    int(r.holder is not None),
                    r.revision,
                    r.not_before,
                    int(r.refresh_asked),
                )
                for r in (self.rows[domain] for domain in self.batches[key])
            )
            for key in batch_keys
        }

    async def claim(
        self, batch_keys: Sequence[str], limit: int, due_before: float, *, alone: bool = False
    ) -> Sequence[DomainTask]:
        await asyncio.sleep(0)
        tasks: list[DomainTask] = []
        found = [
            (key, domain)
            for key in batch_keys
            for domain in self.batches[key]
            if self._is_claimable(domain, due_before) and (self.rows[domain].deaths >= 2) == alone
        ]
        fewest = min((self.rows[domain].deaths for _, domain in found), default=0)
        if alone:
            found = [one for one in found if self.rows[one[1]].deaths == fewest]
            limit = min(limit, {2: 16, 3: 4}.get(fewest, 1))
        for key, domain in found:
            row = self.rows[domain]
            if row.holder or len(tasks) == limit:
                continue
            row.holder = "me"
            query = CompanyQuery(domain)
            tasks.append(DomainTask(query, key, rounds=row.rounds, is_alone=fewest >= 4))
        self.claims.append(tuple(task.domain for task in tasks))
        self.claimed += [task.domain for task in tasks]
        return tasks

    def _is_claimable(self, domain: str, due_before: float) -> bool:
        row = self.rows[domain]
        return row.is_open and row.not_before < due_before and row.holder is None

    async def settle(self, change: Change) -> None:
        await asyncio.sleep(0)
        row = self.rows[change.domain]
        if row.holder != "me":
            raise LeaseLost(f"{change.domain} was taken over")
        if row.refresh_asked and change.state not in {State.SUCCEEDED, State.NOT_FOUND}:
            row.refresh_asked = not change.state.is_settled
            row.not_before, row.holder = change.not_before, None
            return
        self.rows[change.domain] = replace(
            row,
            state=change.state,
            kind=change.kind,
            reason=change.reason,
            rounds=change.rounds,
            not_before=change.not_before,
            holder=None,
            revision=row.revision + change.state.is_settled,
            refresh_asked=False,
        )

    async def hold(self, batch_keys: Sequence[str], failure: Failure) -> None:
        self.held.append((tuple(batch_keys), failure))
        for domain in (domain for key in batch_keys for domain in self.batches[key]):
            row = self.rows[domain]
            has_own_reason = row.kind not in {None, failure.kind}
            if row.state in UNSETTLED and row.holder is None and not has_own_reason:
                row.state, row.kind, row.reason = State.WAITING, failure.kind, failure.message
                row.not_before = self.clock.now() + (failure.retry_after_s or 0.0)

    async def beat(self, done: int, total: int, doing: str | None = None) -> None:
        if self.is_taken_over:
            raise LeaseLost("declared dead")
        self.beats.append((done, total))
        self.doing.append(doing)

    async def end(self, reason: str) -> None:
        self.ended = reason
        for row in self.rows.values():
            if row.holder == "me":
                row.holder = None


class ScriptedWork:
    """`PhaseWork` that answers by script and counts what is in hand."""

    phase = Phase.PAGE_SCRAPING

    def __init__(
        self, answers: Mapping[str, Outcome | Answer] | None = None, concurrency: int = 4
    ) -> None:
        self._answers = dict(answers or {})
        self.concurrency = concurrency
        self.in_hand: list[str] = []
        self.most_in_hand = 0
        self.begun: list[DomainTask] = []
        self.together: defaultdict[str, set[str]] = defaultdict(set)

    async def close(self) -> None:
        pass

    async def attempt(self, task: DomainTask) -> Outcome:
        self.begun.append(task)
        self.in_hand.append(task.domain)
        self.most_in_hand = max(self.most_in_hand, len(self.in_hand))
        for domain in self.in_hand:
            self.together[domain].update(self.in_hand)
        try:
            await asyncio.sleep(0)
            answer = self._answers.get(task.domain, DONE)
            return answer if isinstance(answer, Settled | Failure) else await answer(task)
        finally:
            self.in_hand.remove(task.domain)


class Gate:
    """An answer that comes when the test says so."""

    def __init__(self, outcome: Outcome = DONE) -> None:
        self._event = asyncio.Event()
        self._outcome = outcome

    def open(self) -> None:
        self._event.set()

    async def __call__(self, task: DomainTask) -> Outcome:
        await self._event.wait()
        return self._outcome
