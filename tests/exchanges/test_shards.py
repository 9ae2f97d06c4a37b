"""One exchange over several connectors: the parts of its symbols, and what their statuses say together."""

from collections import Counter
from typing import Any

import pytest

from exchanges.shards import WHOLE, Shard, merged
from exchanges.status import COUNTERS

SYMBOLS = [f"COIN{number}-USD" for number in range(2_000)]


@pytest.mark.parametrize("text", ["1/1", "1/2", "2/2", "64/64"])
def test_a_shard_is_written_as_it_is_read(text: str) -> None:
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "1/65", "-1/2", "1/-2", "1/2/3", "a/b", "1 /2", "²/4", "1/"])
def test_any_other_words_are_refused_with_the_form_that_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        Shard.parse(text)


@pytest.mark.parametrize("of", [1, 2, 3, 4, 7])
def test_every_symbol_belongs_to_one_shard_and_they_are_about_as_many(of: int) -> None:
    counts = Counter(shard for symbol in SYMBOLS for shard in Shard(1, of).all if shard.holds(symbol))
    assert counts.total() == len(SYMBOLS)
    assert min(counts.values()) > 0.8 * len(SYMBOLS) / of


def test_where_a_symbol_belongs_never_changes() -> None:
    """Another hash in another version would have two connectors watch one symbol, and none another, while they are exchanged."""
    found = {symbol: next(str(shard) for shard in Shard(1, 4).all if shard.holds(symbol)) for symbol in ("BTC-USD", "ETHUSDT", "tDOGE:USD")}
    assert found == {"BTC-USD": "1/4", "ETHUSDT": "1/4", "tDOGE:USD": "2/4"}


def part(**more: Any) -> dict[str, Any]:
    return {
        "state": "live",
        "connection_state": "connected",
        "symbols": 10,
        "host": "a",
        "last_heartbeat": 5,
        "since": 1,
        "error": "",
        **more,
    }


def test_what_the_shards_say_together() -> None:
    one = part(
        pid=7, frames=7, messages_per_s=1.5, rest_left=40, oldest=[["ticker", "A", 10], ["ticker", "B", 5]], clock_offset_ms=-40, rejected=1
    )
    two = part(frames=5, messages_per_s=2.5, rest_left=30, oldest=[["candles", "C", 7]], clock_offset_ms=9, host="b", last_heartbeat=8)
    found = merged({Shard(1, 2): one, Shard(2, 2): two}, COUNTERS)

    assert (found["state"], found["connection_state"], found["error"]) == ("live", "connected", "")
    assert (found["symbols"], found["frames"], found["messages_per_s"], found["rest_left"], found["rejected"]) == (20, 12, 4.0, 70, 1)
    assert found["pid"] == 7, "of the first"
    assert (found["shards"], found["host"], found["last_heartbeat"], found["clock_offset_ms"]) == (2, "a · b", 8, -40)
    assert found["oldest"] == [["ticker", "A", 10], ["candles", "C", 7], ["ticker", "B", 5]]
    assert (found["lost"], found["warmup"]) == (None, None)


@pytest.mark.parametrize(
    ("states", "state"),
    [(["live", "warming"], "warming"), (["live", "offline"], "offline"), (["gap", "stale"], "gap"), (["live", "idle"], "idle")],
)
def test_the_worst_of_them_is_what_the_exchange_is(states: list[str], state: str) -> None:
    parts = {Shard(number, 2): part(state=one) for number, one in enumerate(states, 1)}
    assert merged(parts, ())["state"] == state


def test_a_shard_without_a_process_is_said() -> None:
    found = merged({Shard(1, 3): part(), Shard(2, 3): {}, Shard(3, 3): {}}, ())
    assert (found["state"], found["error"]) == ("stale", "no process runs shard 2/3, 3/3: its symbols are not watched")


def test_the_warm_up_is_that_of_all_symbols() -> None:
    assert merged({Shard(1, 2): part(symbols=30, warmup=0.5), Shard(2, 2): part(symbols=10)}, ())["warmup"] == pytest.approx(0.625)


def test_errors_name_their_shard() -> None:
    parts = {Shard(number, 3): part(error=error) for number, error in enumerate(("", "refused", "slow"), 1)}
    assert merged(parts, ())["error"] == "shard 2/3: refused, and 1 more"


def test_the_whole_is_a_shard_that_holds_everything() -> None:
    assert WHOLE.whole
    assert WHOLE.first
    assert all(WHOLE.holds(symbol) for symbol in SYMBOLS)
