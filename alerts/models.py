"""Alert rules, the alerts they raised, and the counter that numbers them."""

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models

from alerts import validators
from exchanges.models import Exchange


def default_levels() -> list[int]:
    return [150, 200, 250, 300, 350, 400]


def default_timeframes() -> list[str]:
    return ["5m", "15m", "1h", "4h", "1d"]


class AlertRule(models.Model):
    """When an alert fires. The default rule is domain knowledge: see docs/macdv.md."""

    name = models.CharField(max_length=80, unique=True)
    enabled = models.BooleanField(default=True)
    levels = models.JSONField(
        default=default_levels, validators=[validators.levels], help_text="Distances from zero; each works on both sides."
    )
    reversal_level = models.FloatField(
        default=150, validators=[validators.positive], help_text="A reversal needs two readings in a row beyond this."
    )
    oversold_buffer = models.FloatField(
        "oversold buffer, %", default=5, validators=[validators.percent], help_text="Histogram above this percentage of |MACD-V|."
    )
    overbought_buffer = models.FloatField(
        "overbought buffer, %", default=3, validators=[validators.percent], help_text="Histogram below minus this percentage of |MACD-V|."
    )
    timeframes = models.JSONField(default=default_timeframes, validators=[validators.timeframes])
    cooldown = models.PositiveIntegerField(
        "cooldown, s",
        default=300,
        validators=[MaxValueValidator(604_800)],
        help_text="Seconds between two alerts of one kind on one series, by the exchange's clock.",
    )
    version = models.PositiveIntegerField(default=1, editable=False, help_text="Rises with every change; part of an alert's identity.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ExchangeSequence(models.Model):
    """One row an exchange, locked by every commit: numbers the alerts and fences off an older connector."""

    exchange = models.OneToOneField(Exchange, primary_key=True, on_delete=models.CASCADE, related_name="sequence")
    last_number = models.BigIntegerField(default=0)
    fence = models.BigIntegerField(default=0, help_text="Rises when a connector takes over; an older one can no longer commit.")
    past_epochs = models.JSONField(default=list, help_text="Of streams before this one: a page that has one may still resume.")
    epoch = models.CharField(max_length=32, blank=True, help_text="Of the Redis stream; changes when it is rebuilt.")

    def __str__(self) -> str:
        return f"{self.exchange_id} at {self.last_number}"


class AlertQuerySet(models.QuerySet["Alert"]):
    def visible_to(self, user_id: int | None) -> "AlertQuerySet":
        """What that user may see: what is shared, and what is the user's own. None: what everybody may see.

        Without its ``record``, which is read one at a time.
        """
        rows = self.defer("record")
        if user_id is None:
            return rows.filter(shared=True)
        own = Alert.owners.through.objects.filter(alert_id=models.OuterRef("pk"), user_id=user_id)
        return rows.filter(models.Q(shared=True) | models.Exists(own))

    def by_uid(self, uid: str) -> "Alert | None":
        """PostgreSQL refuses a NUL in a text; no uid has one."""
        return None if "\0" in uid else self.filter(uid=uid).first()


class Alert(models.Model):
    """A signal on a closed candle. ``number`` is gap-free per exchange and is the ``id`` of the payload."""

    exchange = models.ForeignKey(Exchange, on_delete=models.PROTECT, related_name="alerts")
    number = models.BigIntegerField()
    uid = models.CharField(max_length=200, unique=True)
    rule = models.ForeignKey(AlertRule, null=True, on_delete=models.SET_NULL, related_name="alerts")
    rule_version = models.PositiveIntegerField()
    symbol = models.CharField(max_length=80)
    base = models.CharField(max_length=40)
    quote = models.CharField(max_length=40)
    timeframe = models.CharField(max_length=4)
    alert_type = models.CharField(max_length=20, default="macdv")
    trigger_label = models.CharField(max_length=40)
    direction = models.CharField(max_length=4, choices=[("up", "up"), ("down", "down")])
    trigger_value = models.FloatField()
    previous_value = models.FloatField()
    signal_delta = models.FloatField(null=True, help_text="MACD-V minus its signal line.")
    price = models.FloatField()
    candle_time = models.BigIntegerField(help_text="Open time of the candle, milliseconds UTC.")
    triggered_at = models.BigIntegerField(help_text="Milliseconds UTC.")
    committed_at = models.BigIntegerField(null=True, help_text="When its transaction was through, as far as its process lived to say.")
    published_at = models.BigIntegerField(null=True)
    delayed = models.BooleanField(default=False)
    revised = models.BooleanField(default=False)
    stage = models.CharField(max_length=12)
    bias = models.CharField(max_length=8)
    timeframes = models.JSONField(default=list)
    elsewhere = models.JSONField(default=list, help_text="The same coin on other exchanges when the alert went out.")
    overflow = models.BooleanField(default=False, help_text="Of a symbol outside Tier 1.")
    shared = models.BooleanField(default=True, help_text="Shown to everybody who watches the exchange, not to its owners only.")
    owners = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="own_alerts", blank=True, help_text="Who may see it where it is not shared."
    )
    record = models.JSONField(null=True, help_text="What it was decided from, as it was then: alerts/receipts.py. None on old ones.")

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-triggered_at", "-number"]
        constraints = [models.UniqueConstraint(fields=["exchange", "number"], name="one_number_an_exchange")]
        indexes = [
            models.Index(fields=["exchange", "symbol", "timeframe", "candle_time"]),
            models.Index(fields=["triggered_at"]),
            models.Index(fields=["exchange"], condition=models.Q(published_at=None), name="alert_unpublished"),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} #{self.number} {self.symbol} {self.timeframe} {self.trigger_label}"
