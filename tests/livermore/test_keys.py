"""The requirement table, line by line: what stands here is what other programs rely on."""

import pytest

from livermore import keys


@pytest.mark.parametrize(
    ("requirement", "name", "expected"),
    [
        ("DATA-01", keys.candles("coinbase", "BTC-USD", "5m"), "candles:coinbase:BTC-USD:5m"),
        ("DATA-02", keys.indicator("coinbase", "BTC-USD", "1h"), "indicator:coinbase:BTC-USD:1h:macdv"),
        ("DATA-03", keys.user_candles(7, "coinbase", "BTC-USD", "5m"), "usercandles:7:coinbase:BTC-USD:5m"),
        ("DATA-03", keys.user_indicator(7, "coinbase", "BTC-USD", "5m"), "userindicator:7:coinbase:BTC-USD:5m:macdv"),
        ("DATA-05", keys.channel_candle_close("binance", "BTCUSDT", "4h"), "channel:exchange:binance:candle:close:BTCUSDT:4h"),
        ("EXC-04", keys.exchange_status("binance-us"), "exchange:status:binance-us"),
        ("VIS-01", keys.channel_alerts("coinbase"), "channel:alerts:coinbase"),
        ("VIS-01", keys.channel_symbol_alerts("coinbase", "BTC-USD"), "channel:exchange:coinbase:alerts:BTC-USD"),
        ("VIS-02", keys.pattern_exchange("coinbase"), "channel:exchange:coinbase:*"),
        ("CTL-04", keys.channel_lifecycle("coinbase"), "channel:exchange:coinbase:lifecycle"),
        ("design", keys.ticker("coinbase", "BTC-USD"), "ticker:coinbase:BTC-USD"),
        ("design", keys.channel_ticker("coinbase", "BTC-USD"), "channel:exchange:coinbase:ticker:BTC-USD"),
        ("design", keys.channel_user_alerts(7), "channel:user:7:alerts"),
        ("design", keys.readings("coinbase", "BTC-USD", "5m"), "readings:coinbase:BTC-USD:5m"),
        ("design", keys.user_readings(7, "coinbase", "BTC-USD", "5m"), "userreadings:7:coinbase:BTC-USD:5m"),
        ("design", keys.channel_user_account(7), "channel:user:7:account"),
        ("design", keys.alert_stream("coinbase"), "stream:alerts:coinbase"),
        ("design", keys.alert_epoch("coinbase"), "epoch:alerts:coinbase"),
    ],
)
def test_a_name_is_spelled_as_the_contract_says(requirement: str, name: str, expected: str):
    assert name == expected, requirement


@pytest.mark.parametrize("symbol", ["BTC-USD", "BTC/USD", "tDOGE:USD"])
def test_a_channel_is_taken_apart_whatever_the_symbol_holds(symbol: str):
    assert keys.parse_channel(keys.channel_candle_close("x", symbol, "5m")) == ("candle", "x", symbol, "5m")
    assert keys.parse_channel(keys.channel_ticker("x", symbol)) == ("ticker", "x", symbol)
    assert keys.parse_channel(keys.channel_symbol_alerts("x", symbol)) == ("alerts", "x", symbol)


def test_the_other_channels_are_taken_apart():
    assert keys.parse_channel("channel:alerts:x") == ("alerts", "x", "")
    assert keys.parse_channel("channel:exchange:x:lifecycle") == ("lifecycle", "x")
    assert keys.parse_channel("channel:user:7:alerts") == ("user", "7")
    assert keys.parse_channel("channel:user:7:account") == ("account", "7")


@pytest.mark.parametrize("name", ["", "channel", "channel:exchange:x:candle:close:5m", "channel:exchange:x:ticker", "other:alerts:x"])
def test_a_name_outside_the_contract_is_refused(name: str):
    with pytest.raises(ValueError, match="not a channel"):
        keys.parse_channel(name)


def test_group_names_hold_no_colon():
    assert ":" not in keys.group_control("coinbase-sandbox")


@pytest.mark.parametrize("symbol", ["BTC-USD", "tDOGE:USD"])
def test_the_symbol_of_a_series_is_read_from_any_of_its_keys(symbol: str) -> None:
    shared = [keys.candles("b", symbol, "5m"), keys.readings("b", symbol, "5m"), keys.indicator("b", symbol, "5m")]
    own = [keys.user_candles(7, "b", symbol, "5m"), keys.user_readings(7, "b", symbol, "5m"), keys.user_indicator(7, "b", symbol, "5m")]
    assert {keys.symbol_of(name) for name in shared + own} == {symbol}
    for other in (keys.ticker("b", symbol), "candles:b:5m", ""):
        with pytest.raises(ValueError, match="not the key of a series"):
            keys.symbol_of(other)
