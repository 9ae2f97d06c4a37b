"""Symbols, and what users want of them, as the API shows them."""

from typing import Any

from rest_framework import serializers

from exchanges.models import Exchange
from exchanges.services import exchange_get
from symbols import tiers
from symbols.models import Policy, Position, Symbol, Tier
from symbols.wants import LONGEST_SPELLING, MOST_LINES


class SymbolSerializer(serializers.ModelSerializer):
    """A market with its figures. What is not known is null. ``tickers`` in the context: the live price by (exchange id, symbol)."""

    exchange_id = serializers.CharField(read_only=True)
    tier = serializers.SerializerMethodField(
        help_text="1: everybody's; 2: watched because you hold or added it; null: not watched for you."
    )
    added = serializers.BooleanField(default=False, help_text="You added it.")
    held = serializers.BooleanField(default=False, help_text="You hold it.")
    spread_bps = serializers.FloatField(allow_null=True, help_text="Between best bid and ask.")
    liquidity = serializers.SerializerMethodField(help_text="A (deep) to E (thin), by 24 h volume and spread.")
    coin_volume_24h = serializers.FloatField(
        source="coin.volume_24h", allow_null=True, default=None, help_text="Dollars, over all exchanges."
    )
    coin_rank = serializers.IntegerField(source="coin.rank", allow_null=True, default=None, help_text="By that volume.")
    market_cap = serializers.FloatField(source="coin.market_cap", allow_null=True, default=None, help_text="Dollars.")
    live = serializers.SerializerMethodField(help_text="The price comes from the live feed; else from the exchange's list, at updated_at.")

    class Meta:
        model = Symbol
        fields = [
            "id",
            "exchange_id",
            "symbol",
            "base",
            "quote",
            "tradable",
            "status",
            "price",
            "price_increment",
            "volume_24h",
            "quote_volume_24h",
            "dollar_volume_24h",
            "change_24h",
            "spread_bps",
            "liquidity",
            "coin_volume_24h",
            "coin_rank",
            "market_cap",
            "alias_of",
            "rank",
            "tier",
            "added",
            "held",
            "policy",
            "live",
            "updated_at",
        ]
        read_only_fields = fields

    def get_tier(self, row: Symbol) -> int | None:
        return row.tier if row.tier != Tier.OVERFLOW or getattr(row, "added", False) or getattr(row, "held", False) else None

    def get_liquidity(self, row: Symbol) -> str | None:
        return tiers.liquidity(row.dollar_volume_24h, row.spread_bps)

    def get_live(self, row: Symbol) -> bool:
        return getattr(row, "is_live", False)


class PolicySerializer(serializers.Serializer):
    """What to do with a symbol: ``auto`` by volume, ``pinned`` always, ``excluded`` never."""

    policy = serializers.ChoiceField(
        choices=Policy.choices,
        error_messages={
            "invalid_choice": f'Unknown policy "{{input}}"; known: {", ".join(Policy.values)}.',
            "required": f"Say which policy; known: {', '.join(Policy.values)}.",
        },
    )


class DecidedSerializer(SymbolSerializer):
    """The symbol as it is now. ``message``: what the connector answered; empty where nothing changed."""

    message = serializers.CharField(read_only=True)

    class Meta(SymbolSerializer.Meta):
        fields = [*SymbolSerializer.Meta.fields, "message"]
        read_only_fields = fields


class ExchangeNameField(serializers.CharField):
    """The id of an active exchange; an unknown one is an error that lists the known ones."""

    def to_internal_value(self, data: Any) -> Exchange:
        try:
            return exchange_get(super().to_internal_value(data))
        except LookupError as error:
            raise serializers.ValidationError(str(error)) from None


class AddSerializer(serializers.Serializer):
    """Symbols to add, as they are typed, a line each."""

    exchange = ExchangeNameField()
    lines = serializers.ListField(
        child=serializers.CharField(max_length=4 * LONGEST_SPELLING, allow_blank=True),
        min_length=1,
        max_length=MOST_LINES,
        error_messages={"max_length": f"At most {MOST_LINES} lines at once.", "min_length": "Write at least one symbol."},
    )


class VerdictSerializer(serializers.Serializer):
    """What became of one line."""

    text = serializers.CharField()
    ok = serializers.BooleanField()
    code = serializers.CharField(help_text="added, there, shared, unknown, halted, excluded, full or empty")
    symbol = serializers.CharField(help_text="The exchange's own spelling; empty where there is none.")
    message = serializers.CharField()


class VerdictsSerializer(serializers.Serializer):
    verdicts = VerdictSerializer(many=True)


class ListingSerializer(serializers.Serializer):
    """When an exchange last told its symbols."""

    exchange_id = serializers.CharField()
    listed_at = serializers.DateTimeField()


class OwnSerializer(serializers.Serializer):
    """A symbol that you hold or added."""

    symbol = SymbolSerializer(source="row")
    added = serializers.BooleanField()
    quantity = serializers.FloatField(allow_null=True, help_text="What you hold; null where nothing.")
    value = serializers.FloatField(allow_null=True, help_text="Dollars.")


class RemovedSerializer(serializers.Serializer):
    removed = serializers.ListField(child=serializers.CharField())
    message = serializers.CharField()


class PositionSerializer(serializers.ModelSerializer):
    """What you hold of an asset. ``symbol``: where it is watched; ``watched``: false for dust and for what has no market here."""

    exchange_id = serializers.CharField(read_only=True)
    symbol = serializers.CharField(source="symbol.symbol", default="", read_only=True)
    watched = serializers.BooleanField(read_only=True)

    class Meta:
        model = Position
        fields = ["id", "exchange_id", "asset", "quantity", "by_hand", "symbol", "value", "watched", "updated_at"]
        read_only_fields = fields


class EnterSerializer(serializers.Serializer):
    """A position to note by hand."""

    exchange = ExchangeNameField()
    asset = serializers.CharField(max_length=LONGEST_SPELLING)
    quantity = serializers.FloatField(min_value=1e-18, max_value=1e18)


class SyncSerializer(serializers.Serializer):
    exchange = ExchangeNameField()


class OutcomeSerializer(serializers.Serializer):
    """What happened."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
