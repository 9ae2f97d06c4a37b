"""The sandbox's frames and bodies have the fields, the types and the number formats of recorded ones.

The recordings are other people's and stay outside the project: where they are missing, these tests skip.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.exchanges.sandbox.conftest import BINANCE, COINBASE, Bench, is_ack

FIXTURES = Path(__file__).resolve().parents[4] / "shared" / "fixtures"
CAPTURE = FIXTURES / "coinbase/cryptofeed_v3/COINBASE.no_l2.jsonl"
PRODUCTS = FIXTURES / "coinbase/cryptofeed_v3/market_products_20260809.json"
KLINES = FIXTURES / "binance/ws_kline_5m_2021/btcusdt_kline_5m_20210914_100s.jsonl"
REST = FIXTURES / "binance/gct_rest"


def _recorded(path: Path) -> str:
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not on this machine")
    return path.read_text(encoding="utf-8")


def _form(value: Any) -> Any:
    """The shape of a message: its keys in order, types, and what a string looks like."""
    if isinstance(value, dict):
        return {key: _form(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_form(value[0])] if value else []
    if isinstance(value, str):
        if re.fullmatch(r"-?\d+(\.\d+)?", value):
            return "number"
        return re.sub(r"\d+", "0", value) if re.fullmatch(r"[\d\-T:.Z +=UTCm]+", value) else "text"
    return type(value).__name__


def _coinbase_frames() -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in _recorded(CAPTURE).splitlines()]
    return [json.loads(line["data"]) for line in lines if line["t"] == "recv"]


def _one(frames: list[dict[str, Any]], channel: str, kind: str | None = None) -> dict[str, Any]:
    return next(frame for frame in frames if frame["channel"] == channel and frame["events"][0].get("type") == kind)


@pytest.mark.parametrize(
    ("channel", "kind"),
    [("candles", "snapshot"), ("candles", "update"), ("ticker", "snapshot"), ("ticker", "update"), ("heartbeats", None)],
)
async def test_coinbase_frames_have_the_form_of_recorded_ones(bench: Bench, channel: str, kind: str | None) -> None:
    recorded = _one(_coinbase_frames(), channel, kind)
    client = await bench.beating(("candles", ["BTC-USD"]), ("ticker", ["BTC-USD"]))
    await bench.seconds(client, 120)
    ours = _one(client.frames, channel, kind)
    assert _form(ours) == _form(recorded)
    assert list(ours) == list(recorded)


async def test_coinbase_acknowledgements_have_the_form_of_recorded_ones(bench: Bench) -> None:
    recorded = [frame for frame in _coinbase_frames() if is_ack(frame)][-1]
    client = await bench.coinbase(("heartbeats", []))
    (ours,) = await client.until(is_ack)
    assert list(ours) == list(recorded)
    assert ours["events"][0]["subscriptions"]["heartbeats"] == recorded["events"][0]["subscriptions"]["heartbeats"]


async def test_coinbase_products_have_the_form_of_recorded_ones(bench: Bench) -> None:
    recorded = json.loads(_recorded(PRODUCTS))
    theirs = {product["product_id"]: product for product in recorded["products"]}
    ours = (await bench.get(COINBASE, "/market/products", product_type="SPOT")).json()
    mine = {product["product_id"]: product for product in ours["products"]}
    assert sorted(ours) == sorted(recorded)
    assert ours["pagination"] == recorded["pagination"]
    for name, other in (("BTC-USD", "BTC-USD"), ("BTC-USDC", "BTC-USDC"), ("EOS-USD", "DAI-USD")):
        loose = {"base_name", "new_at", "base_max_size", "alias_to"}
        assert {key: value for key, value in _form(mine[name]).items() if key not in loose} == {
            key: value for key, value in _form(theirs[other]).items() if key not in loose
        }
        assert list(mine[name]) == list(theirs[other])


async def test_binance_klines_have_the_form_of_recorded_ones(bench: Bench) -> None:
    recorded = json.loads(_recorded(KLINES).splitlines()[0])
    client = await bench.connect(BINANCE, "/ws/btcusdt@kline_5m")
    await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    await client.receive()
    bench.clock.advance(100_000)
    ours = await client.receive()
    assert _form(ours) == _form(recorded)
    assert list(ours["k"]) == list(recorded["k"])


async def test_binance_rest_bodies_have_the_form_of_recorded_ones(bench: Bench) -> None:
    klines = json.loads(_recorded(REST / "api_v3_klines_0.json"))
    ours = (await bench.get(BINANCE, "/klines", symbol="BTCUSDT", interval="5m", limit=24)).json()
    assert [_form(cell) for cell in ours[0]] == [_form(cell) for cell in klines[0]]
    ticker = json.loads(_recorded(REST / "api_v3_ticker_24hr_2.json"))
    mine = (await bench.get(BINANCE, "/ticker/24hr", symbol="BTCUSDT")).json()
    assert {key: _form(mine[key]) for key in sorted(mine)} == {key: _form(ticker[key]) for key in sorted(ticker)}
    info = json.loads(_recorded(REST / "api_v3_exchangeInfo.json"))
    symbol = (await bench.get(BINANCE, "/exchangeInfo")).json()["symbols"][0]
    assert sorted(symbol) == sorted(info["symbols"][0])
