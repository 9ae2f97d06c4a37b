"""/api/exchanges/: metadata, live status, and the commands of a connector."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django_filters import ChoiceFilter, ModelChoiceFilter
from django_filters.rest_framework import BooleanFilter, DjangoFilterBackend, FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from exchanges import control
from exchanges.adapters import adapter_choices
from exchanges.health import exchange_healths
from exchanges.models import Exchange, ExchangeEvent
from exchanges.serializers import (
    AnswerSerializer,
    CommandSerializer,
    EventQuerySerializer,
    EventSerializer,
    ExchangeSerializer,
    HealthSerializer,
)
from exchanges.services import exchange_get, exchange_statuses
from livermore.pagination import LongPages, StableOrdering


class RedisUnavailable(APIException):
    """503: Redis does not answer."""

    status_code = 503
    default_detail = "Redis does not answer; try again in a moment."
    default_code = "redis_unavailable"


class Json(JSONParser):
    """JSON that nests deeper than Python reads is the client's mistake, not ours."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None


def exchange_or_404(exchange_id: str) -> Exchange:
    """The active exchange of that id, or a 404 that lists the known ones."""
    try:
        return exchange_get(exchange_id)
    except LookupError as error:
        raise NotFound(str(error)) from None


class _ExchangeField(forms.ModelChoiceField):
    def to_python(self, value: Any) -> Exchange | None:
        if value in self.empty_values:
            return None
        try:
            return exchange_get(value)
        except LookupError as error:
            # As a parameter: django-filter formats each message, and a name may hold a %.
            raise forms.ValidationError("%(reason)s", params={"reason": error}) from None


class ExchangeFilter(ModelChoiceFilter):
    """``?exchange=``: an unknown one is an error that lists the known ones."""

    field_class = _ExchangeField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(queryset=Exchange.objects.all(), **kwargs)


class ExchangeFilters(FilterSet):
    adapter = ChoiceFilter(choices=adapter_choices)
    simulated = BooleanFilter(field_name="is_sandbox")

    class Meta:
        model = Exchange
        fields: list[str] = []


class ExchangeViewSet(viewsets.ReadOnlyModelViewSet):
    """Exchanges: published figures and live status."""

    queryset = Exchange.objects.filter(active=True)
    serializer_class = ExchangeSerializer
    rights = {"GET": "exchanges.view_exchange", "commands": "exchanges.control_exchange"}
    parser_classes = [Json]
    lookup_value_regex = "[^/]+"
    filter_backends = [DjangoFilterBackend, StableOrdering]
    filterset_class = ExchangeFilters
    ordering_fields = ["id", "name"]

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(_shown(page))

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(_shown([exchange_or_404(self.kwargs["pk"])])[0])

    @extend_schema(request=CommandSerializer, responses=AnswerSerializer)
    @action(detail=True, methods=["post"])
    def commands(self, request: Request, pk: str) -> Response:
        """Tell the process that hosts the exchange to do something; the answer says what really happened."""
        exchange = exchange_or_404(pk)
        command = CommandSerializer(data=request.data)
        command.is_valid(raise_exception=True)
        answer = control.request_sync(exchange.pk, command.validated_data["action"], by=request.user.get_username())
        return Response(AnswerSerializer({"ok": answer.ok, "message": answer.message}).data)

    @extend_schema(responses=HealthSerializer(many=True))
    @action(detail=False, methods=["get"], url_path="health", url_name="healths")
    def healths(self, request: Request) -> Response:
        """How each exchange does: what its connector measures, who runs it, and for how long it has been live."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(HealthSerializer(exchange_healths(page), many=True).data)

    @extend_schema(responses=HealthSerializer)
    @action(detail=True, methods=["get"])
    def health(self, request: Request, pk: str) -> Response:
        """How the exchange does."""
        return Response(HealthSerializer(exchange_healths([exchange_or_404(pk)])[0]).data)

    @extend_schema(parameters=[EventQuerySerializer], responses=EventSerializer(many=True))
    @action(detail=True, methods=["get"], filter_backends=[], pagination_class=LongPages)
    def events(self, request: Request, pk: str) -> Response:
        """What happened to its state and its connection in the last 30 days, newest first."""
        exchange = exchange_or_404(pk)
        query = EventQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        rows = ExchangeEvent.objects.filter(exchange=exchange, at__gte=query.validated_data.get("from", 0))
        return self.get_paginated_response(EventSerializer(self.paginate_queryset(rows), many=True).data)


def _shown(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    context = {"statuses": exchange_statuses([exchange.pk for exchange in exchanges])}
    return ExchangeSerializer(exchanges, many=True, context=context).data
