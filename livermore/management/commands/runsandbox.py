"""``manage.py runsandbox``: simulated exchanges on this machine."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from exchanges.sandbox.clock import SandboxError
from exchanges.sandbox.faults import KINDS
from exchanges.sandbox.running import run
from exchanges.sandbox.venues import DEFAULT, NAMES


class Command(BaseCommand):
    help = "Serve a simulated market over loopback, in the wire protocols of the exchanges."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        state = settings.DATA_DIR / "sandbox.json"
        venues = ", ".join(venue.id for venue in DEFAULT)
        add = parser.add_argument
        add("--speed", type=float, default=60.0, help="how many times as fast as real time, up to 1000 (default 60)")
        add("--seed", type=int, default=7, help="another number is another market (default 7)")
        add("--ws-port", type=int, default=8791, help="port of the websockets (default 8791; 0 picks a free one)")
        add("--rest-port", type=int, default=8792, help="port of REST and /control (default 8792; 0 picks a free one)")
        add("--state", type=Path, default=state, help=f"file that keeps market time over restarts (default {state})")
        add("--symbols", type=int, default=24, help="coins a venue lists, 1 to 1000 (default 24)")
        add("--venue", action="append", choices=NAMES, help=f"repeatable (default {venues})")
        add(
            "--rest-limit",
            type=_limit,
            default=0,
            metavar="N",
            help="Coinbase and Kraken: requests a second, Binance: weight a minute; or 'own', the real exchange's, for which the limits of "
            "the row in the admin have to be made as low (default 0, none, as the rows of the simulated exchanges expect)",
        )
        add("--fault", action="append", default=[], metavar="NAME[:KEY=VALUE,…]", help=f"repeatable; one of {', '.join(KINDS)}")
        add("--faults-seed", type=int, metavar="N", help="faults one after another without an end, as this number draws them")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run(
                self._tell,
                speed=options["speed"],
                seed=options["seed"],
                websocket_port=options["ws_port"],
                rest_port=options["rest_port"],
                state=options["state"],
                symbols=options["symbols"],
                venues=options["venue"],
                rest_limit=options["rest_limit"],
                faults=options["fault"],
                faults_seed=options["faults_seed"],
            )
        except SandboxError as error:
            raise CommandError(str(error)) from None

    def _tell(self, line: str) -> None:
        """At once, also into a pipe: whoever started this waits for the line."""
        self.stdout.write(line)
        self.stdout.flush()


def _limit(text: str) -> int | None:
    """None is the exchange's own."""
    return None if text == "own" else int(text)
