"""What the groups may do with what came since 0002: settings of one's own, positions, added symbols. And keys that are there, to be tried."""

from importlib import import_module

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

_first = import_module("exchanges.migrations.0002_groups")

VIEWER = ["exchanges.view_preferences", "exchanges.change_preferences", "symbols.view_usersymbol", "symbols.view_position"]
TRADER = [
    *VIEWER,
    *(f"symbols.{verb}_{model}" for model in ("usersymbol", "position") for verb in ("add", "change", "delete")),
]
OPERATOR = [*TRADER, "symbols.view_coin", "symbols.view_poolchange"]
ADMINISTRATOR = [*OPERATOR, "symbols.change_coin"]
GROUPS = {"viewer": VIEWER, "trader": TRADER, "operator": OPERATOR, "administrator": ADMINISTRATOR}


def seed(apps, schema_editor):
    alias = schema_editor.connection.alias
    for label in ("exchanges", "symbols"):
        create_permissions(installed.get_app_config(label), verbosity=0, using=alias, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.using(alias)
    groups = apps.get_model("auth", "Group").objects.using(alias)
    for name, names in GROUPS.items():
        for group in groups.filter(name=name):
            group.permissions.add(*[_first._permission(permissions, right) for right in names])


def try_stored_keys(apps, schema_editor):
    rows = apps.get_model("exchanges", "UserExchange").objects.using(schema_editor.connection.alias)
    rows.exclude(api_key="").exclude(api_secret="").update(key_state="unchecked")  # nosec B106  # no password


class Migration(migrations.Migration):
    dependencies = [
        ("exchanges", "0003_preferences_and_keys"),
        ("symbols", "0002_coins_wants_and_pool_changes"),
    ]

    # Going back keeps the rights: the models they are for go with their own migrations.
    operations = [
        migrations.RunPython(seed, migrations.RunPython.noop),
        migrations.RunPython(try_stored_keys, migrations.RunPython.noop),
    ]
