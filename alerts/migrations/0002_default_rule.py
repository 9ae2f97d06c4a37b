"""The rule everybody starts with; its figures are the model's defaults of this day."""

from django.db import migrations

DEFAULT = {
    "enabled": True,
    "levels": [150, 200, 250, 300, 350, 400],
    "reversal_level": 150,
    "oversold_buffer": 5,
    "overbought_buffer": 3,
    "timeframes": ["5m", "15m", "1h", "4h", "1d"],
    "cooldown": 300,
}


def seed(apps, schema_editor):
    rules = apps.get_model("alerts", "AlertRule").objects.using(schema_editor.connection.alias)
    rules.get_or_create(name="Default", defaults=DEFAULT)


class Migration(migrations.Migration):
    dependencies = [("alerts", "0001_initial")]

    # Going back keeps the rule: alerts refer to it.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
