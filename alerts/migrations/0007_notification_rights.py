"""Who sees in the admin what became of notifications. What is a user's own goes with the user's settings, as exchanges 0004 has it."""

from importlib import import_module

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

_first = import_module("exchanges.migrations.0002_groups")

GROUPS = ("operator", "administrator")
RIGHTS = ("alerts.view_delivery", "alerts.view_outage")


def seed(apps, schema_editor):
    alias = schema_editor.connection.alias
    create_permissions(installed.get_app_config("alerts"), verbosity=0, using=alias, apps=apps)
    rights = [_first._permission(apps.get_model("auth", "Permission").objects.using(alias), right) for right in RIGHTS]
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name__in=GROUPS):
        group.permissions.add(*rights)


class Migration(migrations.Migration):
    dependencies = [("alerts", "0006_notifications"), ("exchanges", "0007_event_rights")]

    # Going back keeps the rights: the models they are for go with their own migration.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
