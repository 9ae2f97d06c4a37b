"""What a batch of closed candles costs in Redis, written and published, against the textbook's pipeline and the server's limit."""

import asyncio
import re
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis
from django.conf import settings
from redis.asyncio import Redis

from benchmarks.frames import MIDNIGHT, STEP, names, row
from benchmarks.market import warm
from benchmarks.peer import NoPeer, Peers
from benchmarks.rows import Row, at_most_times, compared, single, times_better
from benchmarks.timing import Effort, Slice, compare
from livermore import bus, keys
from market_data import store
from market_data.candles import Bar
from market_data.store import KEPT, Close

TITLE = "Redis: candles that close together"
_EXCHANGE_ID = "bench"
_PROGRAMS = ("redis-benchmark", "valkey-benchmark")
_A_CALL = 50
"""Closes in one call of the script: more would keep other clients waiting."""

_pack: Any = hiredis.pack_command  # its stub allows requests of one word only

_SCRIPT = b"""
for close = 1, #KEYS / 3 do
  local candles, readings, value = KEYS[close * 3 - 2], KEYS[close * 3], (close - 1) * 6
  redis.call('ZREMRANGEBYSCORE', candles, ARGV[value + 1], ARGV[value + 1])
  redis.call('ZADD', candles, ARGV[value + 1], ARGV[value + 2])
  redis.call('ZREMRANGEBYRANK', candles, 0, -1001)
  redis.call('SET', KEYS[close * 3 - 1], ARGV[value + 3])
  redis.call('ZREMRANGEBYSCORE', readings, ARGV[value + 1], ARGV[value + 1])
  redis.call('ZADD', readings, ARGV[value + 1], ARGV[value + 4])
  redis.call('ZREMRANGEBYRANK', readings, 0, -1001)
  redis.call('PUBLISH', ARGV[value + 5], ARGV[value + 6])
end
return #KEYS
"""

_FILL = """
redis.call('DEL', KEYS[1])
for back = 1, ARGV[1] do
  local time = string.format('%.0f', ARGV[3] - back * ARGV[2])
  redis.call('ZADD', KEYS[1], time, '[' .. time .. ',' .. string.sub(ARGV[4], 2))
end
"""

Words = list[bytes | str | int]
"""A request."""
Moments = list[list[Close]]
"""What closes together, moment after moment."""


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    redis = bus.connect()
    try:
        with closing(Socket()) as direct:
            return [row for closes in effort.closes for row in await _rows(closes, effort, redis, direct)]
    finally:
        await redis.aclose()


async def _rows(closes: int, effort: Effort, redis: Redis, direct: "Socket") -> list[Row]:
    made = Maker(closes)
    await _fill(redis, made)
    slices: dict[str, Slice] = {
        "ours": _clocked(made, lambda moment: _ours(redis, moment)),
        "pipeline": _clocked(made, lambda moment: _pipeline(redis, moment)),
        "socket": lambda times: direct.clocked(made.moments(times)),
    }
    try:
        slices["program"] = await _program(direct.words(made.moments(1)[0][:_A_CALL]), -(-closes // _A_CALL))
        absent = ""
    except NoPeer as error:
        absent = str(error)
    found = {name: [seconds / closes for seconds in all_of_it] for name, all_of_it in (await compare(slices, effort)).items()}
    what, limit = f"{closes} closes: written and published, each", at_most_times(1.5)
    rows = [
        compared(what, "µs", found["ours"], "the same on a plain redis-py pipeline", found["pipeline"], goal=times_better(4)),
        compared(what, "µs", found["ours"], f"a script per {_A_CALL}, packed by hiredis, on a bare socket", found["socket"]),
    ]
    if absent:
        return [*rows, single(what, "µs", found["ours"], "redis-benchmark EVALSHA", goal=limit, note=absent)]
    note = f"it sends the same {min(closes, _A_CALL)} closes every time: they stay in the processor's cache, and no candle is dropped"
    return [*rows, compared(what, "µs", found["ours"], "redis-benchmark EVALSHA", found["program"], goal=limit, note=note)]


class Maker:
    """Makes closes of so many symbols, each moment five minutes after the last."""

    def __init__(self, symbols: int) -> None:
        self.symbols = [name.removesuffix("USDT") + "-USD" for name in names(symbols)]
        series = warm(self.symbols[0]).series["5m"]
        self._indicator = store.indicator_value(series, series.indicator.reading)
        self._moments = count()

    def moments(self, times: int) -> Moments:
        return [self._moment(next(self._moments)) for _ in range(times)]

    def _moment(self, number: int) -> list[Close]:
        time = MIDNIGHT + number * STEP
        indicator = {**self._indicator, "t": time}
        return [Close(symbol, "5m", Bar(*row(symbol, time, number + place)[1:]), indicator) for place, symbol in enumerate(self.symbols)]


async def _fill(redis: Redis, made: Maker) -> None:
    """As many candles as are kept, so that every close also drops one. They are older than the first that is made."""
    first = made.moments(1)[0]
    for close in first:
        key = keys.candles(_EXCHANGE_ID, close.symbol, close.timeframe)
        await redis.eval(_FILL, 1, key, KEPT, STEP, close.bar.open_time, bus.encode(store.candle_value(close.bar)[1:]))
        readings = keys.readings(_EXCHANGE_ID, close.symbol, close.timeframe)
        await redis.eval(_FILL, 1, readings, KEPT, STEP, close.bar.open_time, bus.encode(store.close_reading(close)[1:]))


def _clocked(made: Maker, work: Callable[[list[Close]], object]) -> Slice:
    async def run(times: int) -> float:
        moments = made.moments(times)
        began = time.perf_counter()
        for moment in moments:
            await work(moment)  # type: ignore[misc]
        return time.perf_counter() - began

    return run


async def _ours(redis: Redis, moment: list[Close]) -> None:
    await store.put_closes(redis, _EXCHANGE_ID, moment)


async def _pipeline(redis: Redis, moment: list[Close]) -> None:
    """What a program would write that knows redis-py from its documentation."""
    pipe = redis.pipeline()
    for close in moment:
        candles = keys.candles(_EXCHANGE_ID, close.symbol, close.timeframe)
        pipe.zadd(candles, {bus.encode(store.candle_value(close.bar)): close.bar.open_time})
        pipe.zremrangebyrank(candles, 0, -KEPT - 1)
        pipe.set(keys.indicator(_EXCHANGE_ID, close.symbol, close.timeframe), bus.encode(close.indicator))
        readings = keys.readings(_EXCHANGE_ID, close.symbol, close.timeframe)
        pipe.zadd(readings, {bus.encode(store.close_reading(close)): close.bar.open_time})
        pipe.zremrangebyrank(readings, 0, -KEPT - 1)
        pipe.publish(keys.channel_candle_close(_EXCHANGE_ID, close.symbol, close.timeframe), bus.encode(_message(close)))
    await pipe.execute()


def _message(close: Close) -> dict[str, object]:
    return {
        "type": "candle",
        "exchange_id": _EXCHANGE_ID,
        "symbol": close.symbol,
        "timeframe": close.timeframe,
        "candle": store.candle_value(close.bar),
        "indicator": close.indicator,
    }


class Socket:
    """The server without a client library: a blocking socket, requests packed before the clock starts."""

    def __init__(self) -> None:
        address = urlsplit(settings.REDIS_URL)
        self._socket = socket.socket(socket.AF_UNIX) if address.scheme == "unix" else socket.socket()
        self._socket.connect(unquote(address.path) if address.scheme == "unix" else (address.hostname, address.port or 6379))
        self._reader = hiredis.Reader()
        self._sha = cast(bytes, self._ask(_pack(("SCRIPT", "LOAD", _SCRIPT))))

    def clocked(self, moments: Moments) -> float:
        packed = [[_pack(tuple(self.words(moment[at : at + _A_CALL]))) for at in range(0, len(moment), _A_CALL)] for moment in moments]
        began = time.perf_counter()
        for calls in packed:
            for call in calls:
                self._ask(call)
        return time.perf_counter() - began

    def words(self, closes: Sequence[Close]) -> Words:
        """The call of the script for these closes."""
        names: list[str] = []
        values: Words = []
        for close in closes:
            place = (_EXCHANGE_ID, close.symbol, close.timeframe)
            names += [keys.candles(*place), keys.indicator(*place), keys.readings(*place)]
            values += [close.bar.open_time, bus.encode(store.candle_value(close.bar)), bus.encode(close.indicator)]
            values.append(bus.encode(store.close_reading(close)))
            values += [keys.channel_candle_close(*place), bus.encode(_message(close))]
        return ["EVALSHA", self._sha, len(names), *names, *values]

    def _ask(self, request: bytes) -> object:
        self._socket.sendall(request)
        while (answer := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65_536))
        if isinstance(answer, hiredis.ReplyError):
            raise answer
        return answer

    def close(self) -> None:
        self._socket.close()


async def _program(command: Words, calls: int) -> Slice:
    """Slices of redis-benchmark, ``calls`` a moment. Raises NoPeer where there is none that works."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise NoPeer(f"peer not installed: neither {' nor '.join(_PROGRAMS)} is here; the system's redis-tools or valkey-tools bring one")
    await _benchmark(program, command, 1)
    return lambda times: _benchmark(program, command, times * calls)


async def _benchmark(program: str, command: Words, calls: int) -> float:
    """Seconds that redis-benchmark says it took for so many calls, one client, one at a time."""
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in command]
    address = urlsplit(settings.REDIS_URL)
    where = ("-s", unquote(address.path)) if address.scheme == "unix" else ("-h", address.hostname or "", "-p", str(address.port or 6379))
    process = await asyncio.create_subprocess_exec(
        program, *where, "-c", "1", "-n", str(calls), "--csv", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    # The last line is "title","requests a second" and, since 6.2, latencies. The title is our command, quotes and all. Its clock counts
    # milliseconds: "inf" is less than one.
    rate = re.search(rb'","(inf|[\d.]+)"(?:,"[\d.]+")*\s*$', output)
    if rate is None:
        raise NoPeer(f"{program} did not say how fast it was")
    return 0.0005 if rate[1] == b"inf" else calls / float(rate[1])
