"""``manage.py resetsecondfactor USER``: for who has lost app, key and recovery codes."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Remove every second factor of a user, who then sets up a new one. Make sure that it is the user who asks."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("user")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        row = User.objects.filter(username=user).first()
        if row is None:
            raise CommandError(f"There is no user {user!r}.")
        removed, _ = Authenticator.objects.filter(user=row).delete()
        self.stdout.write(f"{user}: {removed} removed." if removed else f"{user} had no second factor.")
