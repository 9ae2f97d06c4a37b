"""Exchanges as the API shows them."""

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from exchanges import control
from exchanges.models import Exchange


class StatusSerializer(serializers.Serializer):
    """What the process that hosts an exchange last said. Times are milliseconds UTC."""

    state = serializers.CharField(
        default="unknown", help_text="live, warming, stale, gap, halted, idle; offline: no process; unknown: Redis does not answer"
    )
    since = serializers.IntegerField(allow_null=True, default=None, help_text="When the state began.")
    connection_state = serializers.CharField(default="unknown", help_text="idle, connecting, connected, disconnected, offline or unknown")
    connected_at = serializers.IntegerField(allow_null=True, default=None)
    last_heartbeat = serializers.IntegerField(allow_null=True, default=None)
    symbols = serializers.IntegerField(default=0)
    warmup = serializers.FloatField(allow_null=True, default=None, help_text="0 to 1 while warming.")
    error = serializers.CharField(default="")
    error_at = serializers.IntegerField(allow_null=True, default=None)
    retry_at = serializers.IntegerField(allow_null=True, default=None)
    host = serializers.CharField(default="")
    pid = serializers.IntegerField(allow_null=True, default=None)


class ExchangeSerializer(serializers.ModelSerializer):
    """An exchange, its published figures, and its live status. ``statuses`` in the context holds the hashes by id."""

    simulated = serializers.BooleanField(source="is_sandbox")
    limits = serializers.SerializerMethodField(help_text="The limits in force: the adapter's, with this row's overrides.")
    status = serializers.SerializerMethodField()

    class Meta:
        model = Exchange
        fields = [
            "id",
            "name",
            "simulated",
            "adapter",
            "websocket_url",
            "rest_url",
            "limits",
            "maker_fee",
            "taker_fee",
            "geo_restrictions",
            "timeframes",
            "trade_url_template",
            "top_n",
            "status",
        ]

    def get_limits(self, exchange: Exchange) -> dict[str, float]:
        try:
            return msgspec.structs.asdict(exchange.effective_limits)
        except LookupError:
            return exchange.limits  # the row outlived its adapter

    @extend_schema_field(StatusSerializer)
    def get_status(self, exchange: Exchange) -> dict[str, Any]:
        return StatusSerializer(self.context["statuses"][exchange.pk]).data


_KNOWN = f"known: {', '.join(control.ACTIONS)}"


class CommandSerializer(serializers.Serializer):
    """What a connector shall do."""

    action = serializers.ChoiceField(
        choices=control.ACTIONS,
        error_messages={
            "invalid_choice": f'Unknown action "{{input}}"; {_KNOWN}.',
            "required": f"Say which action; {_KNOWN}.",
            "null": f"Say which action; {_KNOWN}.",
        },
    )


class AnswerSerializer(serializers.Serializer):
    """What happened."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
