"""Who reads the record of what happened to exchanges in the admin. The pages and the API show it to whoever may see exchanges."""

from importlib import import_module

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

_first = import_module("exchanges.migrations.0002_groups")

GROUPS = ("operator", "administrator")
RIGHT = "exchanges.view_exchangeevent"


def seed(apps, schema_editor):
    alias = schema_editor.connection.alias
    create_permissions(installed.get_app_config("exchanges"), verbosity=0, using=alias, apps=apps)
    right = _first._permission(apps.get_model("auth", "Permission").objects.using(alias), RIGHT)
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name__in=GROUPS):
        group.permissions.add(right)


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0006_exchange_events")]

    # Going back keeps the right: the model it is for goes with its own migration.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
