"""The user stories of the requirements, line by line, each acceptance criterion with its assertion.

Mike holds coins on Coinbase. Kaia trades on Binance and watches Coinbase for signals. Two simulated exchanges, a process that hosts both,
a web server of its own, and a real socket for each.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from websockets.asyncio.client import ClientConnection, connect

from exchanges import control
from exchanges.events import Credentials
from exchanges.models import Exchange, UserExchange
from exchanges.sandbox.venues import BINANCE, COINBASE
from livermore import keys
from livermore.db import db
from livermore.hosting import host
from market_data import store
from symbols.models import Position, Symbol
from symbols.wants import keeper_for
from tests.browser import web_server
from tests.people import client_of, person
from tests.simulated import BINANCE_ID, COINBASE_ID, World, simulated, until

pytestmark = pytest.mark.django_db(transaction=True)

HELD = {"BTC": 0.5, "ETH": 4.0, "SOL": 30.0, "BAND": 9_000.0, "DOGE": 1.0, "USD": 1_000.0}
"""Mike's account: three large coins, one outside Tier 1, dust, and dollars."""


class Trader:
    """Somebody at a browser: pages over HTTP, the feed over a socket."""

    def __init__(self, user: User, url: str) -> None:
        self.user, self.url = user, url
        self.heard: list[dict[str, Any]] = []
        self.cookies: dict[str, str] = {}
        self._socket: ClientConnection | None = None

    async def log_in(self) -> None:
        client = await db(client_of)(self.user)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        async with httpx.AsyncClient(base_url=self.url, cookies={settings.SESSION_COOKIE_NAME: session}) as http:
            page = await http.get("/settings/")
            assert page.status_code == 200
            self.cookies = {settings.SESSION_COOKIE_NAME: session, "csrftoken": http.cookies["csrftoken"]}

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer of the API."""
        headers = {"X-CSRFToken": self.cookies["csrftoken"], "Referer": self.url}
        async with httpx.AsyncClient(base_url=self.url, cookies=self.cookies, headers=headers, timeout=30) as http:
            answer = await http.request(method, path, json=body)
        assert answer.status_code < 400, answer.text
        return answer.json()

    async def post_form(self, path: str, **values: str) -> httpx.Response:
        headers = {"Referer": self.url}
        async with httpx.AsyncClient(base_url=self.url, cookies=self.cookies, headers=headers, timeout=30) as http:
            return await http.post(path, data={"csrfmiddlewaretoken": self.cookies["csrftoken"], **values})

    @asynccontextmanager
    async def page(self) -> AsyncIterator[None]:
        """An open dashboard."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        address = self.url.replace("http", "ws") + "/ws/feed/"
        async with connect(address, additional_headers={"Cookie": cookie}, origin=self.url, compression=None) as socket:  # type: ignore[arg-type]
            self._socket = socket
            await self.hello()
            listening = asyncio.create_task(self._listen())
            try:
                await until(lambda: self.last("snapshot"), "the snapshot")
                yield
            finally:
                listening.cancel()

    async def hello(self) -> None:
        assert self._socket
        await self._socket.send(json.dumps({"type": "hello", "v": 1, "resume": {}}))

    async def _listen(self) -> None:
        assert self._socket
        async for text in self._socket:
            frame = json.loads(text)
            for message in frame["m"]:
                self.heard.append(message)
                if message.get("resync"):
                    await self.hello()
            await self._socket.send(json.dumps({"type": "ack", "n": frame["n"]}))

    def last(self, kind: str) -> dict[str, Any] | None:
        return next((message for message in reversed(self.heard) if message["type"] == kind), None)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]


@asynccontextmanager
async def house(environment: dict[str, str]) -> AsyncIterator[tuple[World, Trader, Trader]]:
    """Two exchanges hosted and idle, Mike and Kaia logged in, Mike's key stored."""
    async with simulated([COINBASE, BINANCE], top_n=4) as world, web_server(environment) as url:
        exchanges = await db(lambda: list(Exchange.objects.filter(pk__in=[COINBASE_ID, BINANCE_ID])))()
        world.running[COINBASE_ID] = task = asyncio.create_task(host(exchanges, frozenset()))
        try:
            for exchange in exchanges:
                group = f"livermore:group:{keys.group_control(exchange.pk)}"
                await until(lambda: world.redis.exists(group), "a process that takes commands")  # noqa: B023  (awaited at once)
            mike, kaia = Trader(await db(person)("mike", group="operator"), url), Trader(await db(person)("kaia", group="trader"), url)
            for trader in (mike, kaia):
                await trader.log_in()
            yield world, mike, kaia
        finally:
            world.running.clear()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def start(world: World, trader: Trader, exchange_id: str) -> None:
    """The button of the dashboard."""
    asking = asyncio.create_task(trader.ask("POST", f"/api/exchanges/{exchange_id}/commands/", {"action": "start"}))
    assert (await asking)["ok"]
    running, world.running[exchange_id] = world.running, world.running[COINBASE_ID]
    world.running = {exchange_id: running[exchange_id]}
    await world.settled()
    world.running = running


async def stored_key(world: World, trader: Trader, exchange_id: str) -> Credentials:
    """What the trader pastes into the settings page."""
    key = world.sandbox.accounts(exchange_id).open(trader.user.username, HELD)
    prefix = f"key-{exchange_id}"
    answer = await trader.post_form(
        "/settings/", section="key", exchange=exchange_id, **{f"{prefix}-key": key.key, f"{prefix}-secret": key.secret}
    )
    assert answer.status_code == 302
    return key


async def test_mike_and_kaia(redis_url: str, process_environment: dict[str, str]) -> None:
    async with house(process_environment) as (world, mike, kaia), mike.page(), kaia.page():
        # "I want to start the API without immediate WebSocket connections": idle, until `start`.
        assert world.sandbox.counters[COINBASE_ID]["connects"] == world.sandbox.counters[BINANCE_ID]["connects"] == 0
        cards = {card["exchange_id"]: card["state"] for card in mike.last("snapshot")["exchanges"]}  # type: ignore[index]
        assert {cards[name] for name in (COINBASE_ID, BINANCE_ID)} == {"idle"}
        await start(world, mike, COINBASE_ID)
        assert world.sandbox.counters[COINBASE_ID]["connects"] == 1
        assert world.sandbox.counters[BINANCE_ID]["connects"] == 0

        # "I want to see exchange connection status": connected, last heartbeat, since when.
        card = await until(lambda: live_card(mike, COINBASE_ID), "the live card of Coinbase")
        assert card["connection_state"] == "connected"
        assert card["last_heartbeat"] >= card["connected_at"] > 0
        assert card["since"] > 0

        # "I want my positions auto-subscribed regardless of Tier 1".
        key = await stored_key(world, mike, COINBASE_ID)
        use = await db(UserExchange.objects.defer("api_key", "api_secret").get)(user=mike.user, exchange_id=COINBASE_ID)
        assert (use.key_state, use.key_error) == ("works", "")
        await world.settled()
        rows = {row.asset: row for row in await db(lambda: list(Position.objects.filter(user=mike.user).select_related("symbol")))()}
        assert {asset: row.symbol and row.symbol.symbol for asset, row in rows.items()} == {
            coin: f"{coin}-USD" for coin in HELD if coin != "USD"
        }
        tiers = {row.symbol: row.tier for row in await db(lambda: list(Symbol.objects.filter(exchange_id=COINBASE_ID)))()}
        assert (tiers["BTC-USD"], tiers["BAND-USD"], tiers["DOGE-USD"]) == (1, 2, None), "in Tier 1, outside it, and dust"
        own = keys.user_candles(mike.user.pk, COINBASE_ID, "BAND-USD", "5m")
        assert await world.redis.zcard(own) >= 250, "in the user's overflow keys"
        assert await world.redis.zcard(keys.candles(COINBASE_ID, "BTC-USD", "5m")) >= 250, "and what is in Tier 1 in the shared pool"
        assert await world.redis.exists(keys.user_candles(mike.user.pk, COINBASE_ID, "BTC-USD", "5m")) == 0
        assert key.secret not in json.dumps(mike.heard)

        # "I want to add DOGE manually even if it's not in Tier 1": checked against the exchange, stored in overflow keys.
        wrong = await mike.ask("POST", "/api/my/symbols/", {"exchange": COINBASE_ID, "lines": ["DOGEE", "DOGE"]})
        assert [(one["code"], one["symbol"]) for one in wrong["verdicts"]] == [("unknown", ""), ("added", "DOGE-USD")]
        assert "Nearest: DOGE-USD" in wrong["verdicts"][0]["message"]
        assert wrong["verdicts"][1]["message"] == "DOGE is listed as DOGE-USD: added."
        await world.settled()
        assert await world.redis.zcard(keys.user_candles(mike.user.pk, COINBASE_ID, "DOGE-USD", "5m")) >= 250
        row = await until(lambda: row_of(mike, COINBASE_ID, "DOGE-USD"), "the row of DOGE on Mike's open page")
        assert row["tier"] == 2
        assert row_of(kaia, COINBASE_ID, "DOGE-USD") is None, "what Mike adds is not on Kaia's page"

        # "I want to configure which exchanges I watch": Kaia watches Coinbase, and buys on Binance.
        await start(world, mike, BINANCE_ID)
        await kaia.ask("PATCH", f"/api/my/exchanges/{BINANCE_ID}/", {"own": True})
        account = await until(lambda: settled_account(kaia, own=BINANCE_ID), "her own exchange on the open page")
        assert account["settings"]["own_exchange_id"] == BINANCE_ID
        await kaia.ask("PATCH", f"/api/my/exchanges/{COINBASE_ID}/", {"watch": False})
        await until(lambda: not shows(kaia, COINBASE_ID), "Coinbase to leave her page")
        await kaia.ask("PATCH", f"/api/my/exchanges/{COINBASE_ID}/", {"watch": True})
        await until(lambda: shows(kaia, COINBASE_ID), "Coinbase to be back")

        # "I want to see BTC signals from Coinbase while on Binance", and "to know which exchange triggered a signal".
        pubsub = world.redis.pubsub()
        await pubsub.psubscribe(keys.channel_symbol_alerts(COINBASE_ID, "*"))
        # An alert says "no current price" of an exchange that has not told one yet: Binance has just started.
        await until(lambda: world.redis.exists(keys.ticker(BINANCE_ID, "BTCUSDT")), "a price of Binance", world.nudge)
        for _ in range(24):
            await world.advance()
        raised = [alert for alert in await world.alerts(COINBASE_ID) if alert.shared]
        assert any(alert.symbol == "BTC-USD" for alert in raised)
        await until(lambda: {alert.uid for alert in raised} <= {one["uid"] for one in kaia.of("alert")}, "every alert on Kaia's page")
        btc = [one for one in kaia.of("alert") if one["symbol"] == "BTC-USD"]
        assert {one["source_exchange_id"] for one in btc} == {COINBASE_ID}
        heard = await channel_messages(pubsub)
        assert [one["uid"] for one in heard] == [alert.uid for alert in raised], "on the channel of the exchange and its symbol"
        assert {one["source_exchange_id"] for one in heard} == {COINBASE_ID}

        # "I want Kaia to see my Coinbase signals": also those of what only Mike watches, without his name.
        his = [alert for alert in raised if alert.symbol in {"BAND-USD", "DOGE-USD"}]
        assert his
        assert all(alert.overflow for alert in his)
        assert {alert.uid for alert in his} <= {one["uid"] for one in kaia.of("alert")}
        assert "mike" not in json.dumps(kaia.heard)

        # "I want to compare BTC price on both exchanges": tickers of both, over pub/sub.
        prices = {(one["exchange_id"], one["symbol"]): one["price"] for one in kaia.of("ticker")}
        assert prices[COINBASE_ID, "BTC-USD"] == pytest.approx(prices[BINANCE_ID, "BTCUSDT"], rel=0.02)

        # "I want to buy on Binance when Coinbase signal fires": the alert carries Binance's price, how far it is, and its own trade page.
        offers = {one["uid"]: offer for one in btc for offer in one["elsewhere"] if offer["exchange_id"] == BINANCE_ID}
        assert set(offers) == {one["uid"] for one in btc}
        for one in btc:
            offer = offers[one["uid"]]
            assert (offer["symbol"], offer["identity"]) == ("BTCUSDT", "same")
            assert offer["spread_bps"] == pytest.approx((offer["price"] / one["price"] - 1) * 10_000)
            assert offer["trade_url"] == "https://www.binance.com/en/trade/BTC_USDT?type=spot"
        terms = {one["exchange_id"]: one for one in account["settings"]["terms"]}
        assert (terms[COINBASE_ID]["taker_fee"], terms[BINANCE_ID]["taker_fee"]) == (0.012, 0.001)

        # DATA-04: the shared keys first, then the user's own; and nobody else's.
        band = await db(Symbol.objects.get)(exchange_id=COINBASE_ID, symbol="BAND-USD")
        for trader, keeper in ((mike, mike.user.pk), (kaia, None)):
            found = await db(keeper_for)(user_id=trader.user.pk, row=band)
            assert found == keeper
            series = await db(store.read_series)(COINBASE_ID, "BAND-USD", "5m", keeper=found)
            assert bool(series.candles) == (keeper is not None)

        answer = await control.request(COINBASE_ID, "stop", by="Mike")
        assert answer.ok


def live_card(trader: Trader, exchange_id: str) -> dict[str, Any] | None:
    cards = [one for one in trader.of("exchange") if one["exchange_id"] == exchange_id]
    return cards[-1] if cards and cards[-1]["state"] == "live" and cards[-1]["connected_at"] else None


def row_of(trader: Trader, exchange_id: str, symbol: str) -> dict[str, Any] | None:
    """The row of the last message that told the whole pool of that exchange."""
    for message in reversed(trader.heard):
        if message["type"] == "snapshot" or (message["type"] == "symbols" and message["exchange_id"] == exchange_id):
            rows = [row for row in message["symbols"] if (row["exchange_id"], row["symbol"]) == (exchange_id, symbol)]
            return rows[0] if rows else None
    return None


def settled_account(trader: Trader, *, own: str) -> dict[str, Any] | None:
    account = trader.last("account")
    return account if account and account["settings"]["own_exchange_id"] == own else None


def shows(trader: Trader, exchange_id: str) -> bool:
    snapshot = trader.last("snapshot")
    return snapshot is not None and exchange_id in {card["exchange_id"] for card in snapshot["exchanges"]}


async def channel_messages(pubsub: Any) -> list[dict[str, Any]]:
    found = []
    await pubsub.ping("the end")
    while (message := await pubsub.get_message(timeout=10))["type"] != "pong":
        if message["type"] == "pmessage":
            found.append(json.loads(message["data"]))
    return found
