"""Exchanges as the API shows them."""

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from exchanges import control
from exchanges.models import Exchange, ExchangeEvent


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


class ProcessSerializer(serializers.Serializer):
    """The process that may run an exchange."""

    host = serializers.CharField(allow_null=True)
    pid = serializers.IntegerField(allow_null=True)
    since = serializers.IntegerField(allow_null=True)


class StreamSilenceSerializer(serializers.Serializer):
    """A stream, and for how long it has had no data."""

    symbol = serializers.CharField()
    channel = serializers.CharField(help_text="candles or ticker")
    age_ms = serializers.IntegerField()

    def to_representation(self, instance: list[Any]) -> dict[str, Any]:
        return dict(zip(("symbol", "channel", "age_ms"), instance, strict=False))


def _count(text: str = "") -> serializers.IntegerField:
    return serializers.IntegerField(default=0, allow_null=True, help_text=text)


def _figure(text: str = "") -> serializers.FloatField:
    return serializers.FloatField(default=None, allow_null=True, help_text=text)


class HealthSerializer(StatusSerializer):
    """How an exchange does. Figures are null while no connector runs; counters are those of the connector's life."""

    id = serializers.CharField(source="exchange.pk")
    name = serializers.CharField(source="exchange.name")
    simulated = serializers.BooleanField(source="exchange.is_sandbox")
    at = serializers.IntegerField(help_text="When this was read, milliseconds UTC.")
    uptime_24h = _figure("0 to 1: for how much of the last 24 h it was live, of what is known of them.")
    uptime_7d = _figure("The same of 7 days.")
    known_since = serializers.IntegerField(allow_null=True, help_text="From when on in these 7 days its states are known.")
    process = ProcessSerializer(allow_null=True)
    messages_per_s = _figure("Frames from the exchange, over 10 s.")
    frames = _count("Frames from the exchange.")
    oldest = StreamSilenceSerializer(many=True, default=[], help_text="The ten streams that have been without data for longest.")
    reconnects = _count("Connections that stand again after they had ended unplanned.")
    gaps_repaired = _count("Times that candles the stream had not brought were fetched.")
    rejected = _count("Frames that could not be read.")
    lost = _count("Frames that are missing in the exchange's numbering.")
    revised = _count("Candles that the exchange changed after their close.")
    refused = _count("Requests on the socket that the exchange refused.")
    rest_used = serializers.IntegerField(default=None, allow_null=True, help_text="Weight spent on its REST host in the last minute.")
    rest_left = serializers.IntegerField(default=None, allow_null=True, help_text="Weight that is left of a minute's allowance.")
    rest_limit = serializers.IntegerField(default=None, allow_null=True, help_text="Weight a minute that we allow ourselves.")
    rest_held_s = _figure("Seconds for which nothing is asked, as the exchange demanded; 0 where it did not.")
    rest_waiting = serializers.IntegerField(default=None, allow_null=True, help_text="Requests that wait for their turn.")
    rest_ms = _figure("How long the last REST answer took.")
    websocket_ms = _figure("Between ping and pong, of the slowest connection.")
    clock_offset_ms = serializers.IntegerField(default=None, allow_null=True, help_text="The exchange's clock minus ours.")
    maker_fee = serializers.DecimalField(source="exchange.maker_fee", max_digits=7, decimal_places=6)
    taker_fee = serializers.DecimalField(source="exchange.taker_fee", max_digits=7, decimal_places=6)
    geo_restrictions = serializers.JSONField(source="exchange.geo_restrictions")
    timeframes = serializers.ListField(source="exchange.timeframes", child=serializers.CharField())


class EventSerializer(serializers.ModelSerializer):
    """That the state or the connection of an exchange changed, and why. Times are milliseconds UTC."""

    class Meta:
        model = ExchangeEvent
        fields = ["id", "at", "event", "reason", "seen"]


class EventQuerySerializer(serializers.Serializer):
    """From when on events are asked for."""

    def get_fields(self) -> dict[str, serializers.Field]:
        return {"from": serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1, help_text="Milliseconds UTC.")}


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
