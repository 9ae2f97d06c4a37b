"""The rows that migrations bring, for tests that need them: a test with transaction=True empties the database for those after it."""

from importlib import import_module
from types import SimpleNamespace

from django.apps import apps
from django.db import connection

SEEDS = ("exchanges.migrations.0002_seed_exchanges", "exchanges.migrations.0003_groups", "alerts.migrations.0002_default_rule")


def restore() -> None:
    """Run the seed migrations again; each leaves alone what is there."""
    for name in SEEDS:
        import_module(name).seed(apps, SimpleNamespace(connection=connection))
