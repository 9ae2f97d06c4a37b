"""Exchanges, and which user uses which of them."""

import simple_history
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from knox.models import AbstractAuthToken
from simple_history.models import HistoricalRecords

from exchanges import validators
from exchanges.adapters import Adapter, adapter_choices, adapter_for
from exchanges.events import Limits
from livermore.fields import EncryptedTextField
from livermore.outbound import LOOPBACK, Reach


def default_timeframes() -> list[str]:
    return ["5m", "15m", "1h", "4h", "1d"]


class Exchange(models.Model):
    """An exchange Livermore can watch (EXC-01). The slug is the ``exchange_id`` of every key, channel and payload."""

    id = models.CharField(
        "slug",
        primary_key=True,
        max_length=40,
        validators=[validators.exchange_slug],
        help_text="Lower case, digits and dashes, e.g. binance-us. It names the Redis keys and cannot be changed.",
    )
    name = models.CharField(max_length=80, unique=True)
    adapter = models.CharField(max_length=40, choices=adapter_choices, help_text="The wire protocol this exchange speaks.")
    websocket_url = models.CharField("websocket URL", max_length=300, validators=[validators.websocket_url])
    rest_url = models.CharField("REST URL", max_length=300, validators=[validators.rest_url])
    limits = models.JSONField(
        "API limits",
        default=dict,
        blank=True,
        validators=[validators.limits],
        help_text='Overrides of the adapter\'s own limits, by name, e.g. {"messages_per_second": 5}.',
    )
    maker_fee = models.DecimalField(
        max_digits=7,
        decimal_places=6,
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="A share: 0.001 is 0.1 %.",
    )
    taker_fee = models.DecimalField(
        max_digits=7,
        decimal_places=6,
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="A share: 0.001 is 0.1 %.",
    )
    geo_restrictions = models.JSONField(
        default=dict,
        blank=True,
        validators=[validators.geo_restrictions],
        help_text='{"deny": ["US"]} or {"allow": ["US"]}, and "note" for a sentence. Two-letter country codes.',
    )
    timeframes = models.JSONField(default=default_timeframes, validators=[validators.timeframes])
    trade_url_template = models.CharField(
        "trade page",
        max_length=300,
        blank=True,
        validators=[validators.trade_url_template],
        help_text="The exchange's own trade page; {base}, {quote}, {symbol} and {base_lower}, {quote_lower}, {symbol_lower} are filled in.",
    )
    top_n = models.PositiveSmallIntegerField(
        "top N",
        default=50,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="How many symbols, by 24 h quote volume, everybody shares.",
    )
    active = models.BooleanField(default=True, help_text="Inactive exchanges are not hosted and not shown.")
    is_sandbox = models.BooleanField(
        "simulated", default=False, help_text="Served by runsandbox over loopback, labelled SIMULATED wherever it shows."
    )
    history = HistoricalRecords()

    class Meta:
        ordering = ["is_sandbox", "name"]
        permissions = [("control_exchange", "Can start and stop exchanges")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        # A form turns an emptied JSON field into None, and validators are not asked about empty values.
        self.limits = self.limits or {}
        self.geo_restrictions = self.geo_restrictions or {}
        errors = validators.exchange_urls(self.adapter, self.websocket_url, self.rest_url, is_sandbox=self.is_sandbox)
        if self.pk == "health":
            errors["id"] = "Choose another one: /api/exchanges/health/ is about all exchanges."
        if errors:
            raise ValidationError(errors)

    @property
    def protocol(self) -> Adapter:
        """The adapter module. Raises LookupError for a name that is not known."""
        return adapter_for(self.adapter)

    @property
    def effective_limits(self) -> Limits:
        """The adapter's limits with this row's overrides."""
        return validators.merged_limits(self.protocol.limits, self.limits)

    @property
    def reach(self) -> Reach:
        """Where its sockets may be opened to, whatever its URLs say by then."""
        return LOOPBACK if self.is_sandbox else Reach(public=True, hosts=frozenset(validators.hosts_of(self.adapter)), tls=True)


class Happening(models.TextChoices):
    """What is noted of an exchange: what its connection became, and what its state became."""

    CONNECTING = "connecting", "connecting"
    CONNECTED = "connected", "connected"
    DISCONNECTED = "disconnected", "disconnected"
    LIVE = "live", "live"
    WARMING = "warming", "warming"
    STALE = "stale", "stale"
    GAP = "gap", "gap"
    HALTED = "halted", "halted"
    IDLE = "idle", "idle"
    OFFLINE = "offline", "offline"


STATES = frozenset({"live", "warming", "stale", "gap", "halted", "idle", "offline"})
"""Those that say what state an exchange is in from then on."""


class ExchangeEvent(models.Model):
    """That the state or the connection of an exchange changed, and why (CTL-04). A record: nobody changes it. Kept for 30 days.

    A state that still holds is marked now and then: where its process dies without a word, ``seen`` says until when it was known to hold.
    """

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="events")
    at = models.BigIntegerField(help_text="Milliseconds UTC.")
    event = models.CharField(max_length=12, choices=Happening)
    reason = models.CharField(max_length=300, blank=True)
    seen = models.BigIntegerField(help_text="Until when it was known to hold. Milliseconds UTC.")

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["exchange", "at"]), models.Index(fields=["seen"])]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.event}"


class KeyState(models.TextChoices):
    """Whether the key a user stored for an exchange can read balances."""

    NONE = "none", "no key"
    UNCHECKED = "unchecked", "not tried yet"
    WORKS = "works", "works"
    FAILED = "failed", "failed"


class UserExchange(models.Model):
    """That a user uses an exchange (EXC-02): to watch it, or to buy there."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="user_exchanges")
    exchange = models.ForeignKey(Exchange, on_delete=models.PROTECT, related_name="user_exchanges")
    is_default = models.BooleanField("own exchange", default=False, help_text="Where this user buys. At most one.")
    watch = models.BooleanField(default=True, help_text="Show this exchange's prices and alerts.")
    api_key = EncryptedTextField("API key", blank=True, default="", help_text="Read-only key. Stored encrypted, never shown again.")
    api_secret = EncryptedTextField("API secret", blank=True, default="")
    api_passphrase = EncryptedTextField("API passphrase", blank=True, default="")
    share_overflow = models.BooleanField(
        "share my signals",
        default=True,
        help_text="Alerts of symbols that only this user watches here also go to everybody who watches the exchange, without the name.",
    )
    taker_fee = models.DecimalField(
        "my taker fee",
        max_digits=7,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="A share: 0.001 is 0.1 %. Empty: the exchange's published one.",
    )
    key_state = models.CharField(max_length=12, choices=KeyState, default=KeyState.NONE, editable=False)
    key_error = models.CharField(max_length=300, blank=True, editable=False, help_text="Why the key does not work, and the fix.")
    key_checked_at = models.BigIntegerField(null=True, editable=False, help_text="Milliseconds UTC.")
    history = HistoricalRecords(
        excluded_fields=["api_key", "api_secret", "api_passphrase", "key_state", "key_error", "key_checked_at"],
    )

    class Meta:
        verbose_name = "user's exchange"
        verbose_name_plural = "users' exchanges"
        ordering = ["user_id", "exchange_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "exchange"],
                name="one_row_a_user_and_exchange",
                violation_error_message="This user has a row for this exchange already: change that one.",
            ),
            models.UniqueConstraint(
                fields=["user"],
                condition=Q(is_default=True),
                name="at_most_one_default_exchange_a_user",
                violation_error_message="This user has another own exchange: untick it there first.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} on {self.exchange}"

    @property
    def has_credentials(self) -> bool:
        return bool(self.api_key and self.api_secret)

    def key_stored(self, *, there: bool) -> None:
        """Note that the credentials are others than before: they have to be tried, if there are any."""
        self.key_state = KeyState.UNCHECKED if there else KeyState.NONE
        self.key_error, self.key_checked_at = "", None


class ApiToken(AbstractAuthToken):  # type: ignore[misc]
    """A program's way in: the hash of a token that its user made, with an end. exchanges/tokens.py."""

    name = models.CharField(max_length=60, help_text="What it is for, so that you know which to revoke.")

    class Meta:
        verbose_name = "API token"
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class Theme(models.TextChoices):
    DARK = "dark", "Dark"
    LIGHT = "light", "Light"
    AUTO = "auto", "As the system"


class Palette(models.TextChoices):
    STANDARD = "standard", "Standard"
    COLOUR_BLIND = "colour-blind", "Colour-blind"


class Preferences(models.Model):
    """How a user wants to be shown things, and what counts as a position (AUTH-03)."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="preferences")
    region = models.CharField(
        max_length=2, blank=True, validators=[validators.region], help_text="Two-letter country code: not every exchange serves every one."
    )
    time_zone = models.CharField(max_length=64, blank=True, validators=[validators.time_zone], help_text="Empty: that of the browser.")
    timeframes = models.JSONField(default=default_timeframes, validators=[validators.known_timeframes])
    minimum_position_value = models.FloatField(
        "minimum position value, $",
        default=10,
        validators=[MinValueValidator(0), MaxValueValidator(1e12)],
        help_text="Holdings that are worth less are dust: they are not watched.",
    )
    show_moves = models.BooleanField(
        "moves elsewhere", default=True, help_text="Say when a coin moves on another exchange and mine has not followed yet."
    )
    theme = models.CharField(max_length=8, choices=Theme, default=Theme.DARK)
    palette = models.CharField(max_length=12, choices=Palette, default=Palette.STANDARD)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"preferences of {self.user}"


simple_history.register(
    User,
    app="exchanges",
    excluded_fields=["password", "last_login"],
    m2m_fields=["groups", "user_permissions"],
    verbose_name="history of a user",
    verbose_name_plural="history of users",
)
