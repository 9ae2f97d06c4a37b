"""Symbols of an exchange, and which of them are watched."""

from urllib.parse import quote

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from exchanges.models import Exchange


class Policy(models.TextChoices):
    """What a person decided about a symbol."""

    AUTO = "auto", "by volume"
    PINNED = "pinned", "always"
    EXCLUDED = "excluded", "never"


class Coin(models.Model):
    """A base asset over all exchanges (DIFF-03). The coins of simulated exchanges are others than the real ones of the same name."""

    code = models.CharField(max_length=40)
    simulated = models.BooleanField(default=False)
    volume_24h = models.FloatField("24 h volume, $", null=True, blank=True, help_text="Over all exchanges; aliases are left out.")
    rank = models.PositiveIntegerField(null=True, blank=True, help_text="By that volume.")
    market_cap = models.FloatField("market cap, $", null=True, blank=True)
    market_cap_at = models.BigIntegerField(null=True, blank=True, help_text="Milliseconds UTC.")

    class Meta:
        ordering = ["simulated", models.F("rank").asc(nulls_last=True), "code"]
        constraints = [models.UniqueConstraint(fields=["code", "simulated"], name="one_row_a_coin")]

    def __str__(self) -> str:
        return f"{self.code} (simulated)" if self.simulated else self.code


class Tier(models.IntegerChoices):
    """Why a symbol is watched."""

    SHARED = 1, "Tier 1"
    OVERFLOW = 2, "Tier 2"


_MARKET = [
    "base", "quote", "tradable", "status", "price", "price_increment", "volume_24h", "quote_volume_24h", "change_24h", "alias_of", "rank",
    "tier", "keeper", "dollar_volume_24h", "spread_bps", "updated_at",
]  # fmt: skip


class Symbol(models.Model):
    """A market of an exchange, in the exchange's own spelling (SYM-01). Written by the connector, but for ``policy``.

    ``keeper`` of a Tier 2 symbol is the user under whose overflow keys its candles stand; all who want the symbol read them there.
    """

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="symbols")
    symbol = models.CharField(max_length=80)
    base = models.CharField(max_length=40)
    quote = models.CharField(max_length=40)
    tradable = models.BooleanField(default=True)
    status = models.CharField(max_length=40, blank=True, help_text="The exchange's own word.")
    price = models.FloatField(null=True, blank=True)
    price_increment = models.CharField(max_length=40, blank=True)
    volume_24h = models.FloatField("24 h volume", null=True, blank=True)
    quote_volume_24h = models.FloatField("24 h quote volume", null=True, blank=True)
    change_24h = models.FloatField("24 h change, %", null=True, blank=True)
    alias_of = models.CharField(max_length=80, blank=True, help_text="The symbol whose book this one shows.")
    rank = models.PositiveIntegerField(null=True, blank=True, help_text="By 24 h quote volume, aliases left out.")
    tier = models.PositiveSmallIntegerField(
        null=True, blank=True, choices=Tier, help_text="1: in everybody's pool; 2: only some users want it; empty: not watched."
    )
    keeper = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False)
    coin = models.ForeignKey(Coin, null=True, blank=True, on_delete=models.SET_NULL, related_name="symbols")
    coin_fixed = models.BooleanField("coin set by hand", default=False, help_text="Else it follows from the base asset.")
    dollar_volume_24h = models.FloatField("24 h volume, $", null=True, blank=True)
    spread_bps = models.FloatField("spread, bps", null=True, blank=True, help_text="As listed; a live one comes with the price.")
    policy = models.CharField(max_length=10, choices=Policy, default=Policy.AUTO)
    updated_at = models.DateTimeField(auto_now=True)
    history = HistoricalRecords(excluded_fields=_MARKET)
    """Who decided what about it. What the exchange tells is not in it, nor who wants the symbol."""

    class Meta:
        ordering = ["exchange_id", "rank", "symbol"]
        constraints = [models.UniqueConstraint(fields=["exchange", "symbol"], name="one_row_an_exchange_and_symbol")]
        indexes = [
            models.Index(fields=["exchange", "tier"]),
            models.Index(fields=["base"]),
            models.Index(fields=["dollar_volume_24h"]),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} on {self.exchange_id}"

    @property
    def trade_url(self) -> str:
        """The exchange's own page of that market; "" where its row names none."""
        words = {"base": self.base, "quote": self.quote, "symbol": self.symbol}
        words |= {f"{name}_lower": word.lower() for name, word in words.items()}
        return self.exchange.trade_url_template.format(**{name: quote(word, safe="") for name, word in words.items()})


class UserSymbol(models.Model):
    """A symbol that a user added by hand (SYM-03)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="added_symbols")
    symbol = models.ForeignKey(Symbol, on_delete=models.CASCADE, related_name="added_by")
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "added symbol"
        ordering = ["user_id", "symbol_id"]
        constraints = [models.UniqueConstraint(fields=["user", "symbol"], name="one_row_a_user_and_symbol")]

    def __str__(self) -> str:
        return f"{self.symbol} for {self.user}"


class Position(models.Model):
    """What a user holds on an exchange (SYM-02): read with the user's own key, or entered by hand.

    ``symbol`` is the market it is watched on, empty where the exchange lists none against dollars. ``value`` in dollars, None where no
    price is known.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="positions")
    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="positions")
    asset = models.CharField(max_length=40)
    quantity = models.FloatField(validators=[MinValueValidator(1e-18), MaxValueValidator(1e18)])
    by_hand = models.BooleanField(default=False)
    symbol = models.ForeignKey(Symbol, null=True, blank=True, on_delete=models.SET_NULL, related_name="held_by", editable=False)
    value = models.FloatField("value, $", null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["user_id", "exchange_id", "asset"]
        constraints = [models.UniqueConstraint(fields=["user", "exchange", "asset", "by_hand"], name="one_row_a_holding")]

    def __str__(self) -> str:
        return f"{self.asset} of {self.user} on {self.exchange_id}"


class PoolChange(models.Model):
    """That a symbol came into the pool, left it, or moved between its tiers, and why (SYM-01). A record: nobody changes it."""

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="pool_changes")
    symbol = models.CharField(max_length=80)
    before = models.PositiveSmallIntegerField(null=True, choices=Tier)
    after = models.PositiveSmallIntegerField(null=True, choices=Tier)
    reason = models.CharField(max_length=120)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["exchange", "at"])]

    def __str__(self) -> str:
        return f"{self.symbol} on {self.exchange_id}: {self.before or 'out'} to {self.after or 'out'}"
