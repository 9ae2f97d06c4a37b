"""What is known of a hosted exchange, in Redis for everybody (EXC-04): the status hash, symbol states, lifecycle events."""

import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, cast

from redis.asyncio import Redis

from exchanges.shards import WHOLE, Shard, merged
from livermore import bus, keys

TTL = 45
HEARTBEAT = 15.0
"""Seconds between two writes of a status that does not change."""

FIGURES = (
    "frames", "messages_per_s", "oldest", "rest_used", "rest_left", "rest_limit", "rest_held_s", "rest_waiting", "rest_ms", "websocket_ms",
    "clock_offset_ms",
)  # fmt: skip
"""What measuring.py works out, once a second."""
COUNTERS = (
    "rejected", "refused", "lost", "reconnects", "gaps_repaired", "revised", "read_back", "read_backs_failed", "warm_ups_failed",
)  # fmt: skip
"""Of the connector's life; in the hash once they have counted."""
_NUMBERS = {
    "connected_at", "last_heartbeat", "since", "error_at", "retry_at", "symbols", "pid", "frames", "rest_used", "rest_left", "rest_limit",
    "rest_waiting", "clock_offset_ms", "shards", *COUNTERS,
}  # fmt: skip
_FLOATS = {"warmup", "messages_per_s", "rest_held_s", "rest_ms", "websocket_ms"}
_LISTS = {"oldest"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Status:
    """The status of one exchange, or of a shard of one, as its connector keeps it. ``write`` puts it into Redis and is its heartbeat.

    ``together``: what all shards of the exchange say, as of the last ``write``; empty where it is not divided.
    """

    def __init__(self, exchange_id: str, shard: Shard = WHOLE) -> None:
        self.exchange_id, self.shard = exchange_id, shard
        self.together: dict[str, Any] = {}
        self.alone: list[Shard] = []
        """Shards that no process runs, as of the last ``write``."""
        self.state = "idle"
        self.since = now_ms()
        self.connection_state = "idle"
        self.connected_at: int | None = None
        self.symbols = 0
        self.warmup: float | None = None
        self.error = ""
        self.error_at: int | None = None
        self.retry_at: int | None = None
        self.counters: dict[str, int | float] = {}
        self.figures: Mapping[str, Any] = {}
        """How well the connector is doing (measuring.py); empty while none runs."""

    def set_state(self, state: str) -> bool:
        """Note a state; True when it is another one than before."""
        if state == self.state:
            return False
        self.state, self.since = state, now_ms()
        return True

    def set_error(self, error: str) -> None:
        self.error, self.error_at = error[:300], now_ms()

    def fields(self) -> dict[Any, Any]:
        values: dict[str, Any] = {
            "state": self.state,
            "since": self.since,
            "connection_state": self.connection_state,
            "connected_at": self.connected_at,
            "last_heartbeat": now_ms(),
            "symbols": self.symbols,
            "warmup": self.warmup,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "shards": self.shard.of,
            "error": self.error,
            "error_at": self.error_at,
            "retry_at": self.retry_at,
            **dict.fromkeys(FIGURES),
            **self.figures,
            **self.counters,
        }
        return _texts(values)

    async def write(self, redis: Redis) -> None:
        fields = self.fields()
        if not self.shard.whole:
            await _put(redis, self.exchange_id, keys.shard_status(self.exchange_id, str(self.shard)), fields)
            fields = await self._look_around(redis)
        await _put(redis, self.exchange_id, keys.exchange_status(self.exchange_id), fields)

    async def _look_around(self, redis: Redis) -> dict[Any, Any]:
        """What all shards say together."""
        async with redis.pipeline(transaction=False) as pipe:
            for shard in self.shard.all:
                pipe.hgetall(keys.shard_status(self.exchange_id, str(shard)))
                pipe.exists(keys.shard_lease(self.exchange_id, str(shard)))
            answers = iter(await pipe.execute())
        parts = {shard: read(next(answers), next(answers)) for shard in self.shard.all}
        self.alone = [shard for shard, part in parts.items() if not part]
        self.together = merged(parts, COUNTERS)
        return _texts(self.together)

    @property
    def speaks(self) -> bool:
        """Whether this process speaks for the exchange: the only one, or that of the first shard that has one."""
        return self.shard.whole or self.shard == next((shard for shard in self.shard.all if shard not in self.alone), self.shard)

    def said(self, event: str) -> str:
        """An event of the exchange as this process may tell it: of a shard, what all of them together have become."""
        if self.shard.whole or not event.startswith("exchange:"):
            return event
        name = event.removeprefix("exchange:")
        figure = "connection_state" if name in {"connecting", "connected", "disconnected"} else "state"
        return f"exchange:{self.together.get(figure) or name}"

    async def clear(self, redis: Redis) -> None:
        """No key means that no process hosts the exchange."""
        if self.shard.whole or await self._last(redis):
            await redis.delete(keys.exchange_status(self.exchange_id), keys.exchange_states(self.exchange_id))
        if not self.shard.whole:
            await redis.delete(keys.shard_status(self.exchange_id, str(self.shard)))

    async def _last(self, redis: Redis) -> bool:
        """Whether no other shard has a process."""
        others = [keys.shard_lease(self.exchange_id, str(shard)) for shard in self.shard.all if shard != self.shard]
        return not await redis.exists(*others)


async def _put(redis: Redis, exchange_id: str, key: str, fields: dict[Any, Any]) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hset(key, mapping=fields)
        pipe.expire(key, TTL)
        pipe.expire(keys.exchange_states(exchange_id), TTL)
        await pipe.execute()


async def unwatch(redis: Redis, exchange_id: str, shard: Shard) -> int:
    """Say of every symbol of a shard without a process that it is offline: nobody else will. Returns of how many it was news."""
    held = cast(dict[bytes, bytes], await redis.hgetall(keys.exchange_states(exchange_id)))
    at, reason = now_ms(), f"no process runs shard {shard}"
    news = [name.decode() for name, value in held.items() if shard.holds(name.decode()) and bus.decode(value)["state"] != "offline"]
    async with redis.pipeline(transaction=False) as pipe:
        for symbol in news:
            queue_state(pipe, exchange_id, symbol, "offline", reason, at)
        await pipe.execute()
    return len(news)


def queue_state(pipe: Any, exchange_id: str, symbol: str, state: str, reason: str, since: int) -> None:
    """Put out the state of one symbol, and that it changed."""
    pipe.hset(keys.exchange_states(exchange_id), symbol, bus.encode({"state": state, "reason": reason, "since": since}))
    event = {
        "type": "lifecycle",
        "exchange_id": exchange_id,
        "event": "symbol:state",
        "at": since,
        "reason": reason,
        "symbol": symbol,
        "state": state,
    }
    pipe.publish(keys.channel_lifecycle(exchange_id), bus.encode(event))


def _texts(values: Mapping[str, Any]) -> dict[Any, Any]:
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


def queue_read(pipe: Any, exchange_id: str) -> None:
    """Ask for what ``read`` needs: two answers, in this order."""
    pipe.hgetall(keys.exchange_status(exchange_id))
    pipe.exists(keys.exchange_lease(exchange_id))


def read(fields: dict[bytes, bytes], lease: int) -> dict[str, Any]:
    """A status hash as values: numbers as numbers, what is not there as None; empty for no process.

    A process that died cannot say so, and its hash stays for a while; its lease runs out much sooner.
    """
    if not lease:
        return {}
    return {name: _value(name, text.decode()) for name, text in ((key.decode(), text) for key, text in fields.items())}


def _value(name: str, text: str) -> Any:
    if name in _NUMBERS:
        return int(text) if text.lstrip("-").isdigit() else None
    if name in _FLOATS:
        return float(text) if text else None
    if name in _LISTS:
        return json.loads(text) if text else []
    return text


def read_all(exchange_ids: list[str]) -> dict[str, dict[str, Any]]:
    """The status of each exchange, in one round trip. Raises what Redis raises."""
    pipe = bus.sync().pipeline(transaction=False)
    for exchange_id in exchange_ids:
        queue_read(pipe, exchange_id)
    answers = iter(pipe.execute())
    return {exchange_id: read(next(answers), next(answers)) for exchange_id in exchange_ids}


async def is_hosted(exchange_id: str) -> bool:
    """Whether a process hosts the exchange. Raises what Redis raises."""
    client = bus.connect()
    try:
        return await client.exists(keys.exchange_status(exchange_id), keys.exchange_lease(exchange_id)) == 2
    finally:
        await client.aclose()


async def divided_into(exchange_id: str) -> int:
    """Into how many shards the exchange is divided by those who run it. Raises what Redis raises."""
    client = bus.connect()
    try:
        held = await client.get(keys.exchange_lease(exchange_id))
        return int(json.loads(held).get("shards", 1)) if held else 1
    except (ValueError, AttributeError, TypeError):
        return 1
    finally:
        await client.aclose()


async def publish_lifecycle(redis: Redis, exchange_id: str, event: str, reason: str = "", **more: Any) -> None:
    """Say what happened to a connection (CTL-04)."""
    message = {"type": "lifecycle", "exchange_id": exchange_id, "event": event, "at": now_ms(), "reason": reason, **more}
    await redis.publish(keys.channel_lifecycle(exchange_id), bus.encode(message))
