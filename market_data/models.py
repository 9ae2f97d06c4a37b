"""How far each series of candles has been evaluated."""

from django.db import models

from exchanges.models import Exchange


class Checkpoint(models.Model):
    """The last evaluated candle of a series, with the exact indicator state and rule memory behind it.

    Written in the transaction that stores the alerts of that candle, so that every closed candle is evaluated exactly once.
    """

    exchange = models.ForeignKey(Exchange, on_delete=models.CASCADE, related_name="checkpoints")
    symbol = models.CharField(max_length=80)
    timeframe = models.CharField(max_length=4)
    open_time = models.BigIntegerField(help_text="Of the last evaluated candle, milliseconds UTC.")
    indicator = models.TextField(help_text="JSON; market_data.macdv restores it.")
    memory = models.TextField(default="{}", help_text="JSON; what the alert rules remember.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["exchange", "symbol", "timeframe"], name="one_checkpoint_a_series")]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.symbol} {self.timeframe} at {self.open_time}"
