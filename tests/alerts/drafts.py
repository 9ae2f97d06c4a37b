"""Alerts that are about to be stored, for tests of what stores and publishes them."""

from alerts.evaluation import Draft
from alerts.models import Alert, AlertRule
from alerts.rules import Rule, Signal
from alerts.services import CheckpointDraft, Naming, closes_commit, sequence_take_over
from market_data.candles import Bar
from market_data.macdv import Reading
from market_data.series import Advance, Series
from tests import seeds

T0 = 1_772_402_400_000
"""2026-03-01 22:00:00 UTC"""
STEP = 300_000
NAMING = {"BTC-USD": Naming("BTC", "USD"), "ETH-USD": Naming("ETH", "USD")}


def draft(
    at: int = 0,
    label: str = "level_150",
    *,
    symbol: str = "BTC-USD",
    timeframe: str = "5m",
    price: float | None = 101.5,
    delayed: bool = False,
) -> Draft:
    """An alert on the ``at``-th 5m candle since T0."""
    rule = Rule(id=AlertRule.objects.get().pk, version=3, levels=(150.0,), timeframes=frozenset({"5m"}))
    current = Reading(151.25, 140.0, 11.25, 0.5, "overbought")
    bar = Bar(T0 + at * STEP, 100.0, 102.0, 99.0, price, 12.5)  # type: ignore[arg-type]  (None is what a test makes of it)
    advance = Advance(Series(symbol, timeframe), bar, Reading(149.0, 139.0, 10.0, 0.5, "rallying"), current, warm=True)
    stages = {"5m": current, "1d": Reading(None, None, None, None, "unknown")}
    return Draft(rule, Signal(label, "up"), advance, delayed, "bearish", stages)


def checkpoint(at: int = 0, symbol: str = "BTC-USD", timeframe: str = "5m", state: str = "[1.5,false,[]]") -> CheckpointDraft:
    return CheckpointDraft(symbol, timeframe, T0 + at * STEP, state, "{}")


def commit(*drafts: Draft, fence: int = 1, exchange_id: str = "coinbase", **more: object) -> list[Alert]:
    """Store them with the fence of the first connector."""
    return closes_commit(exchange_id=exchange_id, fence=fence, **{"checkpoints": [], "drafts": drafts, "naming": NAMING, **more})  # type: ignore[arg-type]


def begin(*exchange_ids: str) -> None:
    """The rows of the migrations, and the first connector of each exchange."""
    seeds.restore()
    for exchange_id in exchange_ids or ("coinbase",):
        sequence_take_over(exchange_id=exchange_id)
