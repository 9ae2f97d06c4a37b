"""Rows for tests: an exchange's alerts, committed as the connector does."""

from alerts import services
from alerts.evaluation import Draft
from alerts.models import Alert
from alerts.rules import Rule, Signal
from alerts.services import CheckpointDraft, Naming
from market_data.candles import Bar
from market_data.macdv import Reading
from market_data.series import Advance, Series

OPEN = 1_786_309_500_000
STEP = 300_000


def rule() -> Rule:
    """The seeded default rule."""
    return services.rules_load()[0]


def draft(place: int, *, symbol: str = "BTC-USD", label: str = "level_150", delayed: bool = False) -> Draft:
    series = Series(symbol, "5m")
    bar = Bar(OPEN + place * STEP, 10.0, 12.0, 9.0, 11.0, 1.0)
    before, after = Reading(140.0, 120.0, 20.0, 1.0, "rallying"), Reading(155.0, 125.0, 30.0, 1.0, "overbought")
    return Draft(rule(), Signal(label, "up"), Advance(series, bar, before, after, warm=True), delayed, "bullish", {"5m": after})


def checkpoint(place: int, *, symbol: str = "BTC-USD") -> CheckpointDraft:
    return CheckpointDraft(symbol, "5m", OPEN + place * STEP, "[]", "{}")


def commit(exchange_id: str, fence: int, *drafts: Draft) -> list[Alert]:
    names = {draft.advance.series.symbol: Naming("BTC", "USD") for draft in drafts}
    return services.closes_commit(exchange_id=exchange_id, fence=fence, checkpoints=[checkpoint(0)], drafts=drafts, naming=names)
