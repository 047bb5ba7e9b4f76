"""Workers call two endpoints in any order, fail, hang, are cancelled and die: what holds then.

The model beside it remembers every call and throws nothing away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from resources.adapters.ledger.breakers import FORGOTTEN_AFTER_S
from resources.core.breaker import LONGEST_TIMEOUT_S, Breaker, BreakerPolicy, Status, Verdict
from resources.core.sliding_counts import SLOTS_IN_WINDOW
from tests.support.places import PROCESSES, Place
from tests.support.time import NOW

POLICY = BreakerPolicy(
    threshold=3, timeout_s=100, window_s=60, failure_rate=0.5, minimum_calls=8, probe_s=30
)
# Most of it about one endpoint, or nothing would ever come of it.
ENDPOINT = st.sampled_from(["pdl", "pdl", "pdl", "site/acme.example"])
VERDICT = st.sampled_from(Verdict)
WHO = st.integers(0, PROCESSES - 1)
SECONDS = st.sampled_from([1.0, 10.0, 29.0, 30.0, 61.0, 100.0, 400.0, 3600.0, 90_000.0])


@dataclass
class Expected:
    """How one endpoint's breaker should be."""

    status: Status = Status.CLOSED
    row: int = 0
    openings: int = 0
    retry_at: float = 0.0
    probe: tuple[str, float] | None = None
    told: list[tuple[float, int, int, int]] = field(default_factory=list)
    changed_at: float = 0.0

    def counts(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and retries in the window."""

        def slot(at: float) -> int:
            return int(at * SLOTS_IN_WINDOW / POLICY.window_s)

        kept = [one[1:] for one in self.told if slot(one[0]) > slot(now) - SLOTS_IN_WINDOW]
        calls, failures, retries = (sum(one[n] for one in kept) for n in range(3))
        return calls, failures, retries

    def is_due(self, now: float) -> bool:
        if self.probe is not None:
            return now >= self.probe[1]
        return self.status is Status.OPEN and now >= self.retry_at

    def tell(self, now: float, successes: int, *, is_failure: bool = False) -> None:
        if self.status is not Status.CLOSED or not (successes or is_failure):
            return
        self.changed_at = now
        if successes:
            self.told.append((now, successes, 0, 0))
            self.row = 0
        if is_failure:
            self.told.append((now, 1, 1, 0))
            self.row += 1
            calls, failures, _ = self.counts(now)
            if self.row >= POLICY.threshold or (
                calls >= POLICY.minimum_calls and failures >= POLICY.failure_rate * calls
            ):
                self.open(now)

    def open(self, now: float) -> None:
        wait_s = POLICY.timeout_s
        for _ in range(self.openings):
            wait_s = min(2 * wait_s, LONGEST_TIMEOUT_S)
        self.openings += 1
        self.status, self.retry_at, self.probe = Status.OPEN, now + wait_s, None

    def end_probe(self, probe: tuple[str, float], verdict: Verdict, now: float) -> None:
        if self.probe != probe:
            return
        match verdict:
            case Verdict.ALIVE:
                self.__init__()  # type: ignore[misc]
            case Verdict.AWAY:
                self.open(now)
            case Verdict.NOTHING:
                self.status, self.retry_at, self.probe = Status.OPEN, now, None
        self.changed_at = now


@dataclass(frozen=True)
class Call:
    """A call under way; `probe` as the model has it, where it is one."""

    who: int
    endpoint: str
    probe: tuple[str, float] | None


class Breakers(RuleBasedStateMachine):
    """Three processes on one book of breakers."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.books = place.breakers()
        self.now = NOW
        self.expected = {"pdl": Expected(), "site/acme.example": Expected()}
        self.names = [f"worker-{who}" for who in range(PROCESSES)]
        self.untold: dict[tuple[int, str], int] = {}
        self.calls: list[Call] = []
        self.looks = 0

    # -- what workers do ------------------------------------------------------------------------

    @rule(who=WHO, endpoint=ENDPOINT, verdicts=st.lists(VERDICT, min_size=1, max_size=4))
    def call_and_hear(self, who: int, endpoint: str, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            self.call(who, endpoint)
            if self.calls and self.calls[-1].endpoint == endpoint:
                self.end(len(self.calls) - 1, verdict)

    @rule(who=WHO, endpoint=ENDPOINT)
    def fail_until_it_is_paused(self, who: int, endpoint: str) -> None:
        for _ in range(POLICY.threshold):
            if self.expected[endpoint].status is Status.CLOSED:
                self.call(who, endpoint)
                self.end(len(self.calls) - 1, Verdict.AWAY)

    @rule(endpoint=ENDPOINT)
    def wait_until_a_probe_is_due(self, endpoint: str) -> None:
        """Whether the cool-down is over, or the probe under way is taken for lost."""
        expected = self.expected[endpoint]
        self.now = max(self.now, expected.retry_at, expected.probe[1] if expected.probe else 0.0)

    @rule(who=WHO, endpoint=ENDPOINT, times=st.integers(1, 7))
    def try_in_vain(self, who: int, endpoint: str, times: int) -> None:
        for _ in range(times):
            self.wait_until_a_probe_is_due(endpoint)
            self.call(who, endpoint)
            self.end(len(self.calls) - 1, Verdict.AWAY)

    @rule(who=WHO, heir=WHO, endpoint=ENDPOINT, verdict=VERDICT)
    def hear_late_of_a_probe(self, who: int, heir: int, endpoint: str, verdict: Verdict) -> None:
        """It hung until another was made, perhaps by the same process."""
        before = len(self.calls)
        self.wait_until_a_probe_is_due(endpoint)
        self.call(who, endpoint)
        self.wait_until_a_probe_is_due(endpoint)
        self.call(heir, endpoint)
        self.end(before, verdict)

    @rule(who=WHO, endpoint=ENDPOINT)
    def call(self, who: int, endpoint: str) -> None:
        """As the gate does it: look, and where it is not closed, try to get the probe."""
        expected = self.expected[endpoint]
        seen = self._read(who).get(endpoint, POLICY.new_breaker())
        if seen.status is Status.CLOSED:
            assert expected.status is Status.CLOSED
            self.calls.append(Call(who, endpoint, None))
            return
        is_due = expected.is_due(self.now)
        assert seen.is_probe_due(self.now) == is_due
        breaker, is_taken = self.books[who].take_probe(endpoint, self.names[who], self.now, POLICY)
        assert is_taken == is_due
        if is_taken:
            expected.status = Status.HALF_OPEN
            expected.probe = (self.names[who], self.now + POLICY.probe_s)
            expected.changed_at = self.now
            assert breaker.probe_until == expected.probe[1]
            self.calls.append(Call(who, endpoint, expected.probe))

    @rule(which=st.integers(0, 9), verdict=VERDICT)
    def end(self, which: int, verdict: Verdict) -> None:
        """A call succeeds, fails, or is cancelled; those that hang never come here."""
        if not self.calls:
            return
        call = self.calls.pop(which % len(self.calls))
        book, name, expected = self.books[call.who], self.names[call.who], self._of(call)
        key = (call.who, call.endpoint)
        if call.probe is not None:
            until = call.probe[1]
            book.end_probe(call.endpoint, name, verdict, "HTTP 503", self.now, POLICY, until)
            expected.end_probe(call.probe, verdict, self.now)
        elif verdict is Verdict.ALIVE:
            self.untold[key] = self.untold.get(key, 0) + 1
        elif verdict is Verdict.AWAY:
            told = self.untold.pop(key, 0)
            book.failed(call.endpoint, "HTTP 503", told, name, self.now, POLICY)
            expected.tell(self.now, told, is_failure=True)

    @rule(who=WHO)
    def tell(self, who: int) -> None:
        told = {key[1]: self.untold.pop(key) for key in list(self.untold) if key[0] == who}
        self.books[who].succeeded(told, self.names[who], self.now, POLICY)
        for endpoint, successes in told.items():
            self.expected[endpoint].tell(self.now, successes)

    @rule(who=WHO, endpoint=ENDPOINT, successes=st.integers(0, 60))
    def retry_as_often_as_allowed(self, who: int, endpoint: str, successes: int) -> None:
        expected = self.expected[endpoint]
        told = self.untold.pop((who, endpoint), 0) + successes
        is_granted = True
        while is_granted:
            _, is_granted = self.books[who].take_retry(endpoint, told, self.now, POLICY)
            expected.tell(self.now, told)
            told = 0
            calls, _, retries = expected.counts(self.now)
            is_left = retries + 1 <= max(3, 0.1 * calls)
            assert is_granted == (expected.status is Status.CLOSED and is_left)
            if is_granted:
                expected.told.append((self.now, 0, 0, 1))
                expected.changed_at = self.now

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """A process is killed, perhaps in the middle of a probe, and another one begins."""
        self.calls = [call for call in self.calls if call.who != who]
        self.untold = {key: n for key, n in self.untold.items() if key[0] != who}
        self.names[who] += "'"

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(who=WHO)
    def forget(self, who: int) -> None:
        self.books[who].forget_old(self.now)
        old = self.now - FORGOTTEN_AFTER_S
        for endpoint, expected in self.expected.items():
            if expected.changed_at < old and expected.retry_at < old:
                self.expected[endpoint] = Expected()

    # -- what holds always ----------------------------------------------------------------------

    @invariant()
    def everybody_sees_what_should_be(self) -> None:
        self.looks += 1
        seen_now = self._read(self.looks % PROCESSES)
        for endpoint, expected in self.expected.items():
            seen = seen_now.get(endpoint, POLICY.new_breaker())
            probe = (seen.probe_by, seen.probe_until) if seen.probe_by else None
            assert (seen.status, seen.openings) == (expected.status, expected.openings)
            assert probe == expected.probe
            if seen.status is Status.CLOSED:
                total = seen.counts.total(self.now)
                counted = (total.calls, total.failures, total.retries)
                assert counted == expected.counts(self.now)
                assert seen.failures == expected.row
            elif seen.status is Status.OPEN:
                assert seen.retry_at == expected.retry_at

    @invariant()
    def at_most_one_live_probe_is_under_way(self) -> None:
        for endpoint in self.expected:
            live = [
                call
                for call in self.calls
                if call.endpoint == endpoint and call.probe and call.probe[1] > self.now
            ]
            assert len(live) <= 1

    def _read(self, who: int) -> Mapping[str, Breaker]:
        return self.books[who].changed_since(0.0, POLICY)

    def _of(self, call: Call) -> Expected:
        return self.expected[call.endpoint]


def test_breakers_are_as_all_that_was_told_says_whatever_their_workers_do(place: Place) -> None:
    # A step costs next to nothing in memory, and a synced commit on a database.
    examples = 20 if place.ledgers else 100
    run_state_machine_as_test(
        lambda: Breakers(place), settings=settings(max_examples=examples, stateful_step_count=50)
    )
