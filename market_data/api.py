"""/api/exchanges/{id}/symbols/{symbol}/candles/: closed candles and their indicator, as they stand in Redis."""

import json
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from exchanges.api import RedisUnavailable, exchange_or_404
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange
from livermore import bus, keys
from market_data import store
from symbols.models import Symbol, Tier
from symbols.wants import keeper_for


class QuerySerializer(serializers.Serializer):
    """``?timeframe=5m&limit=400&indicator=series``."""

    timeframe = serializers.ChoiceField(
        choices=list(TIMEFRAMES),
        default="5m",
        error_messages={"invalid_choice": f'Unknown timeframe "{{input}}"; known: {", ".join(TIMEFRAMES)}.'},
    )
    limit = serializers.IntegerField(min_value=1, max_value=store.KEPT, default=400)
    indicator = serializers.ChoiceField(
        choices=["last", "series"],
        default="last",
        help_text="`series`: also `readings`, the values after each of the candles.",
        error_messages={"invalid_choice": 'Unknown indicator "{input}"; known: last, series.'},
    )


class ReadingSerializer(serializers.Serializer):
    """The indicator of the last closed candle. A value that is not defined yet is null."""

    t = serializers.IntegerField(help_text="Open time of that candle, milliseconds UTC.")
    close = serializers.FloatField()
    macdv = serializers.FloatField(allow_null=True)
    signal = serializers.FloatField(allow_null=True)
    histogram = serializers.FloatField(allow_null=True)
    atr = serializers.FloatField(allow_null=True)
    stage = serializers.CharField()
    seeded = serializers.BooleanField()
    observed = serializers.IntegerField(help_text="Observed (not filled) candles behind the ATR.")
    span = serializers.IntegerField(help_text="Candles from the first to the last observed one.")
    reason = serializers.CharField()


class SeriesSerializer(serializers.Serializer):
    """``candles``: oldest first, each ``[open_time, open, high, low, close, volume, synthetic 0/1]``.

    ``readings``: oldest first, each ``[open_time, macdv, signal, histogram, stage]``, a value that is not defined null. They are those of
    the candles in the answer, as far as they are kept: the newest may be all there are. The last one is ``indicator``.
    """

    exchange_id = serializers.CharField()
    symbol = serializers.CharField()
    timeframe = serializers.CharField()
    state = serializers.CharField(help_text="live, warming, stale, gap, halted or offline")
    reason = serializers.CharField()
    candles = serializers.ListField(child=serializers.ListField(child=serializers.FloatField()))
    indicator = ReadingSerializer(allow_null=True)
    readings = serializers.ListField(child=serializers.ListField(), required=False, help_text="With `indicator=series` only.")


class CandlesView(APIView):
    """Candles of a symbol and its MACD-V. The symbol is the exchange's own spelling, slashes included."""

    rights = {"GET": "symbols.view_symbol"}

    @extend_schema(
        operation_id="candles_retrieve",
        parameters=[QuerySerializer, OpenApiParameter("symbol", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses=SeriesSerializer,
    )
    def get(self, request: Request, exchange_id: str, symbol: str) -> Response:
        exchange = exchange_or_404(exchange_id)
        query = QuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        row = symbol_or_404(exchange, symbol)
        try:
            return Response(_series(row, request.user.pk, **query.validated_data))
        except bus.FAILURES as error:
            raise RedisUnavailable from error


def symbol_or_404(exchange: Exchange, symbol: str) -> Symbol:
    # PostgreSQL refuses a NUL in a text; no symbol has one.
    row = None if "\0" in symbol else Symbol.objects.filter(exchange=exchange, symbol=symbol).first()
    if row is None:
        raise NotFound(f"{exchange.pk} lists no {symbol!r}: /api/symbols/?exchange={exchange.pk} has its symbols, in its own spelling.")
    return row


def _series(row: Symbol, user_id: int, *, timeframe: str, limit: int, indicator: str) -> dict[str, Any]:
    exchange_id, symbol = row.exchange_id, row.symbol
    keeper = keeper_for(user_id=user_id, row=row)
    stored = store.read_series(exchange_id, symbol, timeframe, limit=limit, keeper=keeper)
    answer: dict[str, Any] = {
        "exchange_id": exchange_id,
        "symbol": symbol,
        "timeframe": timeframe,
        "state": (said := state_of(row, keeper))["state"],
        "reason": said["reason"],
        "candles": stored.candles,
        "indicator": stored.indicator,
    }
    if indicator == "series":
        answer["readings"] = _joined(stored.readings, stored.candles, stored.indicator)
    return answer


def _joined(readings: list[list[Any]], candles: list[list[float]], last: dict[str, Any] | None) -> list[list[Any]]:
    """The readings of these candles. They were read one after the other, and a candle may have closed between: the last one is ``last``."""
    first = candles[0][0] if candles else 0
    end = last["t"] if last else float("inf")
    rows = [row for row in readings if first <= row[0] < end]
    if last:
        rows.append([last["t"], last["macdv"], last["signal"], last["histogram"], last["stage"]])
    return rows


def hidden(row: Symbol, keeper: int | None) -> bool:
    """Whether it is followed for other users only: what they want is not told."""
    return row.tier == Tier.OVERFLOW and keeper is None


def state_of(row: Symbol, keeper: int | None) -> dict[str, Any]:
    """What the connector last said about the symbol: data nobody keeps current must not look live. ``since``: ms UTC, or None."""
    value = None if hidden(row, keeper) else bus.sync().hget(keys.exchange_states(row.exchange_id), row.symbol)
    if value is None:
        return {"state": "offline", "reason": "no process follows this symbol", "since": None}
    said = json.loads(value)
    return {"state": said["state"], "reason": said.get("reason", ""), "since": said.get("since")}
