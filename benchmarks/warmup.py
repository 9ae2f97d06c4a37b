"""How long a connector takes to fetch its symbols' history, against what the exchange's rate limit allows; and to go on after a restart.

The exchange is the sandbox's Coinbase in this process, with the real one's limit; ``runexchange`` is a process of its own.
"""

import asyncio
import time
from dataclasses import replace

from benchmarks.followed import clean_up
from benchmarks.peer import Peers
from benchmarks.rows import Row, at_most, at_most_times, compared, single
from benchmarks.surroundings import child
from benchmarks.timing import Effort
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import COINBASE
from exchanges.status import read_all
from livermore.db import db
from market_data.models import Checkpoint

TITLE = "Warm-up: the history of every symbol, and a restart"
EXCHANGE = "bench-warm"
_PATIENCE, _LOOK = 300.0, 0.05


async def measure(effort: Effort, peers: Peers) -> list[Row]:
    try:
        async with Sandbox((replace(COINBASE, id=EXCHANGE),), symbols=effort.symbols) as sandbox:
            exchange = await db(_prepare)(sandbox, effort.symbols)
            counters = sandbox.counters[EXCHANGE]
            cold = await _start(effort.symbols * len(TIMEFRAMES))
            fetched = counters["rest_requests"]
            warm = await _start(effort.symbols * len(TIMEFRAMES))
            again = counters["rest_requests"] - fetched
    finally:
        await db(clean_up)([EXCHANGE], ())
    limits = exchange.effective_limits
    allowed = max(0, fetched - limits.rest_burst) * 60 / limits.rest_weight_per_minute
    what = f"{effort.symbols:,} symbols, {len(TIMEFRAMES)} timeframes, 400 candles"
    against = "the same requests at the exchange's limit"
    refused = f"{fetched:,} requests, {counters['rest_429']:,} of all were refused; from the start of the process"
    return [
        compared(f"{what}: until all are stored", "s", [cold], against, [allowed], goal=at_most_times(1.2), note=refused)
        if allowed
        else single(f"{what}: until all are stored", "s", [cold], against, note="the limit allows all at once"),
        single(f"{effort.symbols:,} symbols, restarted at once: until live", "s", [warm], goal=at_most(5), note=f"{again:,} requests"),
    ]


def _prepare(sandbox: Sandbox, symbols: int) -> Exchange:
    return Exchange.objects.create(
        id=EXCHANGE,
        name=EXCHANGE,
        adapter="coinbase",
        websocket_url=sandbox.websocket_url(EXCHANGE),
        rest_url=sandbox.rest_url(EXCHANGE),
        top_n=symbols,
        is_sandbox=True,
    )


async def _start(series: int) -> float:
    """Seconds from the start of a connector's process until it is live, and every series is stored."""
    began = time.monotonic()
    async with child("manage.py", "runexchange", EXCHANGE, "--autostart", EXCHANGE) as process, asyncio.timeout(_PATIENCE):
        while not await db(_is_there)(series, process.pid):  # noqa: ASYNC110  (another process brings it about)
            await asyncio.sleep(_LOOK)
        return time.monotonic() - began


def _is_there(series: int, pid: int) -> bool:
    status = read_all([EXCHANGE]).get(EXCHANGE, {})
    return status.get("pid") == pid and status.get("state") == "live" and Checkpoint.objects.filter(exchange_id=EXCHANGE).count() >= series
