"""``replayfeed FILE``: put a recorded feed through the same code again."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from livermore import feeds


class Command(BaseCommand):
    help = "Replay a recorded feed: the same file gives the same alerts, at any speed. Nothing of it gets among the live data."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="what recordfeed, or runexchange --record, has written")
        parser.add_argument("--speed", type=feeds.speed, default=0.0, metavar="N|max", help="times as fast as it was (default: max)")
        parser.add_argument(
            "--into", type=Path, metavar="DIRECTORY", help="keep what it gives in this new directory (default: throw it away)"
        )
        parser.add_argument("--alerts", type=Path, metavar="FILE", help="write the alerts there, a line of JSON each; - for here")
        parser.add_argument("--compare", action="store_true", help="with the alerts of the live database over that time")
        parser.add_argument("--damaged", action="store_true", help="replay what is before a damaged place")

    def handle(self, *args: Any, **options: Any) -> None:
        feeds.replay_feed(
            options["file"],
            speed=options["speed"],
            into=options["into"],
            alerts=options["alerts"],
            damaged=options["damaged"],
            compare=options["compare"],
            out=self.stdout,
        )
