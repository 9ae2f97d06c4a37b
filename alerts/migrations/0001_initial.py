import alerts.models
import alerts.validators
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("exchanges", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80, unique=True)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "levels",
                    models.JSONField(
                        default=alerts.models.default_levels,
                        help_text="Distances from zero; each works on both sides.",
                        validators=[alerts.validators.levels],
                    ),
                ),
                (
                    "reversal_level",
                    models.FloatField(
                        default=150,
                        help_text="A reversal needs two readings in a row beyond this.",
                        validators=[alerts.validators.positive],
                    ),
                ),
                (
                    "oversold_buffer",
                    models.FloatField(
                        default=5,
                        help_text="Histogram above this percentage of |MACD-V|.",
                        validators=[alerts.validators.percent],
                        verbose_name="oversold buffer, %",
                    ),
                ),
                (
                    "overbought_buffer",
                    models.FloatField(
                        default=3,
                        help_text="Histogram below minus this percentage of |MACD-V|.",
                        validators=[alerts.validators.percent],
                        verbose_name="overbought buffer, %",
                    ),
                ),
                ("timeframes", models.JSONField(default=alerts.models.default_timeframes, validators=[alerts.validators.timeframes])),
                (
                    "cooldown",
                    models.PositiveIntegerField(
                        default=300,
                        help_text="Seconds between two alerts of one kind on one series, by the exchange's clock.",
                        validators=[django.core.validators.MaxValueValidator(604800)],
                        verbose_name="cooldown, s",
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        default=1, editable=False, help_text="Rises with every change; part of an alert's identity."
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="ExchangeSequence",
            fields=[
                (
                    "exchange",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="sequence",
                        serialize=False,
                        to="exchanges.exchange",
                    ),
                ),
                ("last_number", models.BigIntegerField(default=0)),
                (
                    "past_epochs",
                    models.JSONField(default=list, help_text="Of streams before this one: a page that has one may still resume."),
                ),
                (
                    "fence",
                    models.BigIntegerField(default=0, help_text="Rises when a connector takes over; an older one can no longer commit."),
                ),
                ("epoch", models.CharField(blank=True, help_text="Of the Redis stream; changes when it is rebuilt.", max_length=32)),
            ],
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.BigIntegerField()),
                ("uid", models.CharField(max_length=200, unique=True)),
                ("rule_version", models.PositiveIntegerField()),
                ("symbol", models.CharField(max_length=80)),
                ("base", models.CharField(max_length=40)),
                ("quote", models.CharField(max_length=40)),
                ("timeframe", models.CharField(max_length=4)),
                ("alert_type", models.CharField(default="macdv", max_length=20)),
                ("trigger_label", models.CharField(max_length=40)),
                ("direction", models.CharField(choices=[("up", "up"), ("down", "down")], max_length=4)),
                ("trigger_value", models.FloatField()),
                ("previous_value", models.FloatField()),
                ("signal_delta", models.FloatField(help_text="MACD-V minus its signal line.", null=True)),
                ("price", models.FloatField()),
                ("candle_time", models.BigIntegerField(help_text="Open time of the candle, milliseconds UTC.")),
                ("triggered_at", models.BigIntegerField(help_text="Milliseconds UTC.")),
                ("published_at", models.BigIntegerField(null=True)),
                ("delayed", models.BooleanField(default=False)),
                ("revised", models.BooleanField(default=False)),
                ("stage", models.CharField(max_length=12)),
                ("bias", models.CharField(max_length=8)),
                ("timeframes", models.JSONField(default=list)),
                (
                    "exchange",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="alerts", to="exchanges.exchange"),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="alerts", to="alerts.alertrule"
                    ),
                ),
            ],
            options={
                "ordering": ["-triggered_at", "-number"],
                "indexes": [
                    models.Index(fields=["exchange", "symbol", "timeframe", "candle_time"], name="alerts_aler_exchang_7e73d4_idx"),
                    models.Index(fields=["triggered_at"], name="alerts_aler_trigger_5b4eb6_idx"),
                    models.Index(condition=models.Q(("published_at", None)), fields=["exchange"], name="alert_unpublished"),
                ],
                "constraints": [models.UniqueConstraint(fields=("exchange", "number"), name="one_number_an_exchange")],
            },
        ),
    ]
