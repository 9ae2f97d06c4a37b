import django.core.validators
import django.db.models.deletion
import exchanges.adapters
import exchanges.models
import exchanges.validators
import livermore.fields
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Exchange",
            fields=[
                (
                    "id",
                    models.CharField(
                        help_text="Lower case, digits and dashes, e.g. binance-us. It names the Redis keys and cannot be changed.",
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(-[a-z0-9]+)*\\Z", "Use lower-case letters, digits and single dashes, e.g. binance-us."
                            )
                        ],
                        verbose_name="slug",
                    ),
                ),
                ("name", models.CharField(max_length=80, unique=True)),
                (
                    "adapter",
                    models.CharField(
                        choices=exchanges.adapters.adapter_choices, help_text="The wire protocol this exchange speaks.", max_length=40
                    ),
                ),
                (
                    "websocket_url",
                    models.CharField(max_length=300, validators=[exchanges.validators.websocket_url], verbose_name="websocket URL"),
                ),
                ("rest_url", models.CharField(max_length=300, validators=[exchanges.validators.rest_url], verbose_name="REST URL")),
                (
                    "limits",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='Overrides of the adapter\'s own limits, by name, e.g. {"messages_per_second": 5}.',
                        validators=[exchanges.validators.limits],
                        verbose_name="API limits",
                    ),
                ),
                (
                    "maker_fee",
                    models.DecimalField(
                        decimal_places=6,
                        default=0,
                        help_text="A share: 0.001 is 0.1 %.",
                        max_digits=7,
                        validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)],
                    ),
                ),
                (
                    "taker_fee",
                    models.DecimalField(
                        decimal_places=6,
                        default=0,
                        help_text="A share: 0.001 is 0.1 %.",
                        max_digits=7,
                        validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)],
                    ),
                ),
                (
                    "geo_restrictions",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='{"deny": ["US"]} or {"allow": ["US"]}, and "note" for a sentence. Two-letter country codes.',
                        validators=[exchanges.validators.geo_restrictions],
                    ),
                ),
                ("timeframes", models.JSONField(default=exchanges.models.default_timeframes, validators=[exchanges.validators.timeframes])),
                (
                    "trade_url_template",
                    models.CharField(
                        blank=True,
                        help_text="The exchange's own trade page; {base}, {quote}, {symbol} and {base_lower}, {quote_lower}, {symbol_lower} are filled in.",
                        max_length=300,
                        validators=[exchanges.validators.trade_url_template],
                        verbose_name="trade page",
                    ),
                ),
                (
                    "top_n",
                    models.PositiveSmallIntegerField(
                        default=50,
                        help_text="How many symbols, by 24 h quote volume, everybody shares.",
                        validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)],
                        verbose_name="top N",
                    ),
                ),
                ("active", models.BooleanField(default=True, help_text="Inactive exchanges are not hosted and not shown.")),
                (
                    "is_sandbox",
                    models.BooleanField(
                        default=False,
                        help_text="Served by runsandbox over loopback, labelled SIMULATED wherever it shows.",
                        verbose_name="simulated",
                    ),
                ),
            ],
            options={
                "ordering": ["is_sandbox", "name"],
                "permissions": [("control_exchange", "Can start and stop exchanges")],
            },
        ),
        migrations.CreateModel(
            name="UserExchange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "is_default",
                    models.BooleanField(default=False, help_text="Where this user buys. At most one.", verbose_name="own exchange"),
                ),
                ("watch", models.BooleanField(default=True, help_text="Show this exchange's prices and alerts.")),
                (
                    "api_key",
                    livermore.fields.EncryptedTextField(
                        blank=True, default="", help_text="Read-only key. Stored encrypted, never shown again.", verbose_name="API key"
                    ),
                ),
                ("api_secret", livermore.fields.EncryptedTextField(blank=True, default="", verbose_name="API secret")),
                ("api_passphrase", livermore.fields.EncryptedTextField(blank=True, default="", verbose_name="API passphrase")),
                (
                    "exchange",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="user_exchanges", to="exchanges.exchange"),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="user_exchanges", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name": "user's exchange",
                "verbose_name_plural": "users' exchanges",
                "ordering": ["user_id", "exchange_id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "exchange"),
                        name="one_row_a_user_and_exchange",
                        violation_error_message="This user has a row for this exchange already: change that one.",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("user",),
                        name="at_most_one_default_exchange_a_user",
                        violation_error_message="This user has another own exchange: untick it there first.",
                    ),
                ],
            },
        ),
    ]
