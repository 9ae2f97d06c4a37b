"""What the commands call: from words on a command line to running exchanges, with errors that say what to do."""

import asyncio
import getpass
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.db import DatabaseError

from alerts import snapshot
from exchanges import control, status
from exchanges.models import Exchange, KeyState
from exchanges.shards import WHOLE, Shard
from exchanges.status import Status
from livermore import embedded, telemetry, tuning
from livermore.bus import FAILURES
from livermore.hosting import Host, Record, Show, host
from symbols import account, wants

if TYPE_CHECKING:
    from alerts.delivery import Worker

log = logging.getLogger(__name__)

BAR_WIDTH = 30
LEAVES_WITHIN = 8.0
"""Seconds within which everything has ended that was told to; more than what it may take at worst."""
METRICS_PORT: dict[str, Any] = {
    "type": int,
    "default": settings.METRICS_PORT,
    "metavar": "N",
    "help": "serve /metrics, /healthz and /readyz of this process on this port of METRICS_HOST; 0 for none (default: METRICS_PORT)",
}
"""The option of the commands that serve no pages."""


@contextmanager
def redis_ready() -> Iterator[None]:
    """Redis for the length of a command: the embedded server, found or started, or the one of REDIS_URL. Raises CommandError."""
    try:
        if settings.REDIS_EMBEDDED:
            with embedded.ensure(settings.DATA_DIR):
                yield
        else:
            embedded.check(settings.REDIS_URL)
            yield
    except embedded.RedisUnavailableError as error:
        raise CommandError(str(error)) from error


def revive_redis() -> None:
    """Start the embedded server again if it is ours and gone; one that somebody else runs is theirs to start."""
    if not settings.REDIS_EMBEDDED:
        return
    try:
        embedded.ensure(settings.DATA_DIR).close()  # our first hold on it keeps it running
    except embedded.RedisUnavailableError as error:
        log.warning("%s", error)


def run_exchanges(
    names: Sequence[str],
    autostart: Sequence[str],
    *,
    out: TextIO,
    user: str = "",
    record: Record | None = None,
    shard: Shard = WHOLE,
    metrics_port: int = 0,
) -> None:
    """Host exchanges until Ctrl-C or SIGTERM, for the system user named, if any (AUTH-01). Needs no browser.

    ``record``: begins a recording of what an exchange sends, at each of its starts. ``shard``: only that part of the symbols of each.
    ``metrics_port``: 0 for none. Raises CommandError for an unknown exchange or user, an unreachable Redis or database, a taken port.
    """
    system_user = find_system_user(user) if user else None
    exchanges = chosen(names or watched_by(system_user), also=autostart)
    if not exchanges:
        raise CommandError("There is no active exchange: switch one on in the admin.")
    with redis_ready():
        if system_user is not None:
            out.write(said_of(system_user, exchanges))
        part = "" if shard.whole else f", of each shard {shard}" if len(exchanges) > 1 else f", shard {shard}"

        def say() -> None:
            out.write(f"Hosting {', '.join(exchange.pk for exchange in exchanges)}{part}. Ctrl-C ends it.")
            if not autostart:
                out.write("All idle: start one with `python manage.py exchangectl start EXCHANGE`, in the admin or on the page.")

        show = progress_bar(sys.stderr) if sys.stderr.isatty() else progress_lines(out)
        asyncio.run(_until_signalled(exchanges, frozenset(autostart), show, record, shard, metrics_port, say))
        out.write("Stopped.")


def run_delivery(*, out: TextIO, metrics_port: int = 0) -> None:
    """Deliver notifications until Ctrl-C or SIGTERM. Raises CommandError for an unreachable Redis or database, a port that is taken."""
    try:
        Exchange.objects.exists()
    except DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error}. Run `python manage.py migrate`, or check DATABASE_URL.") from error
    with redis_ready():
        asyncio.run(_deliver_until_signalled(metrics_port, lambda: out.write("Delivering notifications. Ctrl-C ends it.")))
        out.write("Stopped.")


MAY_START = "exchanges.control_exchange"


def find_system_user(name: str) -> User:
    """The user on whose behalf exchanges run unattended (AUTH-02). Raises CommandError that says what to do."""
    try:
        user = User.objects.filter(username=name).first()
        if user is None:
            able = sorted(one.username for one in User.objects.with_perm(MAY_START, backend="django.contrib.auth.backends.ModelBackend"))
            raise CommandError(
                f"There is no user {name!r}. Name one who may start exchanges ({', '.join(able) or 'there is none yet'}), "
                "or add one: in the admin under Users, with the role operator, or with `python manage.py createsuperuser`. "
                "The name comes from --user, else from LIVERMORE_SYSTEM_USER."
            )
        if not user.is_active:
            raise CommandError(f"{name} is not active: tick “Active” on that user's page in the admin, or name another with --user.")
        if not user.has_perm(MAY_START):
            raise CommandError(f"{name} may not start exchanges: give that user the role operator, or name another with --user.")
    except DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error}. Run `python manage.py migrate`, or check DATABASE_URL.") from error
    return user


def watched_by(user: User | None) -> list[str]:
    """The exchanges to host where none is named: those the system user watches; none for nobody."""
    if user is None:
        return []
    watched = snapshot.exchanges_of(user.pk)
    if not watched:
        raise CommandError(f"{user.username} watches no exchange: name what to host, or let that user watch one in the settings.")
    return watched


def said_of(user: User, exchanges: Sequence[Exchange]) -> str:
    """What is loaded for the system user (AUTH-03), in a line."""
    hosted = {exchange.pk for exchange in exchanges}
    own = [one for one in wants.own_symbols(user_id=user.pk) if one.row.exchange_id in hosted]
    added, held = sum(one.added for one in own), sum(one.quantity is not None for one in own)
    keys = account.exchanges_of(user).filter(exchange__in=exchanges).exclude(key_state=KeyState.NONE).count()
    minimum = account.preferences_of(user).minimum_position_value
    return f"For {user.username}: {added} added symbols, {held} positions from ${minimum:g} up, {keys} keys."


async def _until_signalled(
    exchanges: list[Exchange],
    autostart: frozenset[str],
    show: Show,
    record: Record | None,
    shard: Shard,
    metrics_port: int,
    say: Callable[[], None],
) -> None:
    hosts: list[Host] = []

    def text() -> bytes:
        from livermore import connector_metrics, exposition  # they weigh something, and are off by default

        return exposition.text(lambda: connector_metrics.collect(hosts))

    async with telemetry.serving(metrics_port, text, lambda: telemetry.leases(hosts)):
        await _run(host(exchanges, autostart, show, revive_redis, record, shard, hosts.extend), say)


async def _deliver_until_signalled(metrics_port: int, say: Callable[[], Any]) -> None:
    from alerts.delivery import deliver  # it brings what sends, which no other process needs

    workers: list[Worker] = []

    def text() -> bytes:
        from livermore import connector_metrics, exposition

        return exposition.text(lambda: connector_metrics.of_delivery(workers))

    async with telemetry.serving(metrics_port, text):
        await _run(deliver(workers.append), say)


async def _run(running: Coroutine[Any, Any, None], say: Callable[[], Any]) -> None:
    """Run something until it ends or a signal ends it. ``say``: called once a signal would."""
    tuning.settle()
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, signalled.set)
    say()
    work, told = asyncio.create_task(running), asyncio.create_task(signalled.wait())
    await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    while not work.done():
        work.cancel()
        await asyncio.wait([work], timeout=LEAVES_WITHIN)
        if not work.done():
            # A library that takes a cancellation for an error of its own keeps nobody waiting: it is told again.
            log.warning("does not end: %s", ", ".join(sorted(task.get_name() for task in asyncio.all_tasks() if not task.done())))
    if not work.cancelled():
        work.result()


def control_exchanges(action: str, names: Sequence[str], *, out: TextIO) -> None:
    """Carry out a command for each exchange and print what happened. Raises CommandError where one failed."""
    exchanges = chosen(names)
    with redis_ready():
        if action == "status":
            out.write(status_table(exchanges))
            return
        if not names:
            raise CommandError(f"Name what to {action}: {', '.join(exchange.pk for exchange in exchanges)}.")
        failed = False
        for exchange in exchanges:
            answer = control.request_sync(exchange.pk, action, by=f"{getpass.getuser()} (exchangectl)")
            out.write(f"{exchange.pk}: {answer.message}")
            failed |= not answer.ok
    if failed:
        raise CommandError("Not everything worked; the lines above say why.")


def chosen(names: Sequence[str], also: Sequence[str] = ()) -> list[Exchange]:
    """The exchanges of these names, or all active ones.

    Raises CommandError that lists the known ones: a misspelling has no default.
    """
    try:
        known = {exchange.pk: exchange for exchange in Exchange.objects.all()}
    except DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error}. Run `python manage.py migrate`, or check DATABASE_URL.") from error
    unknown = [name for name in (*names, *also) if name not in known]
    if unknown:
        raise CommandError(f"Unknown exchange: {', '.join(unknown)}. Known: {', '.join(known)}.")
    if names:
        return [known[name] for name in dict.fromkeys((*names, *also))]
    return [exchange for exchange in known.values() if exchange.active or exchange.pk in also]


def status_table(exchanges: Sequence[Exchange]) -> str:
    """A line an exchange: what it is doing, since when, and what is wrong."""
    try:
        found = status.read_all([exchange.pk for exchange in exchanges])
    except FAILURES as error:
        raise CommandError(f"Redis cannot be reached: {error}") from error
    lines = []
    for exchange in exchanges:
        one: dict[str, Any] = found[exchange.pk]
        if not one:
            lines.append(f"{exchange.pk:<20} no process hosts it")
            continue
        beat = (status.now_ms() - (one.get("last_heartbeat") or 0)) / 1000
        where = f"heartbeat {beat:.0f} s ago, process {one.get('pid', 'unknown')} on {one.get('host') or 'an unknown host'}"
        lines.append(f"{exchange.pk:<20} {one['state']:<9} {one['symbols']:>4} symbols, {where}  {one['error']}".rstrip())
    return "\n".join(lines)


def progress_lines(out: TextIO) -> Show:
    """Say every quarter of a warm-up, where nobody looks at a terminal."""
    said: dict[str, int] = {}

    def show(one: Status) -> None:
        quarter = -1 if one.state in {"idle", "offline"} else 4 if one.warmup is None else int(one.warmup * 4)
        if quarter >= 0 and said.get(one.exchange_id, -1) != quarter:
            out.write(f"{one.exchange_id}: warm-up {quarter * 25} %")
            out.flush()
        said[one.exchange_id] = quarter

    return show


def progress_bar(out: TextIO) -> Show:
    """Draw the warm-up of all exchanges in the last line of a terminal."""
    shares: dict[str, float | None] = {}

    def show(one: Status) -> None:
        before = dict(shares)
        shares[one.exchange_id] = one.warmup
        warming = {name: share for name, share in shares.items() if share is not None}
        if shares == before:
            return
        bars = "  ".join(f"{name} {'█' * int(share * BAR_WIDTH):·<{BAR_WIDTH}} {share:4.0%}" for name, share in warming.items())
        out.write(f"\r\x1b[2K{bars}")
        out.flush()

    return show
