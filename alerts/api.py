"""/api/alerts/: the record of what fired."""

from array import array
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django_filters import CharFilter, ChoiceFilter, Filter
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from alerts.models import Alert, ExchangeSequence
from alerts.serializers import AlertSerializer
from exchanges.api import ExchangeFilter
from exchanges.events import TIMEFRAMES
from livermore import csvfile
from livermore.db import db
from livermore.pagination import LongPages, StableOrdering

_LARGEST = 2**63 - 1


class WholeNumberFilter(Filter):
    """A whole number that the database can compare."""

    field_class = forms.IntegerField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=_LARGEST, **kwargs)


class AlertForm(forms.Form):
    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("since") is not None and not values.get("exchange"):
            self.add_error("since", ValidationError("Name the exchange too: ids count per exchange."))
        return values


class AlertFilters(FilterSet):
    """``since``: alerts of one exchange with a higher id. ``candle_from`` and ``candle_to``: milliseconds UTC, both included.

    Between candles the newest candle comes first, else what fired last.
    """

    exchange = ExchangeFilter()
    symbol = CharFilter()
    timeframe = ChoiceFilter(choices=[(name, name) for name in TIMEFRAMES])
    trigger_label = CharFilter()
    direction = ChoiceFilter(choices=[("up", "up"), ("down", "down")])
    since = WholeNumberFilter(field_name="number", lookup_expr="gt")
    candle_from = WholeNumberFilter(field_name="candle_time", lookup_expr="gte")
    candle_to = WholeNumberFilter(field_name="candle_time", lookup_expr="lte")

    class Meta:
        model = Alert
        form = AlertForm
        fields = ["delayed", "revised"]

    def filter_queryset(self, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        found: QuerySet[Alert] = super().filter_queryset(queryset)
        between = {self.form.cleaned_data.get(name) for name in ("candle_from", "candle_to")} != {None}
        return found.order_by("-candle_time", "-number") if between else found


def alert_or_404(user_id: int | None, uid: str) -> Alert:
    """One that this user may see. Raises NotFound."""
    alert = Alert.objects.visible_to(user_id).by_uid(uid)
    if alert is None:
        raise NotFound(f"There is no alert {uid!r}.")
    return alert


EXPORTED_AT_MOST, A_PART = 100_000, 1_000
EXPORT_HEADS = (
    "exchange", "id", "symbol", "base", "quote", "timeframe", "trigger", "direction", "value", "signal_delta", "price", "candle_time",
    "triggered_at", "stage", "bias", "delayed", "revised", "uid",
)  # fmt: skip


def _exported(alert: Alert) -> tuple[Any, ...]:
    """A line of the file."""
    return (
        alert.exchange_id, alert.number, alert.symbol, alert.base, alert.quote, alert.timeframe, alert.trigger_label, alert.direction,
        alert.trigger_value, alert.signal_delta, alert.price, _iso(alert.candle_time), _iso(alert.triggered_at), alert.stage, alert.bias,
        int(alert.delayed), int(alert.revised), alert.uid,
    )  # fmt: skip


async def _parts(ids: Sequence[int]) -> AsyncIterator[list[tuple[Any, ...]]]:
    for at in range(0, len(ids), A_PART):
        part = ids[at : at + A_PART]
        found = await db(Alert.objects.defer("record", "timeframes", "elsewhere").in_bulk)(part)
        yield [_exported(found[pk]) for pk in part if pk in found]


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AlertViewSet(viewsets.ReadOnlyModelViewSet):
    """Alerts, newest first."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    rights = {"GET": "alerts.view_alert"}
    lookup_field = "uid"
    lookup_value_regex = ".+"
    filter_backends = [DjangoFilterBackend, StableOrdering]
    filterset_class = AlertFilters
    pagination_class = LongPages
    ordering_fields = ["triggered_at", "candle_time", "number"]

    def get_queryset(self) -> QuerySet[Alert]:
        """What this user may see: an alert that its owners do not share is theirs alone."""
        return Alert.objects.visible_to(self.request.user.pk)

    def get_object(self) -> Alert:
        return alert_or_404(self.request.user.pk, self.kwargs["uid"])

    @extend_schema(
        summary="The same alerts as a CSV file",
        description=f"The newest {EXPORTED_AT_MOST:,} that match, streamed. Times are ISO 8601, UTC. The filters of the list apply.",
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    @action(detail=False, url_path="export.csv", pagination_class=None, renderer_classes=[JSONRenderer])
    def export(self, request: Request) -> StreamingHttpResponse:
        rows = self.filter_queryset(self.get_queryset())
        # Which they are is settled first: what fires meanwhile moves no row from one part to the next.
        ids = array("q", rows.values_list("pk", flat=True)[:EXPORTED_AT_MOST].iterator(chunk_size=A_PART))
        return csvfile.answer("alerts.csv", EXPORT_HEADS, _parts(ids))

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "epochs": dict(ExchangeSequence.objects.values_list("exchange_id", "epoch"))}
