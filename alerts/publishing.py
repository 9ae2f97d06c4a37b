"""Putting committed alerts out: into the stream for whoever comes back, and onto the channels as a wake-up.

The database is the authority. What could not be published stays unmarked there, and is published as soon as Redis answers again.
"""

import asyncio
import logging
from collections.abc import Sequence

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
"""Milliseconds after its commit from which an alert that is in the stream but not marked counts as left there by a process that died."""
_BATCH = 100
_TURN = 0.05
"""Seconds between two looks whether another shard has rebuilt the stream."""


class Publisher:
    """Publishes the alerts of one exchange, in order, each into the stream exactly once.

    ``divided``: other processes publish alerts of the exchange too. Each then takes up whatever any of them has committed, in the order of
    the numbers: a stream only grows at its end, so a shard may not leave out what another is about to append. Who appends an alert
    announces it.
    """

    def __init__(self, redis: Redis, exchange_id: str, epoch: str, *, divided: bool = False) -> None:
        self._redis = redis
        self.exchange_id = exchange_id
        self.epoch = epoch
        self._divided = divided
        self._pending: list[Alert] = []
        self._lock = asyncio.Lock()
        self._beside = Beside(redis, exchange_id)
        self._put_back: set[int] = set()
        """Numbers that a rebuild of ours put into the stream before anybody had published them."""
        self._rebuilding = Lease(redis, key=keys.alert_rebuild(exchange_id))

    async def recover(self) -> int:
        """At the start: take up what was committed but not marked. Returns how many."""
        self._pending = await db(services.alerts_unpublished)(exchange_id=self.exchange_id)
        return len(self._pending)

    def add(self, alerts: Sequence[Alert]) -> None:
        self._pending.extend(alerts)

    async def flush(self) -> None:
        """Publish what is pending, and mark it. Raises what Redis raises, and then keeps it pending."""
        async with self._lock:
            if self._pending:
                await self._ensure_stream()
                await self._publish_pending()

    async def take_up(self) -> None:
        """Publish what another shard has committed and left, should it have died before its turn."""
        async with self._lock:
            if not self._pending and (left := await db(services.alerts_unpublished)(exchange_id=self.exchange_id)):
                self._pending = [alert for alert in left if alert.triggered_at < services.now_ms() - ABANDONED]
        await self.flush()

    async def _publish_pending(self) -> None:
        if self._divided:
            await self._join_the_others()
        while self._pending:
            batch = self._pending[:_BATCH]
            new = [alert for alert in batch if alert.published_at is None]
            await self._beside.fill(new)
            for alert in new:
                alert.published_at = services.now_ms()
            appended = await self._append(batch)
            if self._divided:
                oldest, ours = services.now_ms() - ABANDONED, appended | self._put_back
                batch_out = [alert for alert in batch if alert.number in ours or alert.triggered_at < oldest]
                self._put_back -= ours
            else:
                batch_out = batch  # one that is in the stream already was put there before a crash, and may not have been announced
            await self._announce(batch_out)
            await db(services.alerts_mark_published)(alerts=batch_out)
            del self._pending[: len(batch)]

    async def _join_the_others(self) -> None:
        """Take up what all shards have committed and nobody has marked; ours are among it, with what only we know of them."""
        ours = {alert.number: alert for alert in self._pending}
        everybody = await db(services.alerts_unpublished)(exchange_id=self.exchange_id)
        self._pending = [ours.get(alert.number, alert) for alert in everybody]

    async def ensure_stream(self) -> None:
        """Rebuild the stream from the database, under a new epoch, when Redis does not have ours."""
        async with self._lock:
            await self._ensure_stream()

    async def _ensure_stream(self) -> None:
        if await self._has_ours():
            return
        if not self._divided:
            await self._rebuild()
            return
        while not await self._rebuilding.acquire():  # noqa: ASYNC110  (the other one is another process)
            await asyncio.sleep(_TURN)
        try:
            self.epoch = await db(services.sequence_epoch)(exchange_id=self.exchange_id)
            if not await self._has_ours():
                await self._rebuild()
        finally:
            await self._rebuilding.release()

    async def _has_ours(self) -> bool:
        return bool(await self._redis.get(keys.alert_epoch(self.exchange_id)) == self.epoch.encode())

    async def _rebuild(self) -> None:
        self.epoch = await db(services.sequence_new_epoch)(exchange_id=self.exchange_id)
        while not await self._rebuilt():
            log.info("%s: another shard appended to the alert stream while it was rebuilt; once more", self.exchange_id)
        await self._redis.set(keys.alert_epoch(self.exchange_id), self.epoch)

    async def _rebuilt(self) -> bool:
        """Fill the stream anew; whether every alert found its place."""
        # Another shard may have put one out that it has not marked yet: left out here, it would be missing for good.
        alerts = await db(services.alerts_newest)(exchange_id=self.exchange_id, most=REBUILT_LENGTH, published=not self._divided)
        waiting = [alert for alert in alerts if alert.published_at is None]
        for alert in waiting:
            alert.published_at = services.now_ms()
        await self._redis.delete(keys.alert_stream(self.exchange_id))
        appended = [await self._append(alerts[at : at + _BATCH]) for at in range(0, len(alerts), _BATCH)]
        if sum(map(len, appended)) < len(alerts):
            return False
        self._put_back = {alert.number for alert in waiting}
        log.info("%s: rebuilt the alert stream with %d alerts", self.exchange_id, len(alerts))
        return True

    async def _append(self, alerts: Sequence[Alert]) -> set[int]:
        """Put alerts at the end of the stream. Returns the numbers of those that were not there yet."""
        key = keys.alert_stream(self.exchange_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            for alert in alerts:
                value = bus.encode(services.public_payload(alert, self.epoch))
                pipe.xadd(key, {"alert": value}, id=f"{alert.number}-0", maxlen=STREAM_LENGTH, approximate=True)
            answers = await pipe.execute(raise_on_error=False)
        appended = set()
        for alert, answer in zip(alerts, answers, strict=True):
            if not isinstance(answer, Exception):
                appended.add(alert.number)
            elif not (isinstance(answer, ResponseError) and "equal or smaller" in str(answer)):
                raise answer  # Redis refuses an id that is not above the last one: that alert is in the stream already
        return appended

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
