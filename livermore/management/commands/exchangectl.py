"""``exchangectl ACTION EXCHANGE…``: start, stop and restart hosted exchanges, and see how they are."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from exchanges.control import ACTIONS
from livermore import entry


class Command(BaseCommand):
    help = "Tell the process that hosts an exchange what to do, and print what happened."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["status", *ACTIONS])
        parser.add_argument("exchanges", nargs="*", metavar="EXCHANGE", help="which; for status all active exchanges by default")

    def handle(self, *args: Any, **options: Any) -> None:
        entry.control_exchanges(options["action"], options["exchanges"], out=self.stdout)
