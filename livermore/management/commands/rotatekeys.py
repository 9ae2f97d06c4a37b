"""``manage.py rotatekeys``: encrypt everything that is encrypted anew, with the first of FIELD_KEYS."""

from typing import Any

from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand, CommandError

from livermore.rotation import Unreadable, rotate


class Command(BaseCommand):
    help = "Encrypt stored secrets anew with the first key of FIELD_KEYS. Safe to run again, and while everything runs."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--new-key", action="store_true", help="only print a fresh key, to be put first into FIELD_KEYS")

    def handle(self, *args: Any, new_key: bool, **options: Any) -> None:
        if new_key:
            self.stdout.write(Fernet.generate_key().decode())
            return
        try:
            done = rotate()
        except Unreadable as error:
            raise CommandError(str(error)) from None
        for what, count in done.items():
            self.stdout.write(f"{what}: {count} encrypted anew")
        self.stdout.write("Every secret is under the first key now. The others can leave FIELD_KEYS, once no backup needs them.")
