"""/api/alerts/: the record of what fired."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters import CharFilter, ChoiceFilter, Filter
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from rest_framework import viewsets
from rest_framework.exceptions import NotFound

from alerts.models import Alert, ExchangeSequence
from alerts.serializers import AlertSerializer
from exchanges.api import ExchangeFilter
from exchanges.events import TIMEFRAMES
from livermore.pagination import StableOrdering

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
    """``since``: alerts of one exchange with a higher id. ``candle_from`` and ``candle_to``: milliseconds UTC, both included."""

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


def alert_or_404(user_id: int | None, uid: str) -> Alert:
    """One that this user may see. Raises NotFound."""
    alert = Alert.objects.visible_to(user_id).by_uid(uid)
    if alert is None:
        raise NotFound(f"There is no alert {uid!r}.")
    return alert


class AlertViewSet(viewsets.ReadOnlyModelViewSet):
    """Alerts, newest first."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    rights = {"GET": "alerts.view_alert"}
    lookup_field = "uid"
    lookup_value_regex = ".+"
    filter_backends = [DjangoFilterBackend, StableOrdering]
    filterset_class = AlertFilters
    ordering_fields = ["triggered_at", "candle_time", "number"]

    def get_queryset(self) -> QuerySet[Alert]:
        """What this user may see: an alert that its owners do not share is theirs alone."""
        return Alert.objects.visible_to(self.request.user.pk)

    def get_object(self) -> Alert:
        return alert_or_404(self.request.user.pk, self.kwargs["uid"])

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "epochs": dict(ExchangeSequence.objects.values_list("exchange_id", "epoch"))}
