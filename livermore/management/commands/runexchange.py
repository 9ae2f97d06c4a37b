"""``runexchange [EXCHANGE…] [--autostart EXCHANGE]…``: host exchanges, idle until told to start."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from livermore import entry


class Command(BaseCommand):
    help = "Host exchanges and run their connectors. They are idle until started from the admin, the page, the API or exchangectl."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("exchanges", nargs="*", metavar="EXCHANGE", help="what to host; all active exchanges by default")
        parser.add_argument("--autostart", action="append", default=[], metavar="EXCHANGE", help="start this one at once; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        entry.run_exchanges(options["exchanges"], options["autostart"], out=self.stdout)
