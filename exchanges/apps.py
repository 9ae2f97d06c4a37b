from django.apps import AppConfig
from django.db.models.signals import post_migrate

from exchanges.seeds import exchanges_seed


class ExchangesConfig(AppConfig):
    name = "exchanges"
    verbose_name = "Exchanges"

    def ready(self) -> None:
        from exchanges import sessions

        post_migrate.connect(exchanges_seed, sender=self)
        sessions.watch()
