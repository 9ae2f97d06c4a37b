"""Keeping inside what an exchange allows: connection attempts, and weight on its REST host. No I/O but waiting."""

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable

from exchanges.events import RestRefusal

CONNECTS_A_MINUTE = 10
"""Our own ceiling, far below any exchange's: a reconnect loop that only spins makes thousands."""


class ConnectBudget:
    """How often a host may be connected to. ``delay`` says how long to wait before the next attempt."""

    def __init__(self, per_5min: int, per_minute: int = CONNECTS_A_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        self._windows = ((60.0, per_minute), (300.0, per_5min))
        self._attempts: deque[float] = deque(maxlen=max(per_minute, per_5min))
        self._clock = clock

    def delay(self) -> float:
        """Seconds until another attempt is allowed; 0 when one is."""
        now = self._clock()
        waits = [0.0]
        for span, most in self._windows:
            recent = [at for at in self._attempts if at > now - span]
            if len(recent) >= most:
                waits.append(recent[-most] + span - now)
        return max(waits)

    def spend(self) -> None:
        self._attempts.append(self._clock())

    def give_back(self) -> None:
        """The last attempt never reached the host, which has nothing to count."""
        if self._attempts:
            self._attempts.pop()


class Backoff:
    """Exponential with full jitter, 0.5 s to 60 s, never under a floor, never giving up."""

    def __init__(self, first: float = 0.5, most: float = 60.0, rng: Callable[[], float] = random.random) -> None:
        self._first, self._most, self._rng = first, most, rng
        self._failures = 0

    def next(self, floor: float = 0.0) -> float:
        """Seconds to wait before the next attempt."""
        ceiling = min(self._most, self._first * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return max(floor, self._rng() * ceiling)

    def reset(self) -> None:
        self._failures = 0


class WeightLimiter:
    """A token bucket for one REST host, in the exchange's weight units; the most urgent waiter goes first.

    ``hold`` keeps everybody waiting, as a ``Retry-After`` demands.
    """

    def __init__(self, per_minute: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.burst = per_minute, burst
        self._clock = clock
        self._tokens, self._at = burst, clock()
        self._held_until = 0.0
        self._waiters: list[tuple[int, int, float, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._pump: asyncio.Task[None] | None = None
        self.spent = 0.0
        self._lately: deque[tuple[float, float]] = deque()

    async def take(self, weight: float, priority: int = 1) -> None:
        """Wait until ``weight`` may be spent. A lower ``priority`` is more urgent."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (priority, next(self._order), min(weight, self.burst), turn))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        await turn

    def hold(self, seconds: float) -> None:
        """Spend nothing for that long."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    @property
    def held_for(self) -> float:
        return max(0.0, self._held_until - self._clock())

    @property
    def available(self) -> float:
        self._refill()
        return self._tokens

    @property
    def spent_lately(self) -> float:
        """What the last minute took."""
        since = self._clock() - 60.0
        while self._lately and self._lately[0][0] <= since:
            self._lately.popleft()
        return sum(weight for _, weight in self._lately)

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._waiters)

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.per_minute / 60)
        self._at = now

    async def _run(self) -> None:
        while self._waiters:
            if self.held_for:
                await asyncio.sleep(self.held_for)
                continue
            weight = self._waiters[0][2]
            if self.available < weight:
                await asyncio.sleep((weight - self._tokens) * 60 / self.per_minute)
                continue
            _, _, weight, turn = heapq.heappop(self._waiters)
            if not turn.done():
                self._tokens -= weight
                self._note(weight)
                turn.set_result(None)

    def _note(self, weight: float) -> None:
        self.spent += weight
        second = self._clock() // 1
        if self._lately and self._lately[-1][0] == second:
            weight += self._lately.pop()[1]
        self._lately.append((second, weight))


def seconds_to_wait(refusal: RestRefusal) -> float | None:
    """How long the exchange asked us to stay away; None where it did not say."""
    if refusal.retry_after is not None:
        return refusal.retry_after
    if refusal.retry_at is not None:
        return min(max(0.0, refusal.retry_at / 1000 - time.time()), 3 * 86_400)
    return None
