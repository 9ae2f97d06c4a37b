"""What is known of a hosted exchange, in Redis for everybody (EXC-04): the status hash, symbol states, lifecycle events."""

import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

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
    "rest_waiting", "clock_offset_ms", *COUNTERS,
}  # fmt: skip
_FLOATS = {"warmup", "messages_per_s", "rest_held_s", "rest_ms", "websocket_ms"}
_LISTS = {"oldest"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Status:
    """The status of one exchange as its connector keeps it. ``write`` puts it into Redis and is its heartbeat."""

    def __init__(self, exchange_id: str) -> None:
        self.exchange_id = exchange_id
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
            "error": self.error,
            "error_at": self.error_at,
            "retry_at": self.retry_at,
            **dict.fromkeys(FIGURES),
            **self.figures,
            **self.counters,
        }
        return {name: _text(value) for name, value in values.items()}

    async def write(self, redis: Redis) -> None:
        fields = self.fields()
        key = keys.exchange_status(self.exchange_id)
        async with redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, mapping=fields)
            pipe.expire(key, TTL)
            pipe.expire(keys.exchange_states(self.exchange_id), TTL)
            await pipe.execute()

    async def clear(self, redis: Redis) -> None:
        """No key means that no process hosts the exchange."""
        await redis.delete(keys.exchange_status(self.exchange_id), keys.exchange_states(self.exchange_id))


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


async def publish_lifecycle(redis: Redis, exchange_id: str, event: str, reason: str = "", **more: Any) -> None:
    """Say what happened to a connection (CTL-04)."""
    message = {"type": "lifecycle", "exchange_id": exchange_id, "event": event, "at": now_ms(), "reason": reason, **more}
    await redis.publish(keys.channel_lifecycle(exchange_id), bus.encode(message))
