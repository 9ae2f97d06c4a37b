"""The page of a symbol: what stands on it before anything moves, and what a wrong address is answered with."""

import pytest

from exchanges.models import Exchange, UserExchange
from symbols.models import Symbol
from tests import seeds
from tests.people import browser, client_of, person

PAGE = "/symbols/coinbase/BTC-USD/"


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()


def market(symbol: str, exchange_id: str = "coinbase", **more: object) -> Symbol:
    base, _, quote = symbol.replace("/", "-").replace("USDT", "-USDT").partition("-")
    return Symbol.objects.create(exchange_id=exchange_id, symbol=symbol, **{"base": base, "quote": quote.strip("-"), **more})


def test_it_names_the_symbol_its_exchange_and_the_exchanges_own_page():
    market("BTC-USD", tier=1)
    page = browser("viewer").get(PAGE)
    assert page.status_code == 200
    assert "<title>BTC-USD · Coinbase Advanced Trade · Livermore</title>" in page.text
    assert 'href="https://www.coinbase.com/advanced-trade/spot/BTC-USD" target="_blank" rel="noopener noreferrer"' in page.text
    assert "SIMULATED" not in page.text


def test_a_simulated_exchange_says_so():
    market("BTC-USD", "coinbase-sandbox", tier=1)
    assert "SIMULATED" in browser("viewer").get("/symbols/coinbase-sandbox/BTC-USD/").text


def test_a_symbol_may_hold_slashes():
    row = market("BTC/USD", "kraken", tier=1)
    page = browser("viewer").get("/symbols/kraken/BTC/USD/")
    assert page.context["row"] == row
    assert page.context["trade_url"] == "https://pro.kraken.com/app/trade/btc-usd"


def test_an_exchange_without_a_trade_page_has_no_button():
    market("BTC-USD", tier=1)
    Exchange.objects.filter(pk="coinbase").update(trade_url_template="")
    assert "Open on" not in browser("viewer").get(PAGE).text


def test_what_a_symbol_is_called_cannot_lead_out_of_the_trade_page():
    row = market("X", base="../..//evil.example?", quote="USD")
    assert browser("viewer").get("/symbols/coinbase/X/").context["trade_url"].endswith("/spot/..%2F..%2F%2Fevil.example%3F-USD")
    assert row.symbol == "X"


def test_the_same_coin_elsewhere_is_any_dollar_and_the_watched_ones_come_first():
    market("BTC-USD", tier=1)
    market("BTCUSDT", "binance-sandbox", tier=1)
    market("BTCUSDC", "binance-us", base="BTC", quote="USDC")
    market("BTC/USD", "kraken", tier=1)
    market("BTC-EUR", "kraken", base="BTC", quote="EUR", tier=1)
    market("BTC-USDC", tier=1)
    market("ETHUSDT", "binance", tier=1)
    market("BTCFDUSD", "binance", base="BTC", quote="FDUSD", tradable=False)
    elsewhere = browser("viewer").get(PAGE).context["elsewhere"]
    assert [row.symbol for row in elsewhere] == ["BTC/USD", "BTCUSDT", "BTCUSDC"]


def test_a_market_in_euros_compares_with_euros_only():
    market("BTC-EUR", tier=1)
    market("BTC/EUR", "kraken", tier=1)
    market("BTC/USD", "kraken", tier=1)
    assert [row.symbol for row in browser("viewer").get("/symbols/coinbase/BTC-EUR/").context["elsewhere"]] == ["BTC/EUR"]


@pytest.mark.parametrize(
    ("who", "more", "says"),
    [
        ("operator", {"rank": 77}, "it is not among the top 50 by volume (rank 77)."),
        ("operator", {"policy": "excluded"}, "somebody excluded it."),
        ("operator", {"rank": 77}, "Watch it for me"),
        ("viewer", {"rank": 77}, "Ask an operator to pin it."),
        ("operator", {"tradable": False, "status": "halted"}, "does not trade BTC-USD now (“halted”), so it is not watched."),
    ],
)
def test_a_symbol_that_is_not_watched_says_the_next_step(who, more, says):
    market("BTC-USD", **more)
    assert says in " ".join(browser(who).get(PAGE).text.split())


def test_who_does_not_watch_the_exchange_is_told():
    market("BTC-USD", tier=1)
    mike = person("mike", group="viewer")
    UserExchange.objects.create(user=mike, exchange_id="coinbase", watch=False)
    assert "You do not watch Coinbase Advanced Trade" in client_of(mike).get(PAGE).text


def test_only_the_timeframes_of_the_exchange_can_be_chosen():
    market("BTC-USD", tier=1)
    Exchange.objects.filter(pk="coinbase").update(timeframes=["5m", "1h"])
    assert 'data-timeframes="5m,1h"' in browser("viewer").get(PAGE).text


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("coinbase/BTCUSD", ["BTC-USD", "BTC-USDC"]),
        ("coinbase/btc-usd", ["BTC-USD", "BTC-USDC"]),
        ("coinbase/BTC", ["BTC-USD", "BTC-USDC"]),
        ("coinbase/ETH-UDS", ["ETH-USD"]),
        ("coinbase/BTX-USD", ["BTC-USD", "BTC-USDC"]),
        ("coinbase/QQQQ", []),
        ("mtgox/ETHUSD", ["ETH-USD", "ETHUSDT"]),
        ("kraken/BTC-USD", []),
        ("coinbase/BTC-USD%00", ["BTC-USD", "BTC-USDC"]),
        ("a%00b/DOGE", []),
    ],
)
def test_an_unknown_symbol_is_a_404_that_lists_near_spellings(path, near):
    for at, symbol in enumerate(("BTC-USD", "BTC-USDC", "ETH-USD"), 1):
        market(symbol, rank=at)
    market("ETHUSDT", "binance", rank=9)
    answer = browser("viewer").get(f"/symbols/{path}/")
    assert answer.status_code == 404
    assert [row.symbol for row in answer.context["near"]] == near
    assert answer.text.count("<a href=") == len(near)


def test_a_symbol_of_an_exchange_that_is_switched_off_is_not_found():
    market("BTC-USD", tier=1)
    Exchange.objects.filter(pk="coinbase").update(active=False)
    assert browser("viewer").get(PAGE).status_code == 404


def test_a_name_with_markup_is_shown_as_text():
    answer = browser("viewer").get("/symbols/coinbase/%3Cscript%3Ealert(1)%3C/script%3E/")
    assert "<script>alert" not in answer.text


def test_the_page_needs_few_queries_however_many_symbols_there_are(django_assert_num_queries):
    market("BTC-USD", tier=1)
    for number in range(300):
        market(f"A{number}-USD", rank=number)
    client = browser("viewer")
    with django_assert_num_queries(10):
        client.get(PAGE)
