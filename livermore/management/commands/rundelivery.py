"""``rundelivery``: tell users of alerts outside the page, through the channels they set up."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from livermore import entry


class Command(BaseCommand):
    help = "Deliver notifications: Discord, Telegram, e-mail, webhooks, browsers. Nothing else waits for it; several may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--metrics-port", **entry.METRICS_PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        entry.run_delivery(out=self.stdout, metrics_port=options["metrics_port"])
