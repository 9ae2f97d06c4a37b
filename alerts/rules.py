"""When an alert fires: (previous, current, memory) -> signals. Pure, and evaluated on closed candles only, so alerts never repaint."""

from typing import NamedTuple

from msgspec import Struct, field

from market_data.macdv import Reading


class Rule(Struct, frozen=True):
    """An alert rule. ``cooldown`` in milliseconds of the exchange's time; buffers are shares of |MACD-V|."""

    id: int
    version: int
    levels: tuple[float, ...]
    timeframes: frozenset[str]
    reversal_level: float = 150.0
    oversold_buffer: float = 0.05
    overbought_buffer: float = 0.03
    cooldown: int = 300_000
    name: str = ""


class Memory(Struct):
    """What a rule remembers of one series: whether a reversal may fire, and when each label last did (candle close time)."""

    oversold_armed: bool = True
    overbought_armed: bool = True
    fired: dict[str, int] = field(default_factory=dict)


class Signal(NamedTuple):
    """A rule fired. ``direction``: up or down, where the price is expected or seen to go."""

    label: str
    direction: str


def evaluate(rule: Rule, previous: Reading | None, current: Reading, memory: Memory, close_time: int) -> list[Signal]:
    """The signals of a closed candle; ``memory`` is brought up to date. A first defined value is a baseline and fires nothing."""
    if previous is None or previous.macdv is None or current.macdv is None:
        return []
    innermost = min((rule.reversal_level, *rule.levels))
    if -innermost <= current.macdv <= innermost:  # nearly every candle: what fires ends beyond a level
        memory.oversold_armed = memory.overbought_armed = True
        return []
    signals = []
    level = _level(rule, previous.macdv, current.macdv)
    if level is not None and _may_fire(rule, level.label, memory, close_time):
        signals.append(level)
        memory.oversold_armed = memory.overbought_armed = True
    reversal = _reversal(rule, previous.macdv, current.macdv, current.histogram, memory)
    if reversal is not None and _may_fire(rule, reversal.label, memory, close_time):
        signals.append(reversal)
        _disarm(memory, reversal)
    if -rule.reversal_level <= current.macdv <= rule.reversal_level:
        memory.oversold_armed = memory.overbought_armed = True
    return signals


def _level(rule: Rule, previous: float, current: float) -> Signal | None:
    """The deepest level crossed outward in this jump."""
    below = [level for level in rule.levels if previous >= -level > current]
    if below:
        return Signal(f"level_-{max(below):g}", "down")
    above = [level for level in rule.levels if previous <= level < current]
    return Signal(f"level_{max(above):g}", "up") if above else None


def _reversal(rule: Rule, previous: float, current: float, histogram: float | None, memory: Memory) -> Signal | None:
    if histogram is None:
        return None
    level = rule.reversal_level
    if memory.oversold_armed and max(previous, current) < -level and histogram > rule.oversold_buffer * abs(current):
        return Signal("reversal_oversold", "up")
    if memory.overbought_armed and min(previous, current) > level and histogram < -rule.overbought_buffer * abs(current):
        return Signal("reversal_overbought", "down")
    return None


def _disarm(memory: Memory, reversal: Signal) -> None:
    if reversal.label == "reversal_oversold":
        memory.oversold_armed = False
    else:
        memory.overbought_armed = False


def _may_fire(rule: Rule, label: str, memory: Memory, close_time: int) -> bool:
    """Whether the cooldown of this label is over; if so, remember that it fires now."""
    last = memory.fired.get(label)
    if last is not None and close_time - last < rule.cooldown:
        return False
    memory.fired[label] = close_time
    return True


def uid(exchange_id: str, symbol: str, timeframe: str, rule: Rule, label: str, candle_time: int) -> str:
    """The identity of an alert: one candle, one rule, one label, one alert."""
    return f"{exchange_id}|{symbol}|{timeframe}|{rule.id}.{rule.version}|{label}|{candle_time}"
