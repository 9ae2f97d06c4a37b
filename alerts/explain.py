"""Why an alert did not fire, and what it waits for: in figures, and in sentences. Pure.

It works out by itself what ``rules.evaluate`` decides, condition by condition, and says "would fire" exactly where that fires: a property
test holds it to that.
"""

from typing import NamedTuple

from alerts.rules import Memory, Rule
from market_data.macdv import Reading


class Standing(NamedTuple):
    """Where a series stands. Times in ms UTC; ``close_time`` of its last closed candle, by the exchange.

    ``bars`` of ``needed`` closed candles are there; ``state`` is that of the symbol, ``since`` then.
    """

    timeframe: str
    close_time: int
    bars: int
    needed: int
    now: int
    state: str = "live"
    reason: str = ""
    since: int | None = None


class Level(NamedTuple):
    """The next level outward, and how many points of MACD-V away."""

    level: float
    distance: float


class Cooldown(NamedTuple):
    """``label`` fires again on a candle that closes at ``until`` (ms UTC) or later."""

    label: str
    until: int


class Reversal(NamedTuple):
    """A reversal from one side. ``threshold``: what the histogram has to pass; ``missing``: in words, empty where it would fire."""

    label: str
    armed: bool
    threshold: float | None
    missing: tuple[str, ...]


class Explanation(NamedTuple):
    """One rule on one series. ``blocked``: why nothing is evaluated; ``fired``: the labels it raised on this candle."""

    rule: Rule
    blocked: tuple[str, ...]
    would_fire: tuple[str, ...]
    fired: tuple[str, ...]
    above: Level | None
    below: Level | None
    reversals: tuple[Reversal, ...]
    cooldowns: tuple[Cooldown, ...]
    sentences: tuple[str, ...]


def explain(rule: Rule, previous: Reading | None, current: Reading | None, memory: Memory, standing: Standing) -> Explanation:
    """What the rule makes of the last closed candle. ``memory`` stays as it is: what the rule remembered before it, or after it."""
    close_time = standing.close_time
    cooldowns = tuple(Cooldown(label, at + rule.cooldown) for label, at in sorted(memory.fired.items()) if close_time - at < rule.cooldown)
    resting = {cooldown.label for cooldown in cooldowns}
    fired = tuple(label for label, at in sorted(memory.fired.items()) if at == close_time)
    blocked = _blocked(rule, previous, current, standing)
    crossed = _crossed(rule, previous, current)
    level = crossed if crossed not in resting else None
    reversals = tuple(_reversal(rule, side, previous, current, memory, resting, rearmed=level is not None) for side in (-1, 1))
    found = [label for label in (level, *(one.label for one in reversals if not one.missing)) if label]
    would_fire = () if blocked else tuple(found)
    above, below = _next_levels(rule, current)
    explanation = Explanation(rule, blocked, would_fire, fired, above, below, reversals, cooldowns, ())
    return explanation._replace(sentences=tuple(_sentences(explanation, previous, current, standing)))


def _blocked(rule: Rule, previous: Reading | None, current: Reading | None, standing: Standing) -> tuple[str, ...]:
    if standing.timeframe not in rule.timeframes:
        return (f"this rule does not look at {standing.timeframe}",)
    found = []
    if standing.state != "live":
        found.append(_state(standing))
    if standing.bars < standing.needed and standing.state != "offline":
        found.append(f"warming, {standing.bars} of {standing.needed} candles")
    elif current is None or current.macdv is None:
        found.append("MACD-V has no value")
    elif previous is None or previous.macdv is None:
        found.append("the value before it is not known, and a first one fires nothing")
    return tuple(found)


def _state(standing: Standing) -> str:
    since = "" if standing.since is None else f" {_lasted(standing.now - standing.since)}"
    return f"{standing.state}{since}" + (f" ({standing.reason})" if standing.reason else "")


def _crossed(rule: Rule, previous: Reading | None, current: Reading | None) -> str | None:
    """The label of the farthest level between the two values, outward."""
    if previous is None or current is None or previous.macdv is None or current.macdv is None:
        return None
    for sign in (-1, 1):
        was, now = sign * previous.macdv, sign * current.macdv
        levels = [level for level in rule.levels if was <= level < now]
        if levels:
            return f"level_{sign * max(levels):g}"
    return None


def _reversal(
    rule: Rule, side: int, previous: Reading | None, current: Reading | None, memory: Memory, resting: set[str], *, rearmed: bool
) -> Reversal:
    """``side``: -1 from oversold, 1 from overbought. ``rearmed``: a level fires on the same candle."""
    label = "reversal_oversold" if side < 0 else "reversal_overbought"
    armed = rearmed or (memory.oversold_armed if side < 0 else memory.overbought_armed)
    share = rule.oversold_buffer if side < 0 else rule.overbought_buffer
    bound = side * rule.reversal_level
    where = f"{'below' if side < 0 else 'above'} {signed(bound)}"
    macdv = current.macdv if current else None
    histogram = current.histogram if current else None
    threshold = None if macdv is None else -side * share * abs(macdv)
    missing = []
    if not armed:
        missing.append(f"it has fired in this excursion; armed again within ±{rule.reversal_level:g} or by a new level alert")
    values = [reading.macdv for reading in (previous, current) if reading is not None and reading.macdv is not None]
    if len(values) < 2 or not all(side * value > rule.reversal_level for value in values):
        missing.append(f"MACD-V {where} on two closed candles in a row{_were(values)}")
    if histogram is None or threshold is None:
        missing.append("a histogram")
    elif not -side * histogram > -side * threshold:
        bar = f"{number(threshold, 2)} ({100 * share:g} % of |MACD-V|)"
        missing.append(f"histogram {'above' if side < 0 else 'below'} {bar}, it is {number(histogram, 2)}")
    if label in resting:
        missing.append("the end of its cooldown")
    return Reversal(label, armed, threshold, tuple(missing))


def _were(values: list[float]) -> str:
    return f", the last were {' and '.join(number(value) for value in values)}" if values else ""


def _next_levels(rule: Rule, current: Reading | None) -> tuple[Level | None, Level | None]:
    """The nearest level that the next candle could cross upward, and downward."""
    if current is None or current.macdv is None:
        return None, None
    value = current.macdv
    above = min((level for level in rule.levels if level >= value), default=None)
    below = max((-level for level in rule.levels if -level <= value), default=None)
    return (
        None if above is None else Level(above, above - value),
        None if below is None else Level(below, value - below),
    )


# In words


def _sentences(one: Explanation, previous: Reading | None, current: Reading | None, standing: Standing) -> list[str]:
    said = [f"NOT EVALUATED: {reason}." for reason in one.blocked]
    if standing.timeframe not in one.rule.timeframes:
        return said
    said += [f"Fired on the last closed candle: {words(label)}." for label in one.fired]
    said += [f"Would fire on the last closed candle, as the rule stands now: {words(label)}." for label in one.would_fire]
    if current is None or current.macdv is None:
        return said
    said.append(_distances(one, current.macdv))
    said += _about_reversals(one, current.macdv)
    for cooldown in one.cooldowns:
        rest = _span(cooldown.until - standing.close_time)
        said.append(f"Cooldown: {words(cooldown.label)} fires again {rest} after this candle's close.")
    return said


def _distances(one: Explanation, value: float) -> str:
    ways = [f"{signed(at.level)} is {number(at.distance)} {way}" for way, at in (("above", one.above), ("below", one.below)) if at]
    return f"MACD-V is {number(value)}: " + (", ".join(ways) if ways else "beyond every level") + "."


def _about_reversals(one: Explanation, value: float) -> list[str]:
    """The reversal of the side MACD-V is on; of both only that it is far from either."""
    bound = one.rule.reversal_level
    if -bound <= value <= bound:
        return [f"A reversal needs two closed candles in a row beyond ±{bound:g}."]
    near = one.reversals[0 if value < 0 else 1]
    if not near.missing or near.label in one.fired:
        return []
    return [f"A {words(near.label)} {'is armed' if near.armed else 'is not armed'} and lacks: {'; '.join(near.missing)}."]


def words(label: str) -> str:
    """A label as a person says it."""
    kind, _, rest = label.partition("_")
    if kind == "level":
        return f"crossing {'below' if rest.startswith('-') else 'above'} {signed(float(rest))}"
    return f"{kind} from {rest}"


def number(value: float, places: int = 1) -> str:
    return f"{value:.{places}f}".replace("-", "\u2212")


def signed(value: float) -> str:
    return f"{value:+g}".replace("-", "\u2212")


def _lasted(milliseconds: int) -> str:
    seconds = max(0, milliseconds // 1000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _span(milliseconds: int) -> str:
    """A cooldown in words, to the minute or, below one, the second: "1 h 25 min". Of no zone, whoever reads it."""
    minutes, seconds = divmod(-(-milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{amount} {unit}" for amount, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if amount]
    return " ".join(parts[:2])
