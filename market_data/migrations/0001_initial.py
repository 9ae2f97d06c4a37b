import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("exchanges", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=80)),
                ("timeframe", models.CharField(max_length=4)),
                ("open_time", models.BigIntegerField(help_text="Of the last evaluated candle, milliseconds UTC.")),
                ("indicator", models.TextField(help_text="JSON; market_data.macdv restores it.")),
                ("memory", models.TextField(default="{}", help_text="JSON; what the alert rules remember.")),
                (
                    "exchange",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="checkpoints", to="exchanges.exchange"),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("exchange", "symbol", "timeframe"), name="one_checkpoint_a_series")],
            },
        ),
    ]
