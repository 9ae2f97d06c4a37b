import asyncio

from alerts.audience import MOST_PRICE_FRAMES, PRICES_EVERY, Audience, Heard
from alerts.outbox import Turn
from livermore import keys
from tests.simulated import until

BTC, ETH = keys.channel_ticker("binance", "BTC"), keys.channel_ticker("binance", "ETH")


class Hub:
    shared = frozenset({("binance", "BTC"), ("binance", "ETH")})

    def __init__(self, pages: int = 1) -> None:
        self.open_pages = pages

    def rows_changed(self, exchange_id: str) -> None: ...


class Page:
    """Keeps the frames it would have got, and when."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, bytes]] = []

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.frames]

    def take(self, turn: Turn) -> None:
        self.frames.append((asyncio.get_running_loop().time(), turn.body))

    def deliver(self, channel: str, data: bytes) -> None:
        raise AssertionError(channel)


def opened(pages: int = 1) -> tuple[Audience, Page]:
    audience, page = Audience(Heard(("binance",), ""), Hub(pages)), Page()
    audience.join(page)
    return audience, page


async def test_the_first_price_goes_out_with_its_turn_and_the_next_ones_together_a_little_later() -> None:
    audience, page = opened()
    audience.deliver(BTC, b"1")
    await asyncio.sleep(0)
    assert page.bodies == [b"1"]

    for price in (b"2", b"3"):
        audience.deliver(BTC, price)
    audience.deliver(ETH, b"9")
    await asyncio.sleep(0)
    assert page.bodies == [b"1"]
    await until(lambda: len(page.frames) == 2, "the prices that came since")
    assert page.bodies[1] == b"3,9"
    assert page.frames[1][0] - page.frames[0][0] >= PRICES_EVERY * 0.9  # an event loop's timer may be a tick early


async def test_an_alert_and_a_candle_wait_for_nothing_and_take_the_prices_that_wait_along() -> None:
    audience, page = opened(pages=10 * MOST_PRICE_FRAMES)  # prices every ten seconds
    audience.deliver(BTC, b"1")
    await asyncio.sleep(0)
    audience.deliver(BTC, b"2")
    audience.deliver(keys.channel_alerts("binance"), b"alert")
    await asyncio.sleep(0)
    assert page.bodies == [b"1", b"alert,2"]

    audience.deliver(keys.channel_candle_close("binance", "BTC", "5m"), b"candle")
    await asyncio.sleep(0)
    assert page.bodies[2:] == [b"candle"]


async def test_the_more_pages_a_process_has_the_fewer_frames_of_prices_each_gets() -> None:
    audience, page = opened(pages=MOST_PRICE_FRAMES)  # once a second
    audience.deliver(BTC, b"1")
    await asyncio.sleep(0)
    audience.deliver(BTC, b"2")
    await until(lambda: len(page.frames) == 2, "the next price")
    assert page.frames[1][0] - page.frames[0][0] >= 0.9


async def test_whoever_joins_gets_nothing_of_what_waited_before() -> None:
    audience, page = opened(pages=10 * MOST_PRICE_FRAMES)
    audience.deliver(BTC, b"1")
    await asyncio.sleep(0)
    audience.deliver(BTC, b"2")
    audience.join(later := Page())
    assert page.bodies == [b"1", b"2"]
    audience.deliver(keys.channel_alerts("binance"), b"alert")
    await asyncio.sleep(0)
    assert later.bodies == [b"alert"]
