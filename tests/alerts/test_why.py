"""/api/exchanges/{id}/symbols/{symbol}/why/: for every rule, why the last closed candle raised nothing."""

import json

import pytest

from alerts.evaluation import Evaluator
from alerts.models import AlertRule
from livermore import bus, keys
from market_data.candles import Bar
from market_data.models import Checkpoint
from market_data.series import Series
from symbols.models import Symbol, UserSymbol
from tests import seeds
from tests.people import browser, client_of, person

URL = "/api/exchanges/coinbase/symbols/BTC-USD/why/"
STEP = 300_000
T0 = 1_772_402_400_000


@pytest.fixture(autouse=True)
def _world(db, redis_url):
    seeds.restore()
    bus.sync().flushall()


def watched(symbol: str = "BTC-USD", *, bars: int = 300, state: dict[str, object] | None = None, **more: object) -> Series:
    """A symbol whose price rises steadily (MACD-V 350), evaluated up to its last candle, with its state in Redis."""
    Symbol.objects.create(exchange_id="coinbase", symbol=symbol, base=symbol[:3], quote="USD", **{"tier": 1, **more})
    series, previous = Series(symbol, "5m"), None
    evaluator = Evaluator([])
    for place in range(bars):
        previous = series.indicator.reading
        series.advance(Bar(T0 + place * STEP, 100 + place, 101 + place, 99 + place, 100.0 + place, 1.0))
    assert series.last_open is not None
    evaluator.remember(symbol, "5m", AlertRule.objects.get().pk, "level_300", series.last_open + STEP)
    Checkpoint.objects.create(
        exchange_id="coinbase",
        symbol=symbol,
        timeframe="5m",
        open_time=series.last_open,
        indicator=series.state(),
        memory=evaluator.memory_state(symbol, "5m"),
    )
    assert previous is not None
    candle = [series.last_open, 399, 400, 398, 399, 1, 0]
    bus.sync().zadd(keys.candles("coinbase", symbol, "5m"), {json.dumps(candle): candle[0]})
    row = [series.last_open - STEP, previous.macdv, previous.signal, previous.histogram, previous.stage]
    bus.sync().zadd(keys.readings("coinbase", symbol, "5m"), {json.dumps(row): row[0]})
    said = json.dumps({"state": "live", "reason": "", "since": T0, **(state or {})})
    bus.sync().hset(keys.exchange_states("coinbase"), symbol, said)
    return series


def plain(sentences: list[str]) -> list[str]:
    return [sentence.replace("\u2212", "-") for sentence in sentences]


def test_it_tells_each_rule_what_it_waits_for():
    series = watched()
    AlertRule.objects.create(name="Off", enabled=False)
    AlertRule.objects.create(name="Hours", timeframes=["1h"])
    answer = browser("viewer").get(URL)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["state"], found["candle_time"], found["bars"], found["needed"]) == ("live", series.last_open, 300, 250)
    assert (found["previous"]["macdv"], found["current"]["macdv"]) == (pytest.approx(350), pytest.approx(350))
    default, hours = found["rules"]
    assert (default["rule"], hours["rule"]) == ("Default", "Hours")
    assert hours["sentences"] == ["NOT EVALUATED: this rule does not look at 5m."]
    assert (default["blocked"], default["would_fire"], default["fired"]) == ([], [], ["level_300"])
    assert default["below"] == {"level": -150, "distance": pytest.approx(500)}
    assert default["cooldowns"] == [{"label": "level_300", "until": series.last_open + 2 * STEP}]
    assert "Fired on the last closed candle: crossing above +300." in plain(default["sentences"])


def test_what_is_stale_says_since_when():
    watched(state={"state": "stale", "reason": "no final candle for 35 s"})
    [rule] = browser("viewer").get(URL).json()["rules"]
    assert rule["sentences"][0].startswith("NOT EVALUATED: stale ")
    assert rule["sentences"][0].endswith(" (no final candle for 35 s).")


def test_what_is_warming_says_how_far():
    watched(bars=112)
    [rule] = browser("viewer").get(URL).json()["rules"]
    assert rule["blocked"] == ["warming, 112 of 250 candles"]


def test_a_symbol_without_candles_is_not_evaluated():
    Symbol.objects.create(exchange_id="coinbase", symbol="BTC-USD", base="BTC", quote="USD", tier=1)
    found = browser("viewer").get(URL).json()
    assert (found["state"], found["candle_time"], found["current"]) == ("offline", None, None)
    assert found["rules"][0]["sentences"][0] == "NOT EVALUATED: offline (no process follows this symbol)."


def test_a_checkpoint_that_cannot_be_read_counts_as_none():
    watched()
    Checkpoint.objects.update(indicator="[")
    assert browser("viewer").get(URL).json()["candle_time"] is None


@pytest.mark.parametrize("tier", [2, None])
def test_what_others_want_or_wanted_looks_like_what_nobody_watches(tier: int | None):
    owner = person("owner", group="trader")
    series = watched("CAN-USD", tier=tier, keeper=owner if tier == 2 else None)
    UserSymbol.objects.create(user=owner, symbol=Symbol.objects.get(symbol="CAN-USD"))
    url = "/api/exchanges/coinbase/symbols/CAN-USD/why/"
    bus.sync().hdel(keys.exchange_states("coinbase"), *(["CAN-USD"] if tier is None else ["-"]))
    found = browser("trader").get(url).json()
    assert (found["state"], found["candle_time"], found["bars"], found["current"]) == ("offline", None, 0, None)
    mine = client_of(owner).get(url).json()
    assert mine["candle_time"] == (series.last_open if tier == 2 else None)


@pytest.mark.parametrize(
    ("path", "status"),
    [(URL + "?timeframe=1m", 400), (URL.replace("BTC", "XXX"), 404), (URL.replace("coinbase", "nowhere"), 404)],
)
def test_a_wrong_question_is_refused(path: str, status: int):
    watched()
    assert browser("viewer").get(path).status_code == status


def test_who_may_not_see_symbols_is_told_nothing():
    watched()
    assert client_of(person("nobody")).get(URL).status_code == 403
