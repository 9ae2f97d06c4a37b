"""Telling users outside the page: a process of its own, behind the live path, which waits for nothing here.

It follows the alerts of each exchange by their gap-free number, from a cursor in the database: a word on a Redis channel wakes it, and it
finds what it missed without one. Who is told of what is decided by alerts/policy.py, and written into the outbox in the transaction that
moves the cursor (alerts/deciding.py); the outbox is then sent, one message a channel at a time. What is promised is in
docs/notifications.md.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from django.conf import settings
from django.db import DatabaseError
from redis.asyncio import Redis

from alerts import deciding, delivery_services, sending
from alerts.delivery_services import DWELL, Job, Outcome
from alerts.payloads import NotifyMessage
from exchanges.services import exchange_statuses
from exchanges.status import now_ms
from livermore import bus, keys
from livermore.bus import FAILURES
from livermore.db import db
from livermore.outbound import of_users

log = logging.getLogger(__name__)

THREADS = 8
"""Messages on their way at one time."""
GATHER = 1.5
"""Seconds for which alerts that fire together are waited for, so that a market-wide move is one message."""
POLL = 5.0
"""Seconds between two looks at the alerts where nobody wakes us."""
OUTBOX_POLL = 0.5
HEALTH = 5.0
BEAT = 5.0
BEAT_TTL = 15
SILENCES = 20.0
SWEEP = 3_600.0
AWAY = 5.0
"""Seconds to wait for a database that is away."""


class Worker:
    """One delivery process. Several may run: cursors are locked, and rows of the outbox are claimed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._news, self._owed = asyncio.Event(), asyncio.Event()
        self._busy: dict[int, asyncio.Task[None]] = {}
        self.beat_at = 0
        """When it last reached Redis, ms UTC."""
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="delivery")
        self._health = deciding.Health()

    @property
    def sending(self) -> int:
        """Messages on their way."""
        return len(self._busy)

    async def run(self) -> None:
        """Deliver until cancelled. What is being sent then is sent to its end, for a few seconds."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(), name="follow")
                for name, every, work in (
                    ("decide", POLL, self._decide),
                    ("health", HEALTH, self._look_at_exchanges),
                    ("beat", BEAT, self._beat),
                    ("silences", SILENCES, self._end_silences),
                    ("sweep", SWEEP, self._sweep),
                ):
                    tasks.create_task(self._forever(every, work, self._news if name == "decide" else None), name=name)
                tasks.create_task(self._forever(OUTBOX_POLL, self._send_what_is_due, self._owed), name="send")
        finally:
            if self._busy:
                await asyncio.wait(self._busy.values(), timeout=5.0)
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _forever(self, every: float, work: Callable[[], Awaitable[None]], wake: asyncio.Event | None) -> None:
        """Do ``work`` again and again; a database or a Redis that is away is waited for."""
        away = False
        while True:
            try:
                await work()
                away = False
            except (DatabaseError, *FAILURES) as error:
                if not away:
                    log.warning("delivery waits: %s", error)
                away = True
                await asyncio.sleep(AWAY)
                continue
            if wake is None:
                await asyncio.sleep(every)
                continue
            try:
                async with asyncio.timeout(every):
                    await wake.wait()
            except TimeoutError:
                continue
            wake.clear()
            if wake is self._news:
                await asyncio.sleep(GATHER)
                wake.clear()

    async def _follow(self) -> None:
        async with bus.following([keys.channel_alerts("*")]) as messages:
            async for _ in messages:
                self._news.set()

    async def _decide(self) -> None:
        for exchange_id in await db(deciding.exchanges_behind)():
            while (notes := await db(deciding.decide)(exchange_id, now_ms())) is not None:
                self._owed.set()
                await self._tell_pages(notes)

    async def _look_at_exchanges(self) -> None:
        exchange_ids = await db(deciding.active_exchanges)()
        states = await asyncio.to_thread(exchange_statuses, exchange_ids)
        notes = await db(self._health.look)({name: str(one.get("state") or "offline") for name, one in states.items()}, states, now_ms())
        if notes:
            self._owed.set()
            await self._tell_pages(notes)

    async def _tell_pages(self, notes: list[tuple[int, NotifyMessage]]) -> None:
        """Open pages hear at once, or never: what matters is in the database and in the outbox."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for user_id, note in notes:
                    pipe.publish(keys.channel_user_alerts(user_id), bus.encode(note))
                await pipe.execute()
        except FAILURES as error:
            log.warning("open pages were not notified: %s", error)

    # Sending

    async def _send_what_is_due(self) -> None:
        free = THREADS - len(self._busy)
        if free <= 0:
            return
        for job in await db(delivery_services.deliveries_claim)(now=now_ms(), most=free, busy=list(self._busy)):
            task = asyncio.create_task(self._send(job), name=f"delivery {job.pk}")
            self._busy[job.channel_id] = task

    async def _send(self, job: Job) -> None:
        try:
            await self._send_and_note(job)
        finally:
            self._busy.pop(job.channel_id, None)
            self._owed.set()

    async def _send_and_note(self, job: Job) -> None:
        outcome = await asyncio.get_running_loop().run_in_executor(self._pool, self._send_now, job)
        while True:
            try:
                after = await db(delivery_services.delivery_finish)(job=job, outcome=outcome, now=now_ms())
                break
            except DatabaseError as error:  # it is out: not to note it would send it again
                log.warning("what became of delivery %d cannot be noted yet: %s", job.pk, error)
                await asyncio.sleep(1.0)
        if not outcome.ok:
            log.info("delivery %d (%s): %s; %s", job.pk, job.kind, outcome.error, after)
        await self._count(job, after)

    @staticmethod
    def _send_now(job: Job) -> Outcome:
        reach = replace(of_users(), tls=not settings.DEMO)
        return sending.send(job.kind, job.url, job.message, site=settings.SITE_URL, reach=reach, push=job.push)

    async def _count(self, job: Job, after: str) -> None:
        """For /metrics; where Redis is away it is not counted."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                key = keys.delivery_figures()
                pipe.hincrby(key, f"{after}|{job.kind}", 1)
                if after == "sent" and job.about in {"alert", "group"}:
                    dwell = max(0.0, (now_ms() - job.closed_at) / 1000)
                    pipe.hincrbyfloat(key, f"dwell_sum|{job.kind}", dwell)
                    bound = next((f"{bound:g}" for bound in DWELL if dwell <= bound), "+Inf")
                    pipe.hincrby(key, f"dwell|{job.kind}|{bound}", 1)
                await pipe.execute()
        except FAILURES:
            log.debug("a delivery was not counted")

    # Keeping

    async def _beat(self) -> None:
        value = {"host": socket.gethostname(), "pid": os.getpid(), "at": time.time_ns() // 1_000_000}
        await self._redis.set(keys.delivery_beat(), bus.encode(value), ex=BEAT_TTL)
        self.beat_at = now_ms()

    async def _end_silences(self) -> None:
        await db(deciding.silences_sweep)(now_ms())

    async def _sweep(self) -> None:
        await db(delivery_services.deliveries_sweep)(now=now_ms())


async def deliver(watch: Callable[[Worker], None] = lambda worker: None) -> None:
    """Deliver until cancelled. ``watch`` is given who does, to be measured."""
    redis = bus.connect()
    worker = Worker(redis)
    watch(worker)
    try:
        await worker.run()
    finally:
        await redis.aclose()
