"""The groups viewer, trader, operator and administrator, each with the rights of the one before it."""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWER = [
    "exchanges.view_exchange",
    "symbols.view_symbol",
    "alerts.view_alert",
    "alerts.view_alertrule",
]
TRADER = [
    *VIEWER,
    "exchanges.view_userexchange",
    "exchanges.add_userexchange",
    "exchanges.change_userexchange",
    "exchanges.delete_userexchange",
]
OPERATOR = [
    *TRADER,
    "exchanges.control_exchange",
    "symbols.change_symbol",
    "market_data.view_checkpoint",
]
ADMINISTRATOR = [
    *OPERATOR,
    "exchanges.add_exchange",
    "exchanges.change_exchange",
    "exchanges.delete_exchange",
    "symbols.delete_symbol",
    "alerts.add_alertrule",
    "alerts.change_alertrule",
    "alerts.delete_alertrule",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "auth.delete_user",
    "auth.view_group",
]
GROUPS = {"viewer": VIEWER, "trader": TRADER, "operator": OPERATOR, "administrator": ADMINISTRATOR}


def seed(apps, schema_editor):
    alias = schema_editor.connection.alias
    # Permissions are otherwise made after the last migration, too late for this one.
    for label in ("auth", "exchanges", "symbols", "market_data", "alerts"):
        create_permissions(installed.get_app_config(label), verbosity=0, using=alias, apps=apps)
    permission = apps.get_model("auth", "Permission").objects.using(alias)
    group = apps.get_model("auth", "Group").objects.using(alias)
    for name, names in GROUPS.items():
        row, created = group.get_or_create(name=name)
        if created:
            row.permissions.set([_permission(permission, name) for name in names])


def _permission(permissions, name):
    app_label, codename = name.split(".")
    return permissions.get(content_type__app_label=app_label, codename=codename)


class Migration(migrations.Migration):
    dependencies = [
        ("exchanges", "0001_initial"),
        ("symbols", "0001_initial"),
        ("market_data", "0001_initial"),
        ("alerts", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    # Going back keeps the groups: they have members.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
