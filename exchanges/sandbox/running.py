"""Run a sandbox in the foreground until a signal ends it."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from exchanges.sandbox.accounts import demo_credentials
from exchanges.sandbox.clock import SandboxError
from exchanges.sandbox.faults import parse_fault
from exchanges.sandbox.protocol import rfc3339
from exchanges.sandbox.schedule import Step, markets_of, play, schedule
from exchanges.sandbox.server import Sandbox
from exchanges.sandbox.venues import DEFAULT, Venue, venue_named


def run(
    tell: Callable[[str], object],
    *,
    speed: float,
    seed: int,
    websocket_port: int,
    rest_port: int,
    state: Path | None,
    symbols: int,
    venues: Sequence[str] | None,
    rest_limit: int | None,
    faults: Sequence[str],
    faults_seed: int | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. ``tell`` prints a line. Raises SandboxError, whose message says what to do."""
    chosen = [replace(venue, rest_limit=rest_limit) if rest_limit is not None else venue for venue in _chosen(venues)]
    if rest_limit is not None and rest_limit < 0:
        raise SandboxError("--rest-limit is a number of requests, or 0 for no limit")
    if state is not None:
        state.parent.mkdir(parents=True, exist_ok=True)
    sandbox = Sandbox(chosen, seed=seed, speed=speed, symbols=symbols, state=state, websocket_port=websocket_port, rest_port=rest_port)
    for text in faults:
        try:
            sandbox.faults.set(**parse_fault(text))
        except ValueError as error:
            raise SandboxError(f"--fault {text}: {error}") from None
    asyncio.run(_serve(sandbox, tell, faults_seed))


def _chosen(names: Sequence[str] | None) -> list[Venue]:
    try:
        return [venue_named(name) for name in names] if names else list(DEFAULT)
    except LookupError as error:
        raise SandboxError(str(error)) from None


async def _serve(sandbox: Sandbox, tell: Callable[[str], object], faults_seed: int | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with sandbox:
        tell(f"SIMULATED market, seed {sandbox.seed}, {sandbox.clock.speed:g}x, market time {rfc3339(sandbox.clock.now())}")
        for name in sandbox.venues:
            tell(f"  {name}: {sandbox.websocket_url(name)}  {sandbox.rest_url(name)}")
        tell(f"  faults: {sandbox.control_url}/faults")
        for fault in sandbox.faults.active():
            tell(f"  fault set: {fault.name} {fault.venue}".rstrip())
        for name in sandbox.venues:
            credentials = demo_credentials(name)
            tell(f"  demo account of {name}: key {credentials.key}, secret {credentials.secret}")
        playing = None if faults_seed is None else asyncio.create_task(_play(sandbox, tell, faults_seed))
        await ended.wait()
        if playing is not None:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


async def _play(sandbox: Sandbox, tell: Callable[[str], object], seed: int) -> None:
    """Faults without an end, each told while it is waited for."""

    def told() -> Iterator[Step]:
        for step in schedule(seed, markets_of(sandbox.market.listings.values())):
            tell(f"  at {step.at:.1f} s: {step.name} {step.settings}")
            yield step

    tell(f"  faults of seed {seed}, one after another")
    await play(sandbox.faults, told())
