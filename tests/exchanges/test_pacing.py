import asyncio

from exchanges.events import RestRefusal
from exchanges.pacing import Backoff, ConnectBudget, WeightLimiter, seconds_to_wait


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_eleventh_connect_of_a_minute_waits_for_the_first_to_be_a_minute_old():
    clock = Clock()
    budget = ConnectBudget(per_5min=60, clock=clock)
    for _ in range(10):
        assert budget.delay() == 0
        budget.spend()
        clock.now += 1
    assert budget.delay() == 50
    clock.now += 50
    assert budget.delay() == 0


def test_the_budget_of_five_minutes_holds_too():
    clock = Clock()
    budget = ConnectBudget(per_5min=20, per_minute=10, clock=clock)
    for _ in range(20):
        clock.now += budget.delay()
        budget.spend()
    assert clock.now == 1060
    assert budget.delay() == 240


def test_the_backoff_doubles_up_to_a_minute_with_full_jitter():
    backoff = Backoff(rng=lambda: 1.0)
    assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.next() == 0.5
    assert Backoff(rng=lambda: 0.0).next(floor=1.0) == 1.0


async def test_a_burst_is_spent_at_once_and_the_rest_at_the_rate():
    limiter = WeightLimiter(per_minute=6000, burst=5)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(15):
        await limiter.take(1)
    # 5 at once, 10 more at 100 a second; the clock of a busy machine can only add to that.
    assert loop.time() - started >= 0.095
    assert limiter.spent == 15


async def test_what_the_last_minute_took_is_known_however_late_somebody_asks():
    now = 1000.0
    limiter = WeightLimiter(per_minute=60_000, burst=1_000, clock=lambda: now)
    await limiter.take(100)
    now += 0.5
    await limiter.take(50)
    now += 30
    await limiter.take(7)
    assert limiter.spent_lately == 157
    now += 30
    assert limiter.spent_lately == 7
    now += 30
    assert (limiter.spent_lately, limiter.spent) == (0, 157)


async def test_the_more_urgent_goes_first():
    limiter = WeightLimiter(per_minute=60_000, burst=1)
    order: list[str] = []

    async def want(name: str, priority: int) -> None:
        await limiter.take(1, priority)
        order.append(name)

    await limiter.take(1)
    await asyncio.gather(want("warm-up", 2), want("close", 1), want("would fire", 0), want("another close", 1))
    assert order == ["would fire", "close", "another close", "warm-up"]


async def test_a_hold_keeps_everybody_waiting():
    limiter = WeightLimiter(per_minute=60_000, burst=100)
    limiter.hold(0.2)
    started = asyncio.get_running_loop().time()
    await limiter.take(1)
    assert asyncio.get_running_loop().time() - started >= 0.19


async def test_a_waiter_that_gave_up_costs_nothing():
    limiter = WeightLimiter(per_minute=60_000, burst=100)
    limiter.hold(0.1)
    waiting = asyncio.ensure_future(limiter.take(50))
    await asyncio.sleep(0)
    waiting.cancel()
    await limiter.take(1)
    assert limiter.spent == 1


def test_a_ban_until_a_time_is_waited_for():
    assert seconds_to_wait(RestRefusal("banned", "", retry_after=7.0)) == 7.0
    assert seconds_to_wait(RestRefusal("banned", "", retry_at=1)) == 0.0
    assert seconds_to_wait(RestRefusal("banned", "")) is None
