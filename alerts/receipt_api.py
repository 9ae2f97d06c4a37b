"""/api/alerts/{uid}/receipt/: why one alert fired, and when each step of its way was done."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts.api import alert_or_404
from alerts.models import Alert
from alerts.receipts import because, steps


class RuleThenSerializer(serializers.Serializer):
    """The rule as it was evaluated, whatever it says now."""

    id = serializers.IntegerField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    levels = serializers.ListField(child=serializers.FloatField())
    timeframes = serializers.ListField(child=serializers.CharField())
    reversal_level = serializers.FloatField()
    oversold_buffer = serializers.FloatField(help_text="Share of |MACD-V|.")
    overbought_buffer = serializers.FloatField(help_text="Share of |MACD-V|.")
    cooldown = serializers.IntegerField(help_text="Milliseconds.")


class ReadingThenSerializer(serializers.Serializer):
    """The indicator after a closed candle."""

    macdv = serializers.FloatField(allow_null=True)
    signal = serializers.FloatField(allow_null=True)
    histogram = serializers.FloatField(allow_null=True)
    atr = serializers.FloatField(allow_null=True)
    stage = serializers.CharField()


class CandleThenSerializer(serializers.Serializer):
    open_time = serializers.IntegerField(help_text="Milliseconds UTC.")
    close_time = serializers.IntegerField(help_text="Milliseconds UTC.")
    open = serializers.FloatField()
    high = serializers.FloatField()
    low = serializers.FloatField()
    close = serializers.FloatField()
    volume = serializers.FloatField()
    synthetic = serializers.BooleanField(help_text="Nothing traded in it.")
    closed_by = serializers.CharField(
        help_text="`flag`: the exchange's own; `read-back`: a REST row; `quiet`: no trade and no row; `history`: fetched after an outage."
    )


class WarmUpSerializer(serializers.Serializer):
    bars = serializers.IntegerField(help_text="Closed candles that the indicator had taken.")
    observed = serializers.IntegerField(help_text="Those of them that traded.")
    needed = serializers.IntegerField(help_text="How many an alert needs.")
    whole_life = serializers.BooleanField(help_text="They are all there are: a young listing.")


class ConnectorSerializer(serializers.Serializer):
    """The process that evaluated it."""

    host = serializers.CharField()
    pid = serializers.IntegerField()
    fence = serializers.IntegerField(help_text="Rises with every start of a connector of the exchange.")


class StepSerializer(serializers.Serializer):
    """A step of the way. A time that is not known is null."""

    name = serializers.CharField(help_text="exchange, received, evaluated, committed or published, in this order.")
    at = serializers.IntegerField(allow_null=True, help_text="Milliseconds UTC; of `exchange` by its own clock.")
    after = serializers.IntegerField(allow_null=True, help_text="Milliseconds after the last step that has a time.")


class ReceiptSerializer(serializers.Serializer):
    """``recorded`` is false, and everything up to ``steps`` null, for an alert from before receipts were kept."""

    uid = serializers.CharField()
    exchange_id = serializers.CharField()
    symbol = serializers.CharField()
    timeframe = serializers.CharField()
    trigger_label = serializers.CharField()
    recorded = serializers.BooleanField()
    because = serializers.CharField(allow_null=True, help_text="Why it fired, in a sentence.")
    rule = RuleThenSerializer(allow_null=True)
    previous = ReadingThenSerializer(allow_null=True)
    current = ReadingThenSerializer(allow_null=True)
    candle = CandleThenSerializer(allow_null=True)
    warm_up = WarmUpSerializer(allow_null=True)
    feed_age = serializers.IntegerField(allow_null=True, help_text="Milliseconds since the last frame of the symbol, at the evaluation.")
    connector = ConnectorSerializer(allow_null=True)
    steps = StepSerializer(many=True)


class ReceiptView(APIView):
    """What an alert was decided from, as it was then."""

    rights = {"GET": "alerts.view_alert"}

    @extend_schema(
        operation_id="receipt_retrieve",
        parameters=[OpenApiParameter("uid", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses=ReceiptSerializer,
    )
    def get(self, request: Request, uid: str) -> Response:
        return Response(receipt(alert_or_404(request.user.pk, uid)))


_PARTS = ("rule", "previous", "current", "candle", "warm_up", "feed_age", "connector")


def receipt(alert: Alert) -> dict[str, Any]:
    """The receipt of an alert, with what came after its record."""
    kept = alert.record
    known = kept or {}
    return {
        "uid": alert.uid,
        "exchange_id": alert.exchange_id,
        "symbol": alert.symbol,
        "timeframe": alert.timeframe,
        "trigger_label": alert.trigger_label,
        "recorded": kept is not None,
        "because": because(alert.trigger_label, kept) if kept else None,
        **{name: known.get(name) for name in _PARTS},
        "steps": steps(known.get("times", {}), alert.committed_at, alert.published_at),
    }
