"""/api/exchanges/{id}/symbols/{symbol}/why/: what each rule makes of the last closed candle, and what it waits for."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts.evaluation import memories
from alerts.explain import Explanation, Standing, explain
from alerts.receipt_api import ReadingThenSerializer
from alerts.rules import Memory
from alerts.services import now_ms, rules_load
from exchanges.api import RedisUnavailable, exchange_or_404
from exchanges.events import TIMEFRAMES
from livermore import bus
from market_data import store
from market_data.api import hidden, state_of, symbol_or_404
from market_data.macdv import Reading
from market_data.models import Checkpoint
from market_data.series import WARM_BARS, YOUNG_BARS, Series
from symbols.models import Symbol
from symbols.wants import keeper_for


class WhyQuerySerializer(serializers.Serializer):
    """``?timeframe=5m``."""

    timeframe = serializers.ChoiceField(
        choices=list(TIMEFRAMES),
        default="5m",
        error_messages={"invalid_choice": f'Unknown timeframe "{{input}}"; known: {", ".join(TIMEFRAMES)}.'},
    )


class LevelSerializer(serializers.Serializer):
    level = serializers.FloatField()
    distance = serializers.FloatField(help_text="Points of MACD-V.")


class CooldownSerializer(serializers.Serializer):
    label = serializers.CharField()
    until = serializers.IntegerField(help_text="It fires again on a candle that closes then (milliseconds UTC) or later.")


class ReversalSerializer(serializers.Serializer):
    label = serializers.CharField()
    armed = serializers.BooleanField()
    threshold = serializers.FloatField(allow_null=True, help_text="What the histogram has to pass.")
    missing = serializers.ListField(child=serializers.CharField(), help_text="In words; empty where it would fire.")


class ExplanationSerializer(serializers.Serializer):
    """One rule."""

    rule = serializers.CharField()
    version = serializers.IntegerField()
    sentences = serializers.ListField(child=serializers.CharField())
    blocked = serializers.ListField(child=serializers.CharField(), help_text="Why nothing is evaluated; else empty.")
    fired = serializers.ListField(child=serializers.CharField(), help_text="Labels that fired on the last closed candle.")
    would_fire = serializers.ListField(child=serializers.CharField(), help_text="Labels that would fire on it, as the rule stands now.")
    above = LevelSerializer(allow_null=True, help_text="The next level that can be crossed upward.")
    below = LevelSerializer(allow_null=True, help_text="The next level that can be crossed downward.")
    reversals = ReversalSerializer(many=True)
    cooldowns = CooldownSerializer(many=True)


class WhySerializer(serializers.Serializer):
    """``candle_time``: open time of the last evaluated candle, milliseconds UTC; null where there is none."""

    exchange_id = serializers.CharField()
    symbol = serializers.CharField()
    timeframe = serializers.CharField()
    state = serializers.CharField(help_text="live, warming, stale, gap, halted or offline")
    reason = serializers.CharField()
    since = serializers.IntegerField(allow_null=True, help_text="When that state began, milliseconds UTC.")
    candle_time = serializers.IntegerField(allow_null=True)
    bars = serializers.IntegerField(help_text="Closed candles that the indicator has taken.")
    needed = serializers.IntegerField(help_text="How many an alert needs.")
    previous = ReadingThenSerializer(allow_null=True)
    current = ReadingThenSerializer(allow_null=True)
    rules = ExplanationSerializer(many=True)


class WhyView(APIView):
    """Why no alert fired on the last closed candle, rule by rule, and what each waits for."""

    rights = {"GET": "symbols.view_symbol"}

    @extend_schema(
        operation_id="why_retrieve",
        parameters=[WhyQuerySerializer, OpenApiParameter("symbol", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses=WhySerializer,
    )
    def get(self, request: Request, exchange_id: str, symbol: str) -> Response:
        exchange = exchange_or_404(exchange_id)
        query = WhyQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        row = symbol_or_404(exchange, symbol)
        try:
            return Response(why(row, request.user.pk, query.validated_data["timeframe"]))
        except bus.FAILURES as error:
            raise RedisUnavailable from error


def why(row: Symbol, user_id: int, timeframe: str) -> dict[str, Any]:
    """What the rules make of a series, as far as this user may see it."""
    keeper = keeper_for(user_id=user_id, row=row)
    # What nobody follows now, somebody may have followed: its checkpoint is not told either.
    secret = row.tier is None or hidden(row, keeper)
    series, remembered = (Series(row.symbol, timeframe), {}) if secret else _checkpoint(row, timeframe)
    said = state_of(row, keeper)
    current = None if series.last_open is None else series.indicator.reading
    previous = _previous(row, series, keeper)
    bars, needed = series.indicator.bars, YOUNG_BARS if series.whole_life else WARM_BARS
    close_time = 0 if series.last_open is None else series.last_open + series.step
    standing = Standing(timeframe, close_time, bars, needed, now_ms(), said["state"], said["reason"], said["since"])
    found = [explain(rule, previous, current, remembered.get(rule.id, Memory()), standing) for rule in rules_load()]
    return {
        "exchange_id": row.exchange_id,
        "symbol": row.symbol,
        "timeframe": timeframe,
        **said,
        "candle_time": series.last_open,
        "bars": bars,
        "needed": needed,
        "previous": previous and previous._asdict(),
        "current": current and current._asdict(),
        "rules": [_explained(one) for one in found],
    }


def _checkpoint(row: Symbol, timeframe: str) -> tuple[Series, dict[int, Memory]]:
    """The series as it was last committed, and what the rules remembered with it."""
    series = Series(row.symbol, timeframe)
    stored = Checkpoint.objects.filter(exchange_id=row.exchange_id, symbol=row.symbol, timeframe=timeframe).first()
    if stored is None:
        return series, {}
    try:
        series.restore(stored.open_time, stored.indicator)
        return series, memories(stored.memory)
    except ValueError:  # a connector that finds it starts afresh
        return Series(row.symbol, timeframe), {}


def _previous(row: Symbol, series: Series, keeper: int | None) -> Reading | None:
    """The reading before the last one. Its ATR is not kept."""
    if series.last_open is None:
        return None
    wanted = series.last_open - series.step
    rows = store.read_series(row.exchange_id, row.symbol, series.timeframe, limit=3, keeper=keeper).readings
    return next((Reading(macdv, signal, histogram, None, stage) for t, macdv, signal, histogram, stage in rows if t == wanted), None)


def _explained(one: Explanation) -> dict[str, Any]:
    return {
        "rule": one.rule.name,
        "version": one.rule.version,
        "sentences": one.sentences,
        "blocked": one.blocked,
        "fired": one.fired,
        "would_fire": one.would_fire,
        "above": one.above and one.above._asdict(),
        "below": one.below and one.below._asdict(),
        "reversals": [
            {"label": item.label, "armed": item.armed, "threshold": item.threshold, "missing": item.missing} for item in one.reversals
        ],
        "cooldowns": [cooldown._asdict() for cooldown in one.cooldowns],
    }
