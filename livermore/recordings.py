"""What recordfeed and replayfeed do in a store of their own (``livermore.apart``): an order in, what was found out back."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from alerts import services
from alerts.models import Alert, AlertRule
from exchanges.models import Exchange
from exchanges.recorder import MEBIBYTE, Recorder
from exchanges.recording import Header, NotReadable
from exchanges.status import Status
from livermore import bus
from livermore.apart import Apart
from livermore.db import db
from livermore.replaying import Contents, Replay, contents
from livermore.runtime import Connector
from symbols.models import Symbol

log = logging.getLogger(__name__)

PROGRESS_EVERY = 10.0
FIELDS = (
    "uid",
    "number",
    "symbol",
    "timeframe",
    "trigger_label",
    "direction",
    "candle_time",
    "trigger_value",
    "previous_value",
    "signal_delta",
    "price",
    "stage",
    "bias",
    "timeframes",
    "delayed",
    "revised",
)
"""What of an alert follows from what the exchange said, and nothing of when we heard it."""

Order = dict[str, Any]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def record(order: Order) -> dict[str, Any]:
    """Run a connector that nobody hears, and take down what it hears, until cancelled or the time is over."""
    exchange, fence, epoch = await db(_prepare)(order["exchange"], order["rules"], order["policies"])
    path, header = Path(order["output"]), Header(**order["header"])
    try:
        recorder = Recorder(path, header, most_bytes=order["most"] * MEBIBYTE)
    except OSError as error:
        raise Apart(f"{path} cannot be written: {error.strerror}") from None
    redis = bus.connect()
    connector = Connector(exchange, redis, Status(exchange.pk), fence=fence, epoch=epoch, recorder=recorder)
    running = asyncio.create_task(connector.run())
    until = time.monotonic() + order["seconds"] if order["seconds"] else None
    try:
        await _watch(connector, recorder, running, until, header.symbols)
    except asyncio.CancelledError:
        pass  # Ctrl-C is how a recording without --seconds ends
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await redis.aclose()
    return {"frames": recorder.frames, "bytes": recorder.written, "ended": recorder.ended}


async def _watch(connector: Connector, recorder: Recorder, running: "asyncio.Task[None]", until: float | None, symbols: list[str]) -> None:
    """Until the time is over, or the recording has ended by itself; says how it goes."""
    told, began = time.monotonic(), False
    while not recorder.ended and (until is None or time.monotonic() < until):
        done, _ = await asyncio.wait([running], timeout=0.2)
        if done:
            raise Apart(f"the connector fell over: {running.exception()}")
        if connector.watched and not began:
            began = True
            if missing := sorted(set(symbols) - set(connector.watched)):
                raise Apart(f"{connector.exchange.pk} does not trade {', '.join(missing)}: spell symbols as the exchange does")
            say(f"Recording {len(connector.watched)} symbols of {connector.exchange.pk} into {recorder.path}. Ctrl-C ends it.")
        if time.monotonic() - told > PROGRESS_EVERY:
            told = time.monotonic()
            error = f"; {connector.status.error}" if connector.status.error else ""
            say(f"{recorder.frames:,} frames, {recorder.written / MEBIBYTE:.1f} MiB{error}")


def _prepare(row: dict[str, Any], rules: list[dict[str, Any]], policies: list[tuple[str, str]]) -> tuple[Exchange, int, str]:
    """The exchange, the rules and what people decided about symbols, and nothing else."""
    Exchange.objects.all().delete()
    AlertRule.objects.all().delete()
    exchange = Exchange.objects.create(**row)
    AlertRule.objects.bulk_create(AlertRule(**rule) for rule in rules)
    Symbol.objects.bulk_create(Symbol(exchange=exchange, symbol=symbol, policy=policy) for symbol, policy in policies)
    return exchange, *services.sequence_take_over(exchange_id=exchange.pk)


async def replay(order: Order) -> dict[str, Any]:
    """Play a recording into this store, and write its alerts down, a line of JSON each."""
    found = await asyncio.to_thread(readable, Path(order["path"]), damaged=order["damaged"])
    header = found.header
    row = {
        "id": header.exchange,
        "name": header.name,
        "adapter": header.adapter,
        "websocket_url": "wss://recorded.invalid",
        "rest_url": "https://recorded.invalid",
        "timeframes": header.timeframes,
        "is_sandbox": header.simulated,
    }
    exchange, fence, epoch = await db(_prepare)(row, [], [])
    redis = bus.connect()
    began = time.monotonic()
    connector = Replay(exchange, redis, path=Path(order["path"]), found=found, speed=order["speed"], say=say, fence=fence, epoch=epoch)
    running = asyncio.create_task(connector.run())
    try:
        await asyncio.wait([running, connector.done], return_when=asyncio.FIRST_COMPLETED)
        fell_over = _why_it_fell(running)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await redis.aclose()
    seconds = time.monotonic() - began
    lines = await db(_alerts)(exchange.pk)
    await asyncio.to_thread(Path(order["alerts"]).write_text, "".join(f"{json.dumps(line)}\n" for line in lines))
    return {**_summed(found), **_played(connector), "alerts": len(lines), "seconds": seconds, "fell_over": fell_over}


def _why_it_fell(running: "asyncio.Task[None]") -> str:
    """What brought the connector down over this recording, the innermost reason; "" where nothing did. The log has all of it."""
    error = running.exception() if running.done() else None
    if error is None:
        return ""
    log.error("the connector fell over", exc_info=error)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def readable(path: Path, *, damaged: bool) -> Contents:
    """What is in a recording that can be replayed. Raises Apart that says why another cannot. ``damaged``: whether a part of it will do."""
    try:
        found = contents(path)
    except NotReadable as error:
        raise Apart(f"{path} cannot be replayed: {error}") from None
    except OSError as error:
        raise Apart(f"{path} cannot be read: {error.strerror}") from None
    if found.damage and not damaged:
        raise Apart(
            f"{path} is {found.damage}. Copy it again from where it was recorded, or replay the {found.records:,} records before that "
            "with --damaged"
        )
    if not found.symbols:
        raise Apart(f"{path} has no symbols in it: it ended before the exchange had named any")
    return found


def _alerts(exchange_id: str) -> list[dict[str, Any]]:
    return list(Alert.objects.filter(exchange_id=exchange_id).order_by("number").values(*FIELDS))


def _summed(found: Contents) -> dict[str, Any]:
    return {
        "exchange": found.header.exchange,
        "simulated": found.header.simulated,
        "symbols": sorted(found.symbols),
        "first": found.first,
        "last": found.last,
        "ended": "its end is torn off" if found.torn else found.damage or found.ended or "without a last word",
        "records": found.records,
        "frames": found.frames,
    }


def _played(connector: Replay) -> dict[str, Any]:
    counters = connector.counters
    return {
        "rejected": counters["rejected"],
        "lost": counters["lost"],
        "gaps": counters["gaps_repaired"],
        "revised": counters["revised"],
        "closed": connector.closed,
        "played": connector.played,
        "unanswered": len(connector.rest.unanswered),
    }


WORK: dict[str, Callable[[Order], Awaitable[dict[str, Any]]]] = {"record": record, "replay": replay}
