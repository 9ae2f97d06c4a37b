"""The state of every symbol of an exchange, in Redis for everybody, with an event for each change."""

import time

from redis.asyncio import Redis

from exchanges.status import TTL, queue_state
from livermore import keys

_WORST_FIRST = ("gap", "stale", "warming", "halted", "offline")


class States:
    """``set`` notes states; ``write`` puts out those that changed."""

    def __init__(self, exchange_id: str, redis: Redis) -> None:
        self._exchange_id, self._redis = exchange_id, redis
        self._states: dict[str, tuple[str, str, int]] = {}
        self._changed: set[str] = set()
        self._gone: set[str] = set()

    def set(self, symbol: str, state: str, reason: str) -> None:
        """Note a state; a reason that only counts on (``no final candle for 37 s``) is kept without an event."""
        before = self._states.get(symbol)
        if before is not None and before[0] == state:
            if before[1] != reason and not (reason and before[1]):
                self._changed.add(symbol)
            self._states[symbol] = (state, reason, before[2])
            return
        self._states[symbol] = (state, reason, time.time_ns() // 1_000_000)
        self._changed.add(symbol)

    def forget(self, symbol: str) -> None:
        self._states.pop(symbol, None)
        self._changed.discard(symbol)
        self._gone.add(symbol)

    def changed_all(self) -> None:
        """Put everything out again: Redis lost it."""
        self._changed.update(self._states)

    def overall(self, *, warming: bool) -> str:
        """The state of the exchange: live if any symbol is, else the worst of them."""
        if warming:
            return "warming"
        found = {state for state, _, _ in self._states.values()}
        if "live" in found:
            return "live"
        return next((state for state in _WORST_FIRST if state in found), "warming")

    def why(self, state: str) -> str:
        """What holds symbols in a state: the first one's reason, and how many more there are."""
        found = [f"{symbol}: {reason}" for symbol, (each, reason, _) in self._states.items() if each == state and reason]
        if not found or state == "live":
            return ""
        return found[0] if len(found) == 1 else f"{found[0]}, and {len(found) - 1} more"

    async def write(self) -> None:
        """Put out what changed. Raises what Redis raises, and then keeps it."""
        if not self._changed and not self._gone:
            return
        key = keys.exchange_states(self._exchange_id)
        changed, gone = {symbol: self._states[symbol] for symbol in self._changed}, list(self._gone)
        async with self._redis.pipeline(transaction=False) as pipe:
            if gone:
                pipe.hdel(key, *gone)
            for symbol, (state, reason, since) in changed.items():
                queue_state(pipe, self._exchange_id, symbol, state, reason, since)
            pipe.expire(key, TTL)
            await pipe.execute()
        self._changed.difference_update(changed)
        self._gone.difference_update(gone)
