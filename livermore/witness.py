"""Noticing that a node of a Redis Cluster came back without its memory: what is kept on the others is no sign of it."""

from collections.abc import Callable

from redis.asyncio import Redis

from livermore.cluster import covering

TTL = 60


class Witness:
    """A key on each node of a cluster, written again at every look. Where Redis is no cluster, a lost lease tells the same."""

    def __init__(self, redis: Redis, name: Callable[[int], str]) -> None:
        self._redis, self._name = redis, name
        self._known: frozenset[str] = frozenset()

    async def lost(self) -> bool:
        """Whether a key is gone that was there at the last look. Raises what Redis raises."""
        names = covering(self._name, self._redis)
        if not names:
            return False
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.set(name, "1", ex=TTL, get=True)
            found = await pipe.execute()
        gone = {name for name, before in zip(names, found, strict=True) if before is None}
        known, self._known = self._known, frozenset(names)
        return not known.isdisjoint(gone)
