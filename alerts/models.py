"""Alert rules, the alerts they raised, and the counter that numbers them."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from alerts import validators
from alerts.policy import Repeat
from exchanges.models import Exchange
from exchanges.validators import time_zone
from livermore.fields import EncryptedTextField


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
    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ExchangeSequence(models.Model):
    """One row an exchange, locked by every commit: numbers the alerts and fences off an older connector."""

    exchange = models.OneToOneField(Exchange, primary_key=True, on_delete=models.CASCADE, related_name="sequence")
    last_number = models.BigIntegerField(default=0)
    fence = models.BigIntegerField(default=0, help_text="Rises when a connector takes over; an older one can no longer commit.")
    fences = models.JSONField(default=dict, help_text="Shard, 1/1 for the whole -> the fence of the connector that may commit for it.")
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


_SIFTED = ["timeframe", "trigger_label", "direction"]


class Alert(models.Model):
    """A signal on a closed candle. ``number`` is gap-free per exchange and is the ``id`` of the payload."""

    exchange = models.ForeignKey(Exchange, on_delete=models.PROTECT, related_name="alerts", db_index=False)  # led by it are several
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
            models.Index(fields=["exchange", "number"], condition=models.Q(published_at=None), name="alert_waiting"),
            # The lists, newest first: what leads is what is searched by, what follows the number is read out of the index while rows that
            # do not match are skipped. A row with all it carries is 2 kB, its line in an index a tenth of a kB.
            models.Index(fields=["triggered_at", "number", "exchange", *_SIFTED, "delayed", "revised", "shared"], name="alert_newest"),
            models.Index(fields=["exchange", "triggered_at", "number", *_SIFTED, "delayed", "revised", "shared"], name="alert_of_exchange"),
            models.Index(fields=["symbol", "triggered_at", "number", "exchange", *_SIFTED, "shared"], name="alert_of_symbol"),
            models.Index(fields=["timeframe", "triggered_at", "number", "exchange", "trigger_label", "shared"], name="alert_of_timeframe"),
            models.Index(fields=["trigger_label", "triggered_at", "number", "exchange", "timeframe", "shared"], name="alert_of_label"),
            models.Index(fields=["candle_time", "number", "exchange", *_SIFTED, "shared"], name="alert_by_candle"),
            models.Index(fields=["exchange", "candle_time", "number", "shared"], name="alert_of_exchange_by_candle"),
            models.Index(fields=["number"], name="alert_by_number"),
            models.Index(fields=["triggered_at", "number"], condition=models.Q(delayed=True), name="alert_delayed"),
            models.Index(fields=["triggered_at", "number"], condition=models.Q(revised=True), name="alert_revised"),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} #{self.number} {self.symbol} {self.timeframe} {self.trigger_label}"


# What is told outside the page (docs/notifications.md). Times are milliseconds UTC.


def default_told_timeframes() -> list[str]:
    return ["1h", "4h", "1d"]


class NotificationSettings(models.Model):
    """When a user wants to be left alone. No row: the defaults, and no word to open pages."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="notification_settings")
    pages = models.BooleanField("open pages", default=False, help_text="Open pages notify and sound, where their browser was told to.")
    health = models.BooleanField("outages", default=True, help_text="One message when an exchange goes dark, one when it is back.")
    quiet_from = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(1439)], help_text="Minutes of the day."
    )
    quiet_to = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MaxValueValidator(1439)])
    zone = models.CharField(
        max_length=64, blank=True, validators=[time_zone], help_text="Of the quiet hours, where none is set for the pages."
    )
    group_from = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(2), MaxValueValidator(100)],
        help_text="From so many symbols of one exchange going one way within a minute on, one message for all of them.",
    )

    class Meta:
        verbose_name_plural = "notification settings"
        constraints = [
            models.CheckConstraint(
                name="quiet_hours_begin_and_end",
                condition=models.Q(quiet_from=None, quiet_to=None) | models.Q(quiet_from__isnull=False, quiet_to__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"notifications of {self.user}"


class RepeatPolicy(models.Model):
    """How often the alerts of one rule are told to a user. No row: once until the stage changes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="repeat_policies")
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="repeat_policies")
    repeat = models.CharField(max_length=8, choices=[(one.value, one.words) for one in Repeat], default=Repeat.STAGE.value)

    class Meta:
        verbose_name_plural = "repeat policies"
        constraints = [models.UniqueConstraint(fields=["user", "rule"], name="one_repeat_policy_a_rule")]

    def __str__(self) -> str:
        return f"{self.rule} {self.repeat}"


class Kind(models.TextChoices):
    """What a channel leads to."""

    DISCORD = "discord", "Discord"
    TELEGRAM = "telegram", "Telegram"
    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"
    OTHER = "other", "Another service"
    PUSH = "push", "This browser"


ENDED = "ended:"
"""Begins the digest of a channel that leads nowhere any more."""


class NotificationChannel(models.Model):
    """Where a user is told of alerts. Its ``url`` is a secret: it goes in, and only what sends reads it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notification_channels")
    kind = models.CharField(max_length=8, choices=Kind)
    name = models.CharField(max_length=80)
    url = EncryptedTextField(help_text="An Apprise URL, or the push subscription as JSON. Stored encrypted, never shown again.")
    service = models.CharField(max_length=80, blank=True, help_text="What the URL leads to, without anything secret.")
    digest = models.CharField(max_length=64, help_text="Keyed hash of the URL, to find it again.")
    enabled = models.BooleanField(default=True)
    timeframes = models.JSONField(default=default_told_timeframes, validators=[validators.timeframes])
    mine_only = models.BooleanField("mine only", default=False, help_text="Only symbols that the user holds or added.")
    created_at = models.BigIntegerField()
    hold_until = models.BigIntegerField(default=0, help_text="Nothing goes out before: a failure is waited out.")
    last_sent_at = models.BigIntegerField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    last_error_at = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="one_channel_a_user_and_url")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.user_id}"

    @property
    def ended(self) -> bool:
        """Whether a browser has ended its subscription: the row stays to say so, its address is gone."""
        return self.digest.startswith(ENDED)


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "waiting"
    SENDING = "sending", "being sent"
    SENT = "sent", "sent"
    FAILED = "failed", "failed"
    EXPIRED = "expired", "too late"


class Delivery(models.Model):
    """The outbox: one message to one channel. Claimed and finished by ``UPDATE … WHERE``, so that several workers may send."""

    channel = models.ForeignKey(NotificationChannel, on_delete=models.CASCADE, related_name="deliveries")
    key = models.CharField(max_length=260, help_text="What it tells: the uid of an alert, or a group, an outage or a test.")
    about = models.CharField(max_length=8, choices=[(word, word) for word in ("alert", "group", "health", "test")])
    exchange = models.ForeignKey(Exchange, null=True, on_delete=models.CASCADE, related_name="+")
    direction = models.CharField(max_length=4, blank=True)
    facts = models.JSONField(default=list, help_text="The alerts it tells of, as the message needs them.")
    title = models.CharField(max_length=200)
    body = models.TextField()
    path = models.CharField(max_length=400, help_text="Of the page about it.")
    silent = models.BooleanField(default=False)
    closed_at = models.BigIntegerField(help_text="When the (first) candle closed.")
    created_at = models.BigIntegerField()
    due_at = models.BigIntegerField(help_text="Not before.")
    expires_at = models.BigIntegerField(help_text="Not after: nobody wants to be told of it then.")
    state = models.CharField(max_length=8, choices=DeliveryState, default=DeliveryState.WAITING)
    claim = models.CharField(max_length=32, blank=True)
    claimed_until = models.BigIntegerField(default=0, help_text="When the claim of a worker that was killed lapses.")
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)
    sent_at = models.BigIntegerField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["channel", "key"], name="one_delivery_a_channel_and_key")]
        indexes = [
            models.Index(fields=["state", "due_at"], name="delivery_by_state"),
            models.Index(fields=["created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.about} {self.pk} {self.state}"


class DeliveryCursor(models.Model):
    """Up to which alert of an exchange it has been decided who is told. Locked by every decision."""

    exchange = models.OneToOneField(Exchange, primary_key=True, on_delete=models.CASCADE, related_name="delivery_cursor")
    number = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.exchange_id} at {self.number}"


class Told(models.Model):
    """Of what of a series a user was told last."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="+")
    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="+")
    symbol = models.CharField(max_length=80)
    timeframe = models.CharField(max_length=4)
    stage = models.CharField(max_length=12)
    candle_time = models.BigIntegerField()
    at = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "told"
        constraints = [
            models.UniqueConstraint(fields=["user", "rule", "exchange", "symbol", "timeframe"], name="one_told_a_user_and_series")
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe}"


class Silence(models.Model):
    """A user has seen a series (``ack``: until its stage changes), or wants none of a symbol for a while (``snooze``)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="silences")
    kind = models.CharField(max_length=6, choices=[("ack", "acknowledged"), ("snooze", "snoozed")])
    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="+")
    symbol = models.CharField(max_length=80)
    timeframe = models.CharField(max_length=4, blank=True, help_text="Empty: all of them.")
    stage = models.CharField(max_length=12, blank=True, help_text="Of an acknowledged series: while it lasts.")
    candle_time = models.BigIntegerField(default=0)
    until = models.BigIntegerField(null=True, help_text="Of a snooze.")
    created_at = models.BigIntegerField()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["user", "kind", "exchange", "symbol", "timeframe"], name="one_silence_a_user_and_series")
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.kind}"


class Outage(models.Model):
    """An exchange that was live went dark. Its symbols' alerts of that time are in the history; one message says so."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="outages")
    began_at = models.BigIntegerField()
    reason = models.CharField(max_length=300, blank=True)
    told_at = models.BigIntegerField(null=True)
    ended_at = models.BigIntegerField(null=True)
    inhibited = models.PositiveIntegerField(default=0, help_text="Alerts that were not told because of it.")

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(fields=["exchange"], condition=models.Q(ended_at=None), name="one_open_outage_an_exchange"),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} since {self.began_at}"


class PushKey(models.Model):
    """The key pair with which this installation signs its push messages (VAPID, RFC 8292). One row, made once."""

    private = EncryptedTextField(help_text="PEM. Browsers that subscribed know its public half: a new one ends all their subscriptions.")

    def __str__(self) -> str:
        return "push key"
