"""The rows that migrations bring, for tests that need them: a test with transaction=True empties the database for those after it."""

from importlib import import_module
from types import SimpleNamespace

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import connection

from alerts.models import AlertRule
from exchanges.models import Exchange
from exchanges.seeds import ROWS, exchanges_seed

SEEDS = ("exchanges.migrations.0002_groups", "alerts.migrations.0002_default_rule")
RIGHTS = ("exchanges.migrations.0004_roles", "exchanges.migrations.0007_event_rights", "alerts.migrations.0007_notification_rights")
"""What came later for the groups: given once, as a migration does, to groups that are new."""


KNOWN = ", ".join(sorted(ROWS, key=lambda slug: (ROWS[slug].get("is_sandbox", False), ROWS[slug]["name"])))
"""The seeded exchanges as an error lists them."""


_permissions = 0
"""How many there were when the seeds had run."""


def restore() -> None:
    """Run the seeds again; each leaves alone what is there."""
    global _permissions
    if _are_there():
        return
    exchanges_seed()
    new = not Group.objects.exists()
    for name in (*SEEDS, *RIGHTS) if new else SEEDS:
        import_module(name).seed(apps, SimpleNamespace(connection=connection))
    _permissions = Permission.objects.count()


def _are_there() -> bool:
    """Whether the seeds would find nothing to do: four queries before each test, where they need a hundred to see it."""
    groups = import_module(SEEDS[0])
    return (
        0 < _permissions <= Permission.objects.count()
        and set(groups.GROUPS) <= set(Group.objects.values_list("name", flat=True))
        and AlertRule.objects.filter(name="Default").exists()
        and set(ROWS) <= set(Exchange.objects.values_list("pk", flat=True))
    )
