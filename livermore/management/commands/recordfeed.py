"""``recordfeed EXCHANGE --output FILE``: record what an exchange sends, as it comes."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from livermore import entry, feeds


class Command(BaseCommand):
    help = "Record what an exchange sends, frame by frame, for replayfeed. Beside whatever runs, with connections and a store of its own."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("exchange", metavar="EXCHANGE")
        parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file")
        parser.add_argument("--symbols", nargs="+", default=[], metavar="SYMBOL", help="as the exchange spells them (default: its top N)")
        parser.add_argument("--seconds", type=feeds.positive, metavar="N", help="for how long (default: until Ctrl-C)")
        parser.add_argument(
            "--most", type=feeds.mebibytes, default=feeds.MOST_MEBIBYTES, metavar="MIB", help="end at this size (default: %(default)s MiB)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        (exchange,) = entry.chosen([options["exchange"]])
        symbols = list(dict.fromkeys(options["symbols"]))
        feeds.record_feed(exchange, options["output"], symbols=symbols, seconds=options["seconds"], most=options["most"], out=self.stdout)
