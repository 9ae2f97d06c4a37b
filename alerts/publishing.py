"""Putting committed alerts out: into the stream for whoever comes back, and onto the channels as a wake-up.

The database is the authority. What could not be published stays unmarked there, and is published as soon as Redis answers again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from alerts import services
from alerts.elsewhere import Beside
from alerts.models import Alert
from exchanges.lease import Lease
from livermore import bus, keys
from livermore.db import db

log = logging.getLogger(__name__)

STREAM_LENGTH = 100_000
REBUILT_LENGTH = 5_000
ABANDONED = 3_000
"""Milliseconds after its commit from which an alert that nobody has published counts as left by a process that died."""
_BATCH = 100
_LOOK = 0.01
"""Seconds between two looks whether it is our turn."""


class Publisher:
    """Publishes the alerts of one exchange, in order, each into the stream exactly once.

    ``divided``: other processes publish alerts of the exchange too. They take turns, and each takes up whatever any of them has committed:
    a stream only grows at its end, and pages get numbers in their order.
    """

    def __init__(self, redis: Redis, exchange_id: str, epoch: str, *, divided: bool = False) -> None:
        self._redis = redis
        self.exchange_id = exchange_id
        self.epoch = epoch
        self._divided = divided
        self._pending: list[Alert] = []
        self._lock = asyncio.Lock()
        self._beside = Beside(redis, exchange_id)
        self._turn = Lease(redis, key=keys.alert_turn(exchange_id))

    async def recover(self) -> int:
        """At the start: take up what was committed but not marked. Returns how many."""
        self._pending = await db(services.alerts_unpublished)(exchange_id=self.exchange_id)
        return len(self._pending)

    def add(self, alerts: Sequence[Alert]) -> None:
        self._pending.extend(alerts)

    @property
    def waits(self) -> bool:
        """Whether anything is pending."""
        return bool(self._pending)

    async def flush(self) -> None:
        """Publish what is pending, and mark it. Raises what Redis raises, and then keeps it pending."""
        if self._pending:
            async with self._ours():
                await self._ensure_stream()
                await self._publish_pending()

    async def take_up(self) -> None:
        """Publish what another shard has committed and left, should it have died before its turn."""
        left = await db(services.alerts_unpublished)(exchange_id=self.exchange_id)
        if any(alert.triggered_at < services.now_ms() - ABANDONED for alert in left):
            self._pending = self._pending or left
            await self.flush()

    async def ensure_stream(self) -> None:
        """Rebuild the stream from the database, under a new epoch, when Redis does not have ours."""
        async with self._ours():
            await self._ensure_stream()

    @asynccontextmanager
    async def _ours(self) -> AsyncIterator[None]:
        """A time in which nobody else publishes alerts of the exchange. One that died in his turn is waited for until its lease lapses."""
        async with self._lock:
            if not self._divided:
                yield
                return
            while not await self._turn.acquire():  # noqa: ASYNC110  (the other one is another process)
                await asyncio.sleep(_LOOK)
            try:
                await self._join_the_others()
                yield
            finally:
                await self._turn.release()

    async def _join_the_others(self) -> None:
        """Take up what all shards have committed and nobody has marked; ours are among it, with what only we know of them."""
        ours = {alert.number: alert for alert in self._pending}
        everybody = await db(services.alerts_unpublished)(exchange_id=self.exchange_id)
        self._pending = [ours.get(alert.number, alert) for alert in everybody]

    async def _publish_pending(self) -> None:
        while self._pending:
            batch = self._pending[:_BATCH]
            new = [alert for alert in batch if alert.published_at is None]
            await self._beside.fill(new)
            for alert in new:
                alert.published_at = services.now_ms()
            await self._append(batch)
            await self._announce(batch)
            await db(services.alerts_mark_published)(alerts=batch)
            del self._pending[: len(batch)]

    async def _ensure_stream(self) -> None:
        if self._divided:
            self.epoch = await db(services.sequence_epoch)(exchange_id=self.exchange_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(keys.alert_epoch(self.exchange_id))
            pipe.get(keys.alert_stream_epoch(self.exchange_id))
            if await pipe.execute() != [self.epoch.encode()] * 2:
                await self._rebuild()

    async def _rebuild(self) -> None:
        self.epoch = await db(services.sequence_new_epoch)(exchange_id=self.exchange_id)
        alerts = await db(services.alerts_newest)(exchange_id=self.exchange_id, most=REBUILT_LENGTH)
        await self._redis.delete(keys.alert_stream(self.exchange_id))
        for at in range(0, len(alerts), _BATCH):
            await self._append(alerts[at : at + _BATCH])
        for key in (keys.alert_stream_epoch(self.exchange_id), keys.alert_epoch(self.exchange_id)):
            await self._redis.set(key, self.epoch)
        log.info("%s: rebuilt the alert stream with %d alerts", self.exchange_id, len(alerts))

    async def _append(self, alerts: Sequence[Alert]) -> None:
        key = keys.alert_stream(self.exchange_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            for alert in alerts:
                value = bus.encode(services.public_payload(alert, self.epoch))
                pipe.xadd(key, {"alert": value}, id=f"{alert.number}-0", maxlen=STREAM_LENGTH, approximate=True)
            answers = await pipe.execute(raise_on_error=False)
        for answer in answers:
            # Redis refuses an id that is not above the last one: the alert is in the stream already.
            if isinstance(answer, ResponseError) and "equal or smaller" in str(answer):
                continue
            if isinstance(answer, Exception):
                raise answer

    async def _announce(self, alerts: Sequence[Alert]) -> None:
        """To the owners first: when everybody hears that a number is taken, they have its alert."""
        owners = await db(services.alert_owners)(alerts) if any(alert.overflow for alert in alerts) else {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for alert in alerts:
                value = bus.encode(services.alert_payload(alert, self.epoch))
                for user_id in owners.get(alert.pk, []):
                    pipe.publish(keys.channel_user_alerts(user_id), value)
                if alert.shared:
                    pipe.publish(keys.channel_symbol_alerts(self.exchange_id, alert.symbol), value)
                pipe.publish(keys.channel_alerts(self.exchange_id), bus.encode(services.public_payload(alert, self.epoch)))
            await pipe.execute()
