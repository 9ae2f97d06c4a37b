"""Alerts as the API shows them: the message of alerts/payloads.py, field by field."""

from typing import Any

from rest_framework import serializers

from alerts.models import Alert
from alerts.payloads import AlertMessage
from alerts.services import alert_payload


class TimeframeStageSerializer(serializers.Serializer):
    timeframe = serializers.CharField()
    macdv = serializers.FloatField(allow_null=True)
    stage = serializers.CharField()


class LeadLagSerializer(serializers.Serializer):
    """Who leads a coin between two exchanges; ``leader`` is empty where nobody does."""

    first_id = serializers.CharField()
    second_id = serializers.CharField()
    leader = serializers.CharField()
    median_ms = serializers.FloatField(allow_null=True, help_text="By which the first one is ahead, by the exchanges' clocks.")
    low_ms = serializers.FloatField(allow_null=True)
    high_ms = serializers.FloatField(allow_null=True)
    events = serializers.IntegerField()
    receive_median_ms = serializers.FloatField(allow_null=True, help_text="The same by the time of arrival here.")
    offset_first_ms = serializers.FloatField(allow_null=True, help_text="The first exchange's clock beside ours.")
    offset_second_ms = serializers.FloatField(allow_null=True)
    at = serializers.IntegerField(help_text="Milliseconds UTC.")


class ElsewhereSerializer(serializers.Serializer):
    """The same coin on another exchange when the alert fired."""

    exchange_id = serializers.CharField()
    symbol = serializers.CharField()
    quote = serializers.CharField()
    identity = serializers.CharField(help_text="same, different or unknown: nothing is derived unless it is the same coin.")
    price = serializers.FloatField(allow_null=True)
    received = serializers.IntegerField(allow_null=True, help_text="When that price reached us, milliseconds UTC.")
    spread_bps = serializers.FloatField(allow_null=True, help_text="There against here, before fees.")
    book_spread_bps = serializers.FloatField(allow_null=True, help_text="From bid to ask there.")
    trade_url = serializers.CharField()
    lead = LeadLagSerializer(allow_null=True)


class AlertSerializer(serializers.Serializer):
    """The same alert that Redis and the websocket carry. ``epochs`` in the context: the stream's epoch by exchange id."""

    type = serializers.CharField(help_text="alert")
    id = serializers.IntegerField(help_text="Gap-free per exchange.")
    epoch = serializers.CharField()
    uid = serializers.CharField()
    source_exchange_id = serializers.CharField()
    symbol = serializers.CharField()
    base = serializers.CharField()
    quote = serializers.CharField()
    timeframe = serializers.CharField()
    alert_type = serializers.CharField()
    trigger_label = serializers.CharField()
    direction = serializers.CharField(help_text="up or down")
    trigger_value = serializers.FloatField()
    signal_delta = serializers.FloatField(allow_null=True)
    price = serializers.FloatField()
    candle_time = serializers.IntegerField(help_text="Open time of the candle, milliseconds UTC.")
    triggered_at = serializers.IntegerField(help_text="Milliseconds UTC.")
    published_at = serializers.IntegerField(help_text="Milliseconds UTC.")
    delayed = serializers.BooleanField()
    revised = serializers.BooleanField()
    stage = serializers.CharField()
    bias = serializers.CharField(help_text="bullish, bearish or neutral")
    timeframes = TimeframeStageSerializer(many=True)
    elsewhere = ElsewhereSerializer(many=True)

    def to_representation(self, alert: Alert) -> Any:
        message: AlertMessage = alert_payload(alert, self.context["epochs"].get(alert.exchange_id, ""))
        return message
