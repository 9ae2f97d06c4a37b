"""Every write of the outbox: claimed, finished and kept by ``UPDATE … WHERE``, so that any number of workers may send.

A message is not sent again once the other end's yes is marked, and whoever marks it holds its claim. A worker that is killed between that
yes and its mark leaves a claim that lapses, and the message goes out a second time: at least once, never lost.
"""

import random
import uuid
from collections.abc import Collection
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Min, Q

from alerts import webpush
from alerts.messages import Message
from alerts.models import ENDED, Delivery, DeliveryState, Kind, NotificationChannel, PushKey
from exchanges.status import now_ms

CLAIM = 120_000
"""Milliseconds a claim holds: longer than a message may take (``sending.SECONDS``), with a slow database behind it."""
MOST_ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = 2_000, 600_000
KEPT = 30 * 86_400_000
DWELL = (1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Upper bounds (s) of the dwell time's histogram: from the close of the candle until the other end has taken the message."""


SUBSCRIPTION_ENDED = "That browser has ended its subscription: switch notifications on in it again, or remove it here."


class Outcome(NamedTuple):
    """What became of a message. ``error``: in words, "" where it was taken. ``again``: another try may help, after ``retry_after`` seconds.

    ``gone``: the other end says that the channel exists no more.
    """

    ok: bool
    error: str = ""
    again: bool = False
    retry_after: float | None = None
    gone: bool = False


class Push(NamedTuple):
    """What Web Push needs besides the subscription."""

    private: str
    subject: str
    tag: str
    silent: bool
    at: int
    ttl: int


class Job(NamedTuple):
    """A claimed row, with all that sending it needs."""

    pk: int
    claim: str
    channel_id: int
    kind: str
    url: str
    about: str
    message: Message
    closed_at: int
    attempts: int
    push: Push | None


def deliveries_claim(*, now: int, most: int, busy: Collection[int] = ()) -> list[Job]:
    """Take up to ``most`` messages that are due, at most one a channel, oldest first; none of channels that are ``busy``."""
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING)
    waiting.filter(expires_at__lt=now).update(state=DeliveryState.EXPIRED)
    due = Q(state=DeliveryState.WAITING, due_at__lte=now) | Q(state=DeliveryState.SENDING, claimed_until__lt=now)
    rows = (
        Delivery.objects.filter(due, channel__hold_until__lte=now, channel__user__is_active=True)
        .filter(Q(channel__enabled=True) | Q(about="test"))
        .exclude(channel__in=list(busy))
        .select_related("channel")
        .order_by("due_at", "pk")[: most * 8]
    )
    jobs: dict[int, Job] = {}
    for row in rows:
        if row.channel_id in jobs or len(jobs) >= most:
            continue
        claim = uuid.uuid4().hex
        taken = Delivery.objects.filter(due, pk=row.pk).update(
            state=DeliveryState.SENDING, claim=claim, claimed_until=now + CLAIM, attempts=F("attempts") + 1
        )
        if taken:
            jobs[row.channel_id] = _job(row, claim, now)
    return list(jobs.values())


def _job(row: Delivery, claim: str, now: int) -> Job:
    channel = row.channel
    push = None
    if channel.kind == Kind.PUSH:
        ttl = max(60, (row.expires_at - now) // 1000)
        subject = settings.SITE_URL or "https://localhost"
        push = Push(push_private_key(), subject, row.key, row.silent, row.closed_at, ttl)
    message = Message(row.title, row.body, row.path)
    return Job(row.pk, claim, channel.pk, channel.kind, channel.url, row.about, message, row.closed_at, row.attempts + 1, push)


def delivery_finish(*, job: Job, outcome: Outcome, now: int) -> str:
    """Note what became of a message. Returns sent, retried, failed, or "lost" where the claim had lapsed and is another's now."""
    ours = Delivery.objects.filter(pk=job.pk, claim=job.claim, state=DeliveryState.SENDING)
    with transaction.atomic():
        if outcome.ok:
            after = "sent"
            changes: dict[str, Any] = {"state": DeliveryState.SENT, "sent_at": now, "last_error": ""}
        elif outcome.again and job.attempts < MOST_ATTEMPTS and job.about != "test":
            after = "retried"
            due = now + wait_after(job.attempts, outcome.retry_after)
            changes = {"state": DeliveryState.WAITING, "due_at": due, "last_error": outcome.error}
        else:
            after = "failed"
            changes = {"state": DeliveryState.FAILED, "last_error": outcome.error}
        if not ours.update(claim="", claimed_until=0, **changes):
            return "lost"
        _note_channel(job, outcome, now, changes.get("due_at", 0))
    return after


def _note_channel(job: Job, outcome: Outcome, now: int, hold_until: int) -> None:
    row = NotificationChannel.objects.filter(pk=job.channel_id)
    if outcome.ok:
        row.update(last_sent_at=now, last_error="", last_error_at=None, hold_until=0)
    elif outcome.gone and job.kind == Kind.PUSH:
        # The browser has unsubscribed, or forgotten us: nothing will ever arrive there again. The address goes, the word stays.
        digest = f"{ENDED}{job.channel_id}"
        row.update(url="", digest=digest, enabled=False, last_error=SUBSCRIPTION_ENDED, last_error_at=now, hold_until=0)
        waiting = Delivery.objects.filter(channel=job.channel_id, state=DeliveryState.WAITING)
        waiting.update(state=DeliveryState.FAILED, last_error=SUBSCRIPTION_ENDED)
    else:
        row.update(last_error=outcome.error, last_error_at=now, hold_until=hold_until)


def wait_after(attempts: int, retry_after: float | None, rng: Any = random.random) -> int:
    """Milliseconds until the next attempt: twice as long each time, between half and all of it; never less than the other end asks for."""
    most = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1))
    own = int(most * (0.5 + rng() / 2))
    return own if retry_after is None else max(own, int(retry_after * 1000) + 250)


def delivery_test(*, channel: NotificationChannel, message: Message, now: int) -> Delivery:
    """A message whose fate is shown to who asked for it. Tried once, at once, whatever the channel is waiting for."""
    NotificationChannel.objects.filter(pk=channel.pk).update(hold_until=0)
    return Delivery.objects.create(
        channel=channel,
        key=f"test:{uuid.uuid4().hex}",
        about="test",
        title=message.title,
        body=message.body,
        path=message.path,
        closed_at=now,
        created_at=now,
        due_at=now,
        expires_at=now + 60_000,
    )


def deliveries_waiting(now: int | None = None) -> tuple[int, int | None]:
    """How many messages are due and not sent, and since when the oldest is (ms UTC)."""
    due = Delivery.objects.filter(state__in=[DeliveryState.WAITING, DeliveryState.SENDING], due_at__lte=now or now_ms())
    found = due.aggregate(rows=Count("pk"), oldest=Min("due_at"))
    return found["rows"], found["oldest"]


def deliveries_sweep(*, now: int) -> None:
    """Forget what is older than 30 days."""
    Delivery.objects.filter(created_at__lt=now - KEPT).delete()


def push_private_key() -> str:
    """The key pair of this installation, made when it is first asked for."""
    row = PushKey.objects.filter(pk=1).first()
    if row is None:
        try:
            with transaction.atomic():
                row = PushKey.objects.create(pk=1, private=webpush.new_private_key())
        except IntegrityError:  # another process was first
            row = PushKey.objects.get(pk=1)
    return row.private
