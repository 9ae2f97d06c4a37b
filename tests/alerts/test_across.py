"""What an alert says of other exchanges, and what the page makes of it, recomputed by arithmetic of this test's own."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from alerts import across, elsewhere
from alerts.crossexchange import Identity, Price, residual
from alerts.elsewhere import Beside, Market, beside, pair_name, read_markets
from alerts.models import Alert
from exchanges.events import Ticker
from exchanges.models import Exchange, Preferences, UserExchange
from exchanges.status import now_ms
from livermore import bus, keys
from livermore.db import db
from market_data import store
from symbols.models import Coin, Symbol
from tests import seeds
from tests.people import client_of, person

pytestmark = pytest.mark.django_db(transaction=True)

MARKET = Market(1, "binance", "BTCUSDT", "USDT", "https://www.binance.com/en/trade/BTC_USDT?type=spot")
AT = 1_772_402_400_000


def ticker(price: float, received: int, **more: float) -> bytes:
    return bus.encode({"t": received - 5, "price": price, "received": received, **more})


def pair(identity: str, **lead: Any) -> bytes:
    return bus.encode({"identity": identity, "lead": lead or None})


# What is noted on an alert


def test_it_names_the_price_there_and_how_far_it_is() -> None:
    found = beside(64_000.0, MARKET, ticker(64_128.0, AT - 900, bid=64_120.0, ask=64_136.0), pair("same", leader="coinbase"), AT)
    assert found == {
        "exchange_id": "binance",
        "symbol": "BTCUSDT",
        "quote": "USDT",
        "identity": "same",
        "price": 64_128.0,
        "received": AT - 900,
        "spread_bps": pytest.approx(20.0),  # 128 / 64,000
        "book_spread_bps": pytest.approx(16 / 64_128 * 10_000),
        "trade_url": MARKET.trade_url,
        "lead": {"leader": "coinbase"},
    }


@pytest.mark.parametrize(
    ("there", "known", "identity", "price", "spread"),
    [
        (ticker(64_128.0, AT - 60_001), pair("same"), "same", None, None),
        (None, pair("same"), "same", None, None),
        (None, None, "unknown", None, None),
        (ticker(64_128.0, AT), None, "same", 64_128.0, 20.0),
        (ticker(80_000.0, AT), None, "unknown", 80_000.0, None),
        (ticker(64_128.0, AT), pair("different"), "different", None, None),
        (ticker(64_128.0, AT), pair("unknown"), "same", 64_128.0, 20.0),
        (ticker(80_000.0, AT), pair("unknown"), "unknown", 80_000.0, None),
    ],
    ids=["stale", "no price", "nothing", "near", "far", "another coin", "near at first sight", "not proved"],
)
def test_nothing_is_derived_from_what_is_stale_or_not_proved_the_same(there, known, identity, price, spread) -> None:
    found = beside(64_000.0, MARKET, there, known, AT)
    assert (found["identity"], found["price"], found["lead"]) == (identity, price, None)
    assert found["spread_bps"] == (None if spread is None else pytest.approx(spread))


def listed(symbol: str, exchange_id: str, base: str, quote: str, **more: Any) -> Symbol:
    coin, _ = Coin.objects.get_or_create(code=base, simulated=Exchange.objects.get(pk=exchange_id).is_sandbox)
    return Symbol.objects.create(exchange_id=exchange_id, symbol=symbol, base=base, quote=quote, coin=coin, **more)


@pytest.fixture
def _world(redis_url: str) -> None:
    seeds.restore()
    listed("BTC-USD", "coinbase", "BTC", "USD", tier=1, rank=1)
    listed("BTC-USDC", "coinbase", "BTC", "USDC", alias_of="BTC-USD")
    listed("BTC-EUR", "coinbase", "BTC", "EUR", rank=7)
    listed("BTCUSDT", "binance", "BTC", "USDT", tier=1, rank=1)
    listed("BTCUSDC", "binance", "BTC", "USDC", tier=1, rank=9)
    listed("BTCUSDT", "binance-us", "BTC", "USDT", rank=1, tradable=False)
    listed("BTC-USD", "coinbase-sandbox", "BTC", "USD", tier=1, rank=1)
    listed("USDT-USD", "coinbase", "USDT", "USD", price=0.9985)


@pytest.mark.usefixtures("_world")
def test_a_coin_has_one_market_an_exchange_and_the_simulated_one_is_another_coin() -> None:
    found = {tuple((one.exchange_id, one.symbol) for one in markets) for markets in read_markets().values()}
    assert found == {
        (("binance", "BTCUSDT"), ("coinbase", "BTC-USD")),
        (("coinbase-sandbox", "BTC-USD"),),
        (("coinbase", "USDT-USD"),),
    }


@pytest.mark.usefixtures("_world")
async def test_a_symbol_that_is_watched_since_a_moment_has_its_card_too(redis_url: str) -> None:
    """The markets are read every half minute, and at once where an alert is of one that is not known yet."""
    redis = bus.connect()
    one, other = (Alert(exchange_id="coinbase", symbol=f"{base}-USD", base=base, quote="USD", price=100.0) for base in ("BTC", "ETH"))
    beside_ = Beside(redis, "coinbase")
    await beside_.fill([one])
    await db(listed)("ETH-USD", "coinbase", "ETH", "USD", tier=1, rank=2)
    await db(listed)("ETHUSDT", "binance", "ETH", "USDT", tier=1, rank=2)
    await beside_.fill([one, other])
    assert [offered(alert) for alert in (one, other)] == [["BTCUSDT"], ["ETHUSDT"]]
    await redis.aclose()


def offered(alert: Alert) -> list[str]:
    return [offer["symbol"] for offer in alert.elsewhere if offer["symbol"]]


@pytest.mark.usefixtures("_world")
async def test_an_exchange_whose_list_is_not_known_yet_is_not_said_not_to_list_a_coin(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = bus.connect()
    alert = Alert(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", price=100.0)
    beside_ = Beside(redis, "coinbase")
    await beside_.fill([alert])
    assert [(offer["exchange_id"], offer["price"], offer["identity"]) for offer in alert.elsewhere if not offer["symbol"]] == [
        ("kraken", None, "unknown")  # neither the simulated ones, nor Binance.US, which lists it and does not trade it
    ]
    monkeypatch.setattr(elsewhere, "UNLISTED_REFRESH", 0.0)
    await db(listed)("BTC/USD", "kraken", "BTC", "USD", rank=1)
    await beside_.fill([alert])
    assert [offer["symbol"] for offer in alert.elsewhere] == ["BTCUSDT", "BTC/USD"]
    await redis.aclose()


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize("identity", ["same", "unknown", "different"])
async def test_a_pair_in_bitcoin_gets_the_price_there_and_nothing_derived(redis_url: str, identity: str) -> None:
    redis = bus.connect()
    eth = await db(listed)("ETH-BTC", "coinbase", "ETH", "BTC", tier=1, rank=3)
    await db(listed)("ETHUSDT", "binance", "ETH", "USDT", tier=1, rank=2)
    await redis.hset(keys.crossing_pairs(), pair_name(eth.coin_id, "coinbase", "binance"), pair(identity, leader="coinbase"))
    await redis.set(keys.ticker("binance", "ETHUSDT"), ticker(1_800.0, now_ms(), bid=1_799.0, ask=1_801.0))
    alert = Alert(exchange_id="coinbase", symbol="ETH-BTC", base="ETH", quote="BTC", price=0.029)
    await Beside(redis, "coinbase").fill([alert])
    (offer,) = [offer for offer in alert.elsewhere if offer["symbol"]]
    assert (offer["symbol"], offer["price"]) == ("ETHUSDT", None if identity == "different" else 1_800.0)
    assert (offer["identity"], offer["spread_bps"], offer["lead"]) == ("different" if identity == "different" else "unknown", None, None)
    await redis.aclose()


@pytest.mark.usefixtures("_world")
def test_pairs_and_basis_are_what_was_measured() -> None:
    coin = Coin.objects.get(code="BTC", simulated=False)
    bus.sync().hset(keys.crossing_pairs(), pair_name(coin.pk, "coinbase", "binance"), pair("different").decode())
    client = client_of(person("kaia", group="viewer"))
    assert client.get("/api/across/").json() == {
        "pairs": [
            {"coin": "BTC", "simulated": False, "first_id": "binance", "second_id": "coinbase", "identity": "different", "lead": None}
        ],
        "basis": [{"quote": "USDT", "exchange_id": "coinbase", "symbol": "USDT-USD", "basis_bps": pytest.approx(-15.0)}],
    }


# Where to act


@pytest.mark.usefixtures("_world")
def test_where_to_act_is_said_best_first_with_the_reason() -> None:
    kaia = person("kaia", group="trader")
    client = client_of(kaia)
    Preferences.objects.create(user=kaia, region="DE")
    UserExchange.objects.create(user=kaia, exchange_id="coinbase", taker_fee="0.0005")
    found = client.get("/api/coins/btc/venues/").json()
    assert [(one["exchange_id"], one["place"], one["symbol"], one["taker_fee"]) for one in found] == [
        ("coinbase", 1, "BTC-USD", 0.0005),
        ("binance", 2, "BTCUSDT", 0.001),
        ("binance-us", None, "", 0.001),
        ("kraken", None, "", 0.004),
    ]
    assert found[1]["reason"].startswith("lists BTCUSDT; no restriction known for DE; taker fee 0.1 %")
    assert found[3]["reason"] == "does not list BTC"
    american = client.get("/api/coins/BTC/venues/?region=us").json()
    assert [(one["exchange_id"], one["place"]) for one in american][:2] == [("coinbase", 1), ("binance", None)]
    assert "not available in US" in american[1]["reason"]


@pytest.mark.usefixtures("_world")
@pytest.mark.parametrize(("url", "status"), [("/api/coins/nocoin/venues/", 404), ("/api/coins/BTC/venues/?region=USA", 400)])
def test_an_unknown_coin_or_region_is_an_error_that_says_so(url: str, status: int) -> None:
    assert client_of(person("kaia", group="viewer")).get(url).status_code == status


def test_no_process_that_compares_is_no_pairs(redis_url: str) -> None:
    assert across.read_pairs() == []


# The card: the page's arithmetic, against Python's, against this test's own

CASES = [
    (64_000.0, 64_128.0, 0.012, 0.001, "up", 0.0),
    (64_128.0, 64_000.0, 0.006, 0.001, "down", 2.5),
    (0.07123, 0.07119, 0.0, 0.0, "up", 14.0),
    (1.0, 1.5, 0.01, 0.02, "down", 0.0),
]


def by_hand(here: float, there: float, fee_here: float, fee_there: float, direction: str, book: float) -> float:
    """Buy a unit there and value it here, or the other way round: in steps, as one does with a pencil."""
    if direction == "up":
        paid = there + there * book / 20_000
        paid += paid * fee_there
        got = here - here * fee_here
    else:
        got = there - there * book / 20_000
        got -= got * fee_there
        paid = here + here * fee_here
    return (got - paid) / paid * 10_000


SCRIPT = """
import { residual } from "%s";
const cases = %s;
console.log(JSON.stringify(cases.map(([here, there, feeHere, feeThere, direction, bookSpread]) =>
  residual({ here, there, feeHere, feeThere, direction, bookSpread }))));
"""


def test_the_card_of_the_page_and_python_and_a_pencil_agree() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: the page's arithmetic is not compared")
    module = Path(__file__).parents[2] / "livermore/static/livermore/js/across.js"
    script = SCRIPT % (module.as_uri(), json.dumps(CASES))
    run = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True, timeout=60)
    page = json.loads(run.stdout)
    for case, told in zip(CASES, page, strict=True):
        here, there, fee_here, fee_there, direction, book = case
        python = residual(
            Price(here, AT),
            Price(there, AT),
            fee_here,
            fee_there,
            now=AT,
            identity=Identity.SAME,
            direction=direction,
            book_spread_bps=book,
        )
        assert python is not None
        assert told == pytest.approx(python.residual_bps, abs=1e-9)
        assert told == pytest.approx(by_hand(*case), abs=1e-6)


async def test_prices_as_the_connectors_write_them_can_be_read(redis_url: str) -> None:
    redis: Redis = bus.connect()
    await store.write_tickers(redis, "binance", [(Ticker("BTCUSDT", 64_128.0, AT, bid=64_120.0, ask=64_136.0), now_ms())])
    value = await redis.get(keys.ticker("binance", "BTCUSDT"))
    await redis.aclose()
    found = await db(beside)(64_000.0, MARKET, value, None, now_ms())
    assert (found["price"], found["identity"]) == (64_128.0, "same")
