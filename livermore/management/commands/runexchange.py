"""``runexchange [EXCHANGE…] [--autostart EXCHANGE]… [--user NAME] [--shard 2/4]``: host exchanges, idle until told to start."""

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from exchanges.shards import WHOLE, Shard
from livermore import entry, feeds


def shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


class Command(BaseCommand):
    help = "Host exchanges and run their connectors. They are idle until started from the admin, the page, the API or exchangectl."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("exchanges", nargs="*", metavar="EXCHANGE", help="what to host; all active exchanges by default")
        parser.add_argument(
            "--user",
            default=settings.SYSTEM_USER,
            metavar="NAME",
            help="run for this user, unattended: hosts what the user watches where no exchange is named (default: LIVERMORE_SYSTEM_USER)",
        )
        parser.add_argument(
            "--record", type=Path, metavar="DIRECTORY", help="record what each started exchange sends, a file a start, for replayfeed"
        )
        parser.add_argument(
            "--shard",
            type=shard,
            default=WHOLE,
            metavar="I/N",
            help="only the I-th of N parts of the symbols, e.g. 2/4; each part needs a process, and may have another as its standby",
        )
        parser.add_argument("--metrics-port", **entry.METRICS_PORT)
        parser.add_argument("--autostart", action="append", default=[], metavar="EXCHANGE", help="start this one at once; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        record = feeds.recorders_in(options["record"]) if options["record"] else None
        entry.run_exchanges(
            options["exchanges"],
            options["autostart"],
            user=options["user"],
            out=self.stdout,
            record=record,
            shard=options["shard"],
            metrics_port=options["metrics_port"],
        )
