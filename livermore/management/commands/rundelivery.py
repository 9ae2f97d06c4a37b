"""``rundelivery``: tell users of alerts outside the page, through the channels they set up."""

from typing import Any

from django.core.management.base import BaseCommand

from livermore import entry


class Command(BaseCommand):
    help = "Deliver notifications: Discord, Telegram, e-mail, webhooks, browsers. Nothing else waits for it; several may run."

    def handle(self, *args: Any, **options: Any) -> None:
        entry.run_delivery(out=self.stdout)
