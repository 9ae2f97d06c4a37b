import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("exchanges", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Symbol",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=80)),
                ("base", models.CharField(max_length=40)),
                ("quote", models.CharField(max_length=40)),
                ("tradable", models.BooleanField(default=True)),
                ("status", models.CharField(blank=True, help_text="The exchange's own word.", max_length=40)),
                ("price", models.FloatField(blank=True, null=True)),
                ("price_increment", models.CharField(blank=True, max_length=40)),
                ("volume_24h", models.FloatField(blank=True, null=True, verbose_name="24 h volume")),
                ("quote_volume_24h", models.FloatField(blank=True, null=True, verbose_name="24 h quote volume")),
                ("change_24h", models.FloatField(blank=True, null=True, verbose_name="24 h change, %")),
                ("alias_of", models.CharField(blank=True, help_text="The symbol whose book this one shows.", max_length=80)),
                ("rank", models.PositiveIntegerField(blank=True, help_text="By 24 h quote volume, aliases left out.", null=True)),
                (
                    "tier",
                    models.PositiveSmallIntegerField(blank=True, choices=[(1, "Tier 1")], help_text="1: in everybody's pool.", null=True),
                ),
                (
                    "policy",
                    models.CharField(
                        choices=[("auto", "by volume"), ("pinned", "always"), ("excluded", "never")], default="auto", max_length=10
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "exchange",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="symbols", to="exchanges.exchange"),
                ),
            ],
            options={
                "ordering": ["exchange_id", "rank", "symbol"],
                "indexes": [
                    models.Index(fields=["exchange", "tier"], name="symbols_sym_exchang_f3929f_idx"),
                    models.Index(fields=["base"], name="symbols_sym_base_f17f6a_idx"),
                ],
                "constraints": [models.UniqueConstraint(fields=("exchange", "symbol"), name="one_row_an_exchange_and_symbol")],
            },
        ),
    ]
