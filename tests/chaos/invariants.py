"""What must hold after any run, whatever befell it: each a function that raises AssertionError, with the line that runs it again."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import linear_regression, mean

from tests.chaos.plan import SPEED
from tests.chaos.run import EXCHANGE_IDS, Run, identity, shown
from tests.oracle import STEPS

TOLERANCE = 1e-9
GREEN_FOR = 20.0
"""Real seconds that something may be shown as live after its candles ceased: 15 s of silence, and 5 s until a page has heard."""
GREEN_AT_ONCE = 3.0
"""Real seconds that a market which is back may be shown with the reading from before: a page hears that it is live, and its rows follow."""
GREEN_AGAIN = 60.0
CONNECTS_IN_5_MIN = 60
"""Of one connector, whatever happens to it."""
REST_A_MINUTE, REST_BURST = 60_000, 2_000
"""What the rows of the simulated exchanges allow; a new process may spend another burst."""
DELAYED_AFTER = 150_000
"""Market ms past its close after which an alert counts as delayed."""
DESCRIPTORS, THREADS = 30, 16
"""By how many a process that lives on may differ from itself."""
MEMORY_SLOPE = 1.0
"""MB an hour of market time, after WARM seconds, of a process that lived for LONG: allocators need minutes to come to rest."""
WARM, LONG = 60.0, 240.0
DATABASE_CONNECTIONS = 60

Invariant = Callable[[Run], None]


def told(run: Run, text: str) -> str:
    return f"{text}\n  again: {run.again}"


def some(items: Sequence[object] | set[object], most: int = 5) -> str:
    found = sorted(map(str, items))
    return f"{len(found)}: " + "; ".join(found[:most]) + (" …" if len(found) > most else "")


def i1_alerts_are_the_oracles(run: Run) -> None:
    """Every alert that is due is stored, and no other."""
    due, found = {one.identity for one in run.due}, {identity(alert) for alert in run.counted}
    assert due, told(run, "a run without an alert proves nothing")
    assert not due - found, told(run, f"missing {some(due - found)}")
    assert not found - due, told(run, f"unexpected {some(found - due)}")


def i2_none_is_there_twice(run: Run) -> None:
    """In the table, the stream and each page: by what it says, not by its uid."""
    places = {
        "the table": [identity(alert) for alert in run.alerts],
        **{f"the page that is {page.kind}": shown(page, 2**62) for page in run.pages},
    }
    for exchange_id, entries in run.streams.items():
        places[f"the stream of {exchange_id}"] = [
            (one["source_exchange_id"], one["symbol"], one["timeframe"], one["trigger_label"], one["candle_time"]) for _, one in entries
        ]
    for place, found in places.items():
        twice = [one for one, times in Counter(found).items() if times > 1]
        assert not twice, told(run, f"twice in {place}: {some(twice)}")


def i3_numbers_rise_by_one(run: Run) -> None:
    """In the table, and the stream is the same list."""
    for exchange_id in EXCHANGE_IDS:
        numbers = [alert.number for alert in run.alerts if alert.exchange_id == exchange_id]
        assert numbers == list(range(1, len(numbers) + 1)), told(run, f"the numbers of {exchange_id} have a gap: {numbers}")
        stream = run.streams[exchange_id]
        assert [number for number, _ in stream] == numbers, told(run, f"the stream of {exchange_id} is another list than the table")
        uids = [alert.uid for alert in run.alerts if alert.exchange_id == exchange_id]
        assert [one["uid"] for _, one in stream] == uids, told(run, f"the stream of {exchange_id} tells of other alerts than the table")
        assert [one["id"] for _, one in stream] == numbers, told(run, f"the stream of {exchange_id} numbers otherwise than the table")


def i4_every_page_ends_with_the_oracles_list(run: Run) -> None:
    """Whoever reads slowly, not at all, or goes and comes back; a page that was too far behind, since its fresh list began."""
    everything = {one.identity for one in run.due}
    for page in run.pages:
        due = everything - {identity(alert) for alert in run.alerts if alert.number < page.shown.since.get(alert.exchange_id, 1)}
        found = set(shown(page, run.ends))
        assert not due - found, told(run, f"the page that is {page.kind} lacks {some(due - found)}")
        assert not found - due, told(run, f"the page that is {page.kind} invents {some(found - due)}")
        assert not page.broken, told(run, f"the page that is {page.kind} was let down: {some(page.broken)}")


def i5_values_are_the_oracles(run: Run) -> None:
    """Nothing from a candle that had not closed, and no value off by more than 1e-9."""
    due = {one.identity: one for one in run.due}
    for alert in run.counted:
        what = f"{identity(alert)}"
        closed = alert.candle_time + STEPS[alert.timeframe]
        assert run.market_at(alert.triggered_at) >= closed, told(run, f"{what} came before its candle had closed")
        one = due.get(identity(alert))
        if one is None:
            continue  # I1 has it
        for name, ours, theirs in (
            ("price", alert.price, one.price),
            ("value", alert.trigger_value, one.value),
            ("histogram", alert.signal_delta, one.histogram),
        ):
            same = ours == theirs if ours is None or theirs is None else abs(ours - theirs) <= TOLERANCE
            assert same, told(run, f"{what}: {name} {ours!r}, and the oracle has {theirs!r}")
        words = (alert.direction, alert.stage, alert.bias)
        assert words == (one.direction, one.stage, one.bias), told(run, f"{what} says {words}, and the oracle {one}")


def i6_delayed_ones_are_marked(run: Run) -> None:
    """What closed while no connector ran is marked, and what was evaluated in time is not."""
    for alert in run.counted:
        what = f"{identity(alert)}"
        closed = alert.candle_time + STEPS[alert.timeframe]
        missed = any(down.since < closed <= down.until - 10_000 and down.shard.holds(alert.symbol) for down in run.downs)
        assert alert.delayed or not missed, told(run, f"{what} closed while nobody watched, and is not marked as delayed")
        fetched = alert.record["candle"]["closed_by"] == "history"
        assert alert.delayed or not fetched, told(run, f"{what} was fetched by a warm-up, and is not marked as delayed")
        in_time = run.market_at(alert.triggered_at) - closed < DELAYED_AFTER
        assert not alert.delayed or fetched or not in_time, told(run, f"{what} came in time, and is marked as delayed")


def i7_candles_are_the_oracles(run: Run) -> None:
    """Those in Redis, with the indicator on them; and every series is evaluated up to its last close."""
    for key, rows in run.candles.items():
        true = run.true_candles[key][-len(rows) :]
        assert len(rows) >= min(400, len(run.true_candles[key])), told(run, f"{key} has {len(rows)} candles in Redis")
        ours = [[*row[:5], row[6]] for row in rows]
        theirs = [[*row[:5], row[6]] for row in true]
        wrong = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
        assert not wrong, told(run, f"{key}: candles that are not the market's, {some(wrong)}")
        volumes = [
            (row[0], row[5], other[5]) for row, other in zip(rows, true, strict=True) if abs(row[5] - other[5]) > 1e-9 * max(1, other[5])
        ]
        assert not volumes, told(run, f"{key}: volumes that are not the market's, {some(volumes)}")
        indicator, value = run.indicators[key], run.true_values[key]
        assert indicator is not None, told(run, f"{key} has no indicator in Redis")
        assert indicator["t"] == value.t == run.checkpoints[key], told(run, f"{key} stands at {indicator['t']}, not at {value.t}")
        for name in ("macdv", "signal", "histogram", "atr"):
            ours, theirs = indicator[name], getattr(value, name)
            same = ours == theirs if ours is None or theirs is None else abs(ours - theirs) <= TOLERANCE * max(1.0, abs(theirs))
            assert same, told(run, f"{key}: {name} {ours!r}, and the oracle has {theirs!r}")


def i8_nothing_stale_looks_live(run: Run) -> None:
    """No page shows a market as live for longer than 20 s after its candles ceased, nor with an old reading when it is back."""
    late = [one for one in run.blind if one.seconds > GREEN_FOR and one.lasting > GREEN_AT_ONCE]
    assert not late, told(run, f"shown as live though stale: {some(late)}")


def i9_within_the_exchanges_limits(run: Run) -> None:
    """By the simulated exchanges' own count: connects, message rates, requests."""
    starts = sum(number for name, number in run.starts.items() if name.startswith(("connector", "standby")))
    for exchange_id, samples in run.asked.items():
        connects = most_within(samples, "connects", 300.0)
        assert connects <= CONNECTS_IN_5_MIN * starts, told(run, f"{exchange_id}: {connects} connects in 5 minutes, by {starts} processes")
        requests = most_within(samples, "rest_requests", 60.0)
        allowed = REST_A_MINUTE + REST_BURST * starts
        assert requests <= allowed, told(run, f"{exchange_id}: {requests} requests in a minute")
        broken = samples[-1][1]["rules_broken"]
        assert not broken, told(run, f"{exchange_id} closed {broken} connections for breaking its rules")


def most_within(samples: Sequence[tuple[float, Counter[str]]], name: str, seconds: float) -> int:
    """The largest growth of a counter over any window of that length."""
    most = start = 0
    for at, counters in samples:
        while samples[start][0] < at - seconds:
            start += 1
        most = max(most, counters[name] - samples[start][1][name])
    return most


def i10_nothing_grows(run: Run) -> None:
    """Descriptors, threads and memory of each process that lived for a while, and connections to the database."""
    for name, samples in run.figures.items():
        for start in range(1, run.starts[name] + 1):
            lived = [(at, figures) for at, number, figures in samples if number == start]
            if len(lived) < 30:
                continue
            early, late = lived[10:20], lived[-10:]
            for what, most in (("descriptors", DESCRIPTORS * run.redis_nodes), ("threads", THREADS)):
                grown = mean(getattr(one, what) for _, one in late) - mean(getattr(one, what) for _, one in early)
                has = f"; open at the end: {dict(run.open_files.get(name, {}))}" if what == "descriptors" else ""
                assert grown <= most, told(run, f"{name} has {grown:.0f} more {what} than after its start{has}")
        for start, slope in memory_slopes(run, name).items():
            assert slope <= MEMORY_SLOPE, told(run, f"{name}, start {start}: its memory grows by {slope:.2f} MB an hour of the market")
    most = max((number for _, number in run.connections), default=0)
    assert most <= DATABASE_CONNECTIONS, told(run, f"{most} connections to the database")


def memory_slopes(run: Run, name: str) -> dict[int, float]:
    """By number of its start: MB an hour of market time, of every life of a program that was long enough to say."""
    found = {}
    for start in range(1, run.starts[name] + 1):
        lived = [(at, figures.memory / 1e6) for at, number, figures in run.figures.get(name, []) if number == start]
        settled = [(at, memory) for at, memory in lived if at - lived[0][0] >= WARM]
        if len(settled) > 2 and settled[-1][0] - lived[0][0] >= LONG:
            found[start] = linear_regression(*zip(*settled, strict=True)).slope * 3600 / SPEED
    return found


def i11_nothing_falls_over(run: Run) -> None:
    """No unhandled exception, no process gone by itself, and each ends when it is asked to."""
    assert not run.flaws, told(run, "a program complained: " + "\n  ".join(run.flaws[:3]) + f"\n  ({len(run.flaws)} such lines)")
    # A start while Redis or the database is away ends with a sentence that says so, and systemd tries again.
    gone = [death for death in run.deaths if "CommandError" not in death]
    assert not gone, told(run, f"a program ended by itself: {some(gone)}")
    unclean = {name: code for name, code in run.exits.items() if code not in (0, -15)}
    assert not unclean, told(run, f"exit codes {unclean}")


def i12_no_secret_is_anywhere(run: Run) -> None:
    """In no log, stream, page or key of Redis."""
    assert not run.leaks, told(run, f"secrets seen: {some(run.leaks)}")


def i13_green_again(run: Run) -> None:
    """Within 60 s after the last fault is over everything is live, and it comes to rest."""
    assert run.green_after is not None, told(run, "it never was all green again")
    assert run.green_after <= GREEN_AGAIN, told(run, f"all green only after {run.green_after:.0f} s")
    assert not run.failure, told(run, run.failure)


def i14_one_seed_one_result(run: Run, again: Run) -> None:
    """Of everything a seed decides: what befalls, what is due, what is stored, what each page lists."""
    for name, value in run.outcome.items():
        assert value == again.outcome[name], told(run, f"two runs of one seed differ in what is {name}")


ALL: tuple[Invariant, ...] = (
    i13_green_again,
    i1_alerts_are_the_oracles,
    i2_none_is_there_twice,
    i3_numbers_rise_by_one,
    i4_every_page_ends_with_the_oracles_list,
    i5_values_are_the_oracles,
    i6_delayed_ones_are_marked,
    i7_candles_are_the_oracles,
    i8_nothing_stale_looks_live,
    i9_within_the_exchanges_limits,
    i10_nothing_grows,
    i11_nothing_falls_over,
    i12_no_secret_is_anywhere,
)
"""Each of these judges one run; ``i14_one_seed_one_result`` two."""


def broken(run: Run) -> list[str]:
    """What does not hold, a paragraph each, beginning with the invariant's name."""
    found = []
    for invariant in ALL:
        try:
            invariant(run)
        except AssertionError as error:
            found.append(f"{invariant.__name__}: {error}")
    return found
