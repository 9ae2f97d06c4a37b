"""``manage.py demo``: what `make run` runs."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from exchanges.sandbox.venues import MOST
from livermore import demo
from livermore.configuration import is_loopback


class Command(BaseCommand):
    help = "Run everything on this machine over a simulated market: database, Redis, sandbox, connectors and pages."
    requires_system_checks: list[str] = []  # runexchange and the web process make them, each for what it uses

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", type=_loopback, default="127.0.0.1", help="where the pages are served (default: %(default)s)")
        parser.add_argument("--port", type=_within(1, 65535), default=8000, help="and on which port (default: %(default)s)")
        parser.add_argument("--speed", type=_within(1, 1000), default=60, help="market minutes a minute (default: %(default)s)")
        parser.add_argument(
            "--exchanges", type=_within(2, MOST), default=2, help=f"simulated exchanges, up to {MOST} (default: %(default)s)"
        )
        parser.add_argument(
            "--symbols", type=_within(1, 1000), help="coins each of them lists, and symbols of it that are watched (default: 24 and 20)"
        )
        parser.add_argument("--installed-in", type=float, default=0, help="seconds that the installation took, to be told")

    def handle(self, **options: Any) -> None:
        try:
            demo.run(
                host=options["host"],
                port=options["port"],
                speed=options["speed"],
                exchanges=options["exchanges"],
                symbols=options["symbols"],
                installed_in=options["installed_in"],
                say=self._say,
            )
        except demo.CannotStartError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped before it was up.", returncode=130) from None

    def _say(self, line: str) -> None:
        try:
            self.stdout.write(line)
            self.stdout.flush()
        except OSError:
            pass  # the terminal is gone; what matters is in the logs


def _loopback(host: str) -> str:
    if not is_loopback(host):
        raise ArgumentTypeError(f"the demo serves this machine only: use 127.0.0.1, not {host}")
    return host.strip("[]")


def _within(lowest: int, highest: int) -> Any:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {highest}")
        return int(text)

    return number
