"""From closed candles to drafts of alerts: the rules over each series, with what they remember. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from alerts.rules import Memory, Rule, Signal, evaluate
from market_data.macdv import Reading, bias
from market_data.series import Advance

DELAYED_AFTER = 150_000
"""Exchange time (ms) past its close after which an alert counts as delayed."""


class Origin(NamedTuple):
    """Where the close that raised an alert came from, and when: milliseconds UTC, None where it is not known.

    ``closed_by``: as in ``candles.Closing``, or "history" for one that a warm-up fetched. ``exchange``: the exchange's own time of the
    frame; ``received`` and ``evaluated``: ours. ``feed_age``: milliseconds since the last frame of the symbol.
    """

    closed_by: str = ""
    exchange: int | None = None
    received: int | None = None
    evaluated: int | None = None
    feed_age: int | None = None


class Draft(NamedTuple):
    """An alert that is not stored yet. ``stages``: the reading of every timeframe of the symbol at that moment."""

    rule: Rule
    signal: Signal
    advance: Advance
    delayed: bool
    bias: str
    stages: dict[str, Reading]
    origin: Origin = Origin()


class Evaluator:
    """The rules of an exchange, and their memory of each series."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = list(rules)
        self._memories: dict[tuple[str, str], dict[int, Memory]] = {}

    def evaluate(self, advance: Advance, readings: Mapping[str, Reading], clock: int, *, recovered: bool) -> list[Draft]:
        """The drafts of one closed candle. ``clock``: the exchange's; ``recovered``: the candle was fetched after an outage."""
        series = advance.series
        close_time = advance.bar.open_time + series.step
        drafts: list[Draft] = []
        for rule in self.rules:
            if series.timeframe not in rule.timeframes:
                continue
            memory = self._memory(series.symbol, series.timeframe, rule.id)
            if not advance.warm:
                continue
            for signal in evaluate(rule, advance.previous, advance.current, memory, close_time):
                delayed = recovered or clock - close_time > DELAYED_AFTER
                drafts.append(Draft(rule, signal, advance, delayed, _bias(readings), dict(readings)))
        return drafts

    def would_fire(self, series_key: tuple[str, str], previous: Reading, provisional: Reading) -> bool:
        """Whether a provisional reading would fire: its candle is then proved first. Changes no memory."""
        for rule in self.rules:
            memory = msgspec.convert(msgspec.to_builtins(self._memory(*series_key, rule.id)), Memory)
            if evaluate(rule, previous, provisional, memory, 2**62):
                return True
        return False

    def _memory(self, symbol: str, timeframe: str, rule_id: int) -> Memory:
        memories = self._memories.get((symbol, timeframe))
        if memories is None:
            memories = self._memories[symbol, timeframe] = {}
        memory = memories.get(rule_id)
        if memory is None:
            memory = memories[rule_id] = Memory()
        return memory

    def memory_state(self, symbol: str, timeframe: str) -> str:
        """What the rules remember of a series, as text for its checkpoint."""
        return msgspec.json.encode(self._memories.get((symbol, timeframe), {})).decode()

    def restore(self, symbol: str, timeframe: str, state: str) -> None:
        """Go on from a checkpoint. Raises ValueError where it cannot be read."""
        self._memories[symbol, timeframe] = memories(state)

    def remember(self, symbol: str, timeframe: str, rule_id: int, label: str, close_time: int) -> None:
        """Note a stored alert, so that its cooldown holds whatever became of the checkpoint."""
        fired = self._memory(symbol, timeframe, rule_id).fired
        fired[label] = max(close_time, fired.get(label, 0))

    def forget(self, symbol: str, timeframe: str) -> None:
        self._memories.pop((symbol, timeframe), None)


def memories(state: str) -> dict[int, Memory]:
    """What the rules remember of a series, by rule id, out of its checkpoint. Raises ValueError where it cannot be read."""
    return msgspec.json.decode(state, type=dict[int, Memory])


def _bias(readings: Mapping[str, Reading]) -> str:
    return bias({timeframe: reading.stage for timeframe, reading in readings.items()})
