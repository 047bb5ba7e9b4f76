"""Waiting for one's turn: one pacer an endpoint and process. What is granted: `core.pacing`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from resources.adapters.ledger.paces import BLOCK_S, Grant
from resources.adapters.permit import Endpoint
from resources.core.errors import CallError, Failure, FailureKind
from resources.core.pacing import PaceLimits, SitePace, after_answer, after_complaint, after_start
from resources.core.ports import Clock, Sleep

Draw = Callable[[int, int, int], Awaitable[Grant]]


class ProviderPacer:
    """Lets calls to a provider begin as the bucket and the slots that all processes share allow.

    Args:
        draw: Asks the ledger; takes calls in flight, calls waiting, and calls that are likely to
            begin before the next draw.
    """

    def __init__(
        self, endpoint: Endpoint, limits: PaceLimits, draw: Draw, clock: Clock, sleep: Sleep
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._draw = draw
        self._clock = clock
        self._sleep = sleep
        self._line = asyncio.Lock()
        self._drawing = asyncio.Lock()
        # Set while the first in line waits for a slot to come free.
        self._left: asyncio.Future[None] | None = None
        self._in_flight = 0
        self._waiting = 0
        self._slots = 0
        self._tokens = 0
        self._drawn_at = float("-inf")
        self._begun_since = 0
        self.not_before = 0.0

    def enter_at_once(self) -> bool:
        """Take this call's turn if it need not wait for it. Returns whether it has."""
        if self._waiting or not self._may_begin():
            return False
        self._begin()
        return True

    async def enter(self, until: float) -> None:
        """Wait for this call's turn; whoever came first goes first.

        Args:
            until: Epoch seconds after which it is given up.

        Raises:
            CallError: LIMITER; the turn does not come in time.
        """
        self._waiting += 1
        try:
            async with self._line:
                while not self._may_begin():
                    await self._wait(await self._seconds_to_wait(), until)
                self._begin()
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """A call is over."""
        self._in_flight -= 1
        if self._left is not None:
            _wake(self._left)

    async def give_back(self) -> None:
        """Return slots that are not used, and keep those that are."""
        is_used = self._in_flight + self._waiting
        age_s = self._clock.now() - self._drawn_at
        if self._slots > is_used or (self._slots and age_s > 5.0):
            async with self._drawing:
                # From here on nothing begins in a slot that is just given back.
                self._tokens = 0
                grant = await self._draw(self._in_flight, 0, 0)
                self._slots = grant.slots
                self._drawn_at = self._clock.now() if self._slots else float("-inf")

    def _begin(self) -> None:
        self._tokens -= 1
        self._in_flight += 1
        self._begun_since += 1

    def _may_begin(self) -> bool:
        now = self._clock.now()
        if now - self._drawn_at > BLOCK_S:
            self._tokens = 0
        return self._tokens > 0 and self._in_flight < self._slots and now >= self.not_before

    async def _seconds_to_wait(self) -> float:
        now = self._clock.now()
        if now < self.not_before:
            return self.not_before - now
        if 0 < self._limits.concurrency <= self._in_flight:
            return BLOCK_S
        async with self._drawing:
            # As many as began since the last draw, so that a fast provider is not drawn for each.
            likely = max(self._waiting, self._begun_since)
            grant = await self._draw(self._in_flight, self._waiting, likely)
            self._begun_since = 0
            self._slots, self._tokens = grant.slots, grant.tokens
            self._drawn_at = self._clock.now()
        self.not_before = max(self.not_before, grant.not_before)
        if grant.tokens:
            return 0.0
        return grant.wait_s or BLOCK_S

    async def _wait(self, wait_s: float, until: float) -> None:
        now = self._clock.now()
        if wait_s > 0 and now + wait_s > until:
            raise _no_turn(self._endpoint, wait_s)
        if wait_s <= 0:
            return
        if now >= self.not_before and self._in_flight >= max(1, self._slots):
            # All slots are in use: the next one is free when a call of ours ends, or the ledger
            # has another one for us.
            await self._wait_for_slot(wait_s)
        else:
            await self._sleep(wait_s)

    async def _wait_for_slot(self, wait_s: float) -> None:
        """Wait until a call of ours ends, at most so long.

        Under load each call waits here once, and mostly for a moment: that is no news for anybody
        who looks, and needs no task.
        """
        loop = asyncio.get_running_loop()
        self._left = loop.create_future()
        try:
            if wait_s <= BLOCK_S:
                timer = loop.call_later(wait_s, _wake, self._left)
                try:
                    await self._left
                finally:
                    timer.cancel()
            else:
                await _first(self._left, self._sleep(wait_s))
        finally:
            self._left = None


class AddressRooms:
    """Connections to addresses: the hosts that share one have together what one of them has."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rooms: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    async def enter(self, endpoint: Endpoint, until: float) -> None:
        """Wait for a free connection to the endpoint's address, if that is known.

        Args:
            until: Epoch seconds after which it is given up.

        Raises:
            CallError: LIMITER; none came free in time.
        """
        address = endpoint.address
        if address is None:
            return
        room = self._rooms.setdefault(address, asyncio.Semaphore(endpoint.connections))
        self._users[address] += 1
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.now())):
                await room.acquire()
        except TimeoutError:
            self._forget_user(address)
            raise _no_turn(endpoint, BLOCK_S) from None
        except BaseException:
            self._forget_user(address)
            raise

    def leave(self, endpoint: Endpoint) -> None:
        """A call is over."""
        if endpoint.address is not None:
            self._rooms[endpoint.address].release()
            self._forget_user(endpoint.address)

    def _forget_user(self, address: str) -> None:
        self._users[address] -= 1
        if self._users[address] <= 0:
            del self._users[address], self._rooms[address]


class SitePacer:
    """Spaces the calls to one site's host."""

    def __init__(self, endpoint: Endpoint, clock: Clock, sleep: Sleep) -> None:
        self._endpoint = endpoint
        self._connections = endpoint.connections
        self._clock = clock
        self._sleep = sleep
        self._room = asyncio.Semaphore(endpoint.connections)
        self._line = asyncio.Lock()
        self._in_hand = 0
        self._pace = SitePace()
        self.not_before = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be forgotten with it."""
        now = self._clock.now()
        return not self._in_hand and now > self._pace.next_at and now > self.not_before

    async def enter(self, until: float, crawl_delay_s: float) -> None:
        """Wait for a free connection and for the delay since the last call's begin.

        Args:
            until: Epoch seconds after which it is given up.
            crawl_delay_s: What the site's robots.txt asks for.

        Raises:
            CallError: LIMITER; the turn does not come in time.
        """
        self._in_hand += 1
        try:
            await self._room.acquire()
            try:
                async with self._line:
                    while (wait_s := self._seconds_to_wait()) > 0:
                        if self._clock.now() + wait_s > until:
                            raise _no_turn(self._endpoint, wait_s)
                        await self._sleep(wait_s)
                    now = self._clock.now()
                    self._pace = after_start(self._pace, self._connections, crawl_delay_s, now)
            except BaseException:
                self._room.release()
                raise
        except BaseException:
            self._in_hand -= 1
            raise

    def complained(self) -> None:
        """The site said that it is too much for it."""
        self._pace = after_complaint(self._pace)

    def leave(self, latency_s: float, *, is_good: bool) -> None:
        """A call is over."""
        self._pace = after_answer(self._pace, latency_s, is_good=is_good)
        self._in_hand -= 1
        self._room.release()

    def _seconds_to_wait(self) -> float:
        return max(self._pace.next_at, self.not_before) - self._clock.now()


def _no_turn(endpoint: Endpoint, wait_s: float) -> CallError:
    return CallError(
        Failure(
            FailureKind.LIMITER,
            f"{endpoint.name} may not be asked for another {wait_s:.0f} s: "
            "its pace limit leaves no room.",
            provider=endpoint.provider,
            retry_after_s=wait_s,
        )
    )


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


async def _first(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
