"""What `make run` runs: everything on this machine, over a simulated market, with nothing to set up."""

import asyncio
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError

from exchanges.models import Exchange, UserExchange
from exchanges.sandbox.accounts import demo_credentials
from exchanges.sandbox.venues import BINANCE_US, MOST, Venue, first_venues
from exchanges.seeds import ROWS, SANDBOX
from livermore import embedded
from livermore.supervisor import Child, Say, Supervisor

SIMULATED = ("coinbase-sandbox", "binance-sandbox")
SERVED = (*SIMULATED, "kraken-sandbox")
"""The last one waits for somebody to start it."""
BUYS_ON = "binance-sandbox"
"""Where the demo's user buys, so that signals of the other one show what they are for."""
SANDBOX_PORTS = (8791, 8792)
"""Where `runsandbox` serves by itself, and where the seeded rows point."""
READY_SECONDS = 60.0
ADMIN = "admin"
SNAPSHOTS = ("--websocket-max-message-size", str(16 * 1024 * 1024))
"""daphne's own limit of 1 MiB also holds for what it sends: a page that watches 1,000 symbols would get no snapshot."""


class CannotStartError(Exception):
    """The demo cannot start. The text says why, and what to do."""


def run(*, host: str, port: int, speed: int, exchanges: int, symbols: int | None, installed_in: float, say: Say) -> None:
    """Prepare the database, start everything, say where it is, and keep it up until a signal ends it.

    ``exchanges``: how many simulated ones; ``symbols``: how many coins each lists and has watched, None for the usual ones.
    Raises CannotStartError where that is not possible.
    """
    began = time.monotonic()
    if not settings.DEMO:
        raise CannotStartError("This configuration is not the demo's: set LIVERMORE_DEMO=true, or see docs/operations.md for production")
    page = f"http://{_in_url(host)}:{port}/"
    with _only_one(settings.DATA_DIR / "run" / "demo.lock", page), _redis():
        _require_free(host, port)
        _migrate()
        settings.STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns where there is none
        login = first_login(settings.DATA_DIR / "demo-login.txt")
        lend_simulated_keys()
        websocket_port, rest_port = _free_ports(SANDBOX_PORTS)
        names = simulated_exchanges(exchanges, symbols)
        point_simulated_exchanges(names, websocket_port, rest_port)
        os.environ.setdefault("SITE_URL", page.rstrip("/"))  # for the children: links in messages
        os.environ.setdefault("MARKET_CAP_URL", f"http://127.0.0.1:{rest_port}/coingecko")  # for the children: the sandbox tells them
        supervisor = Supervisor(
            children(host=host, port=port, speed=speed, websocket_port=websocket_port, rest_port=rest_port, names=names, symbols=symbols),
            directory=settings.BASE_DIR,
            log_dir=settings.DATA_DIR / "log",
            say=say,
        )

        async def announce_when_ready() -> None:
            await _answers(f"{page}healthz")
            say(_welcome(page, login, installed_in, time.monotonic() - began, len(names)))

        asyncio.run(supervisor.run(announce_when_ready))
    say("Stopped.")


def children(
    *,
    host: str,
    port: int,
    speed: int,
    websocket_port: int,
    rest_port: int,
    names: Sequence[str] = SIMULATED,
    symbols: int | None = None,
) -> list[Child]:
    """The processes of a running Livermore, with the sandbox beside them."""
    ports = ("--ws-port", str(websocket_port), "--rest-port", str(rest_port))
    market = ("--state", str(settings.DATA_DIR / "sandbox.json"), "--speed", str(speed))
    venues = [word for name in served(names) for word in ("--venue", name)]
    size = [] if symbols is None else ["--symbols", str(symbols)]
    autostart = [word for exchange_id in names for word in ("--autostart", exchange_id)]
    return [
        Child("runsandbox", ("manage.py", "runsandbox", *ports, *market, *venues, *size)),
        Child("runexchange", ("manage.py", "runexchange", *autostart)),
        Child("rundelivery", ("manage.py", "rundelivery")),
        Child("web", ("-m", "daphne", *SNAPSHOTS, "-b", host, "-p", str(port), "livermore.asgi:application")),
    ]


def served(names: Sequence[str]) -> list[str]:
    """What the sandbox serves: what is started, and what waits to be."""
    return list(dict.fromkeys((*names, *SERVED)))


def simulated_exchanges(exchanges: int, symbols: int | None) -> list[str]:
    """Have rows of so many simulated exchanges, active, and watching so many symbols if that is given; returns their names.

    Those of an earlier start with more are switched off.
    """
    venues = first_venues(exchanges)
    for venue in venues:
        if venue.id not in ROWS:
            Exchange.objects.get_or_create(id=venue.id, defaults=_row(venue))
    names = [venue.id for venue in venues]
    more = Exchange.objects.filter(pk__in=[venue.id for venue in first_venues(MOST)], is_sandbox=True).exclude(pk__in=ROWS)
    more.filter(pk__in=names).update(active=True)
    more.exclude(pk__in=names).update(active=False)
    if symbols is not None:
        Exchange.objects.filter(pk__in=names, is_sandbox=True).update(top_n=symbols)
    return names


def _row(venue: Venue) -> dict[str, Any]:
    """The row of a simulated exchange that is not seeded. Where it is served is filled in at each start."""
    return {
        **SANDBOX,
        "name": "Binance.US Sandbox" if venue is BINANCE_US else venue.id.replace("-", " ").title(),
        "adapter": venue.protocol,
        "websocket_url": f"ws://127.0.0.1/{venue.id}",
        "rest_url": f"http://127.0.0.1/{venue.id}",
        "maker_fee": Decimal("0.001"),
        "taker_fee": Decimal("0.002"),
    }


def point_simulated_exchanges(names: Sequence[str], websocket_port: int, rest_port: int) -> None:
    """Let the rows of the simulated exchanges name the ports of this start."""
    for exchange_id in served(names):
        Exchange.objects.filter(pk=exchange_id, is_sandbox=True).update(
            websocket_url=f"ws://127.0.0.1:{websocket_port}/{exchange_id}", rest_url=f"http://127.0.0.1:{rest_port}/{exchange_id}"
        )


def first_login(note: Path) -> str:
    """Make sure that somebody can log in. Returns the words for the terminal.

    The password is made once and noted in a file of its owner's, so that a later start can say it again.
    """
    users = get_user_model()._default_manager
    superuser = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if superuser is None:
        name = next(name for name in _names() if not users.filter(username=name).exists())
        password = readable_password()
        users.create_superuser(name, password=password)
        _write_private(note, password)
        return f"user {name}, password {password}"
    name = superuser.get_username()
    if note.is_file() and superuser.check_password(password := note.read_text().strip()):
        return f"user {name}, password {password}"
    return f"user {name}, password: as you set it (or: manage.py changepassword {name})"


def lend_simulated_keys() -> None:
    """Give the first superuser the demo account of each simulated exchange, so that positions show. Whoever has a row there keeps it."""
    superuser = get_user_model()._default_manager.filter(is_superuser=True, is_active=True).order_by("pk").first()
    for exchange_id in SIMULATED:
        if UserExchange.objects.filter(user=superuser, exchange_id=exchange_id).exists():
            continue
        key = demo_credentials(exchange_id)
        row = UserExchange(user=superuser, exchange_id=exchange_id, api_key=key.key, api_secret=key.secret, api_passphrase=key.passphrase)
        row.is_default = not UserExchange.objects.filter(user=superuser, is_default=True).exists() and exchange_id == BUYS_ON
        row.key_stored(there=True)
        row.save()


def _names() -> Iterator[str]:
    yield ADMIN
    yield from (f"{ADMIN}-{number}" for number in count(2))


def readable_password() -> str:
    """Four pronounceable groups, 60 bits, and nothing to mistake for something else."""
    groups = ("".join(secrets.choice("bdfghjkmnprstvwz") + secrets.choice("aeiou") for _ in range(2)) for _ in range(4))
    return "-".join(groups) + f"-{secrets.randbelow(900) + 100}"


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")


def _welcome(page: str, login: str, installed_in: float, started_in: float, exchanges: int) -> str:
    installed = f"installed in {installed_in:.0f} s, " if installed_in >= 1 else ""
    running = "The simulated Coinbase and Binance" if exchanges == len(SIMULATED) else f"{exchanges} simulated exchanges"
    return (
        f"\nLivermore is at {page} ({installed}started in {started_in:.0f} s)\n"
        f"  {login}\n"
        f"  {running} are running; the real exchanges are listed, and idle.\n"
        f"  Ctrl-C stops everything. Logs are in {settings.DATA_DIR / 'log'}\n"
    )


@contextmanager
def _only_one(path: Path, page: str) -> Iterator[None]:
    """Two starts on one data directory would move the simulated exchanges away under each other."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        raise CannotStartError(f"Livermore keeps its data in {settings.DATA_DIR} and cannot write there: {error}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotStartError(f"Livermore is running already, {lock.read().strip()}: use that one, or stop it first") from None
        lock.truncate(0)
        lock.write(f"at {page} (process {os.getpid()})")
        lock.flush()
        yield


def _require_free(host: str, port: int) -> None:
    """Raise CannotStartError unless the web server will be able to listen there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except PermissionError:
        raise CannotStartError(f"Port {port} is reserved for the system: run make run PORT=8001") from None
    except OSError as error:
        if isinstance(error, socket.gaierror):
            raise CannotStartError(f"{host} is not an address of this machine: use --host 127.0.0.1") from None
        raise CannotStartError(f"Port {port} is taken: stop what uses it, or run make run PORT={port + 1}") from None


def _free_ports(wanted: Sequence[int]) -> Sequence[int]:
    """These ports of 127.0.0.1, or others where somebody listens on one. All are held until the last is found, so that they differ."""
    probes = [_probe(port) for port in wanted]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def _redis() -> Iterator[None]:
    """The embedded server for as long as the demo runs, or the one of REDIS_URL, if it answers."""
    try:
        with _redis_server():
            yield
    except embedded.RedisUnavailableError as error:
        raise CannotStartError(str(error)) from None


def _redis_server() -> AbstractContextManager[object]:
    if settings.REDIS_EMBEDDED:
        return embedded.ensure(settings.DATA_DIR)
    embedded.check(settings.REDIS_URL)
    return nullcontext()


def _migrate() -> None:
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise CannotStartError(f"The database does not answer ({reason}): start it, or correct DATABASE_URL") from None


async def _answers(address: str) -> None:
    """Wait until the web server answers."""
    deadline = time.monotonic() + READY_SECONDS
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while True:
            try:
                if (await client.get(address)).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                raise CannotStartError(f"The page did not answer within {READY_SECONDS:.0f} s: see {settings.DATA_DIR / 'log' / 'web.log'}")
            await asyncio.sleep(0.1)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _probe(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))
