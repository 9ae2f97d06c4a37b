"""Symbols of an exchange, and which of them are watched."""

from django.db import models

from exchanges.models import Exchange


class Policy(models.TextChoices):
    """What a person decided about a symbol."""

    AUTO = "auto", "by volume"
    PINNED = "pinned", "always"
    EXCLUDED = "excluded", "never"


class Symbol(models.Model):
    """A market of an exchange, in the exchange's own spelling (SYM-01). Written by the connector, but for ``policy``."""

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
    tier = models.PositiveSmallIntegerField(null=True, blank=True, choices=[(1, "Tier 1")], help_text="1: in everybody's pool.")
    policy = models.CharField(max_length=10, choices=Policy, default=Policy.AUTO)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["exchange_id", "rank", "symbol"]
        constraints = [models.UniqueConstraint(fields=["exchange", "symbol"], name="one_row_an_exchange_and_symbol")]
        indexes = [models.Index(fields=["exchange", "tier"]), models.Index(fields=["base"])]

    def __str__(self) -> str:
        return f"{self.symbol} on {self.exchange_id}"
