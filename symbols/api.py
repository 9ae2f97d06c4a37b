"""/api/symbols/: the markets of all exchanges. /api/my/: what the logged-in user added and holds."""

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import Exists, F, Max, OuterRef, QuerySet
from django_filters import BooleanFilter, NumberFilter
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.filters import SearchFilter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED

from exchanges.api import ExchangeFilter, Json
from exchanges.models import UserExchange
from livermore import bus, keys
from livermore.pagination import StableOrdering
from symbols import tiers, wants
from symbols.models import Position, Symbol, Tier, UserSymbol
from symbols.serializers import (
    AddSerializer,
    DecidedSerializer,
    EnterSerializer,
    ListingSerializer,
    OutcomeSerializer,
    OwnSerializer,
    PolicySerializer,
    PositionSerializer,
    RemovedSerializer,
    SymbolSerializer,
    SyncSerializer,
    VerdictsSerializer,
)
from symbols.services import symbols_set_policy


def marked(rows: QuerySet[Symbol], user_id: int) -> QuerySet[Symbol]:
    """With ``added`` and ``held`` of that user, and with the coin."""
    added = UserSymbol.objects.filter(user_id=user_id, symbol=OuterRef("pk"))
    held = wants.counting(user_id).filter(symbol=OuterRef("pk"))
    figures = {"coin_rank": F("coin__rank"), "coin_volume_24h": F("coin__volume_24h"), "market_cap": F("coin__market_cap")}
    return rows.select_related("coin").annotate(added=Exists(added), held=Exists(held), **figures)


def with_live_prices(rows: Sequence[Symbol]) -> Sequence[Symbol]:
    """Put the live figures over the listed ones, where there are any; with one question to Redis, and without where it is away.

    ``rows`` are ``marked``: that a symbol is live because others want it is not told.
    """
    told = [row for row in rows if row.tier != Tier.OVERFLOW or row.added or row.held]  # type: ignore[attr-defined]
    try:
        values = bus.sync().mget([keys.ticker(row.exchange_id, row.symbol) for row in told]) if told else []
    except bus.FAILURES:
        values = []
    for row, value in zip(told, values, strict=False):
        if value is None:
            continue
        ticker = json.loads(value)
        row.is_live = True  # type: ignore[attr-defined]
        for name in ("price", "volume_24h", "quote_volume_24h", "change_24h"):
            setattr(row, name, ticker.get(name, getattr(row, name)))
        spread = tiers.spread_bps(ticker.get("bid"), ticker.get("ask"))
        row.spread_bps = row.spread_bps if spread is None else spread
    return rows


class SymbolFilters(FilterSet):
    """``mine``: what you hold or added; ``min_volume``: dollars in 24 h; ``simulated``: of a simulated exchange."""

    exchange = ExchangeFilter()
    tier = NumberFilter(method="of_tier")
    mine = BooleanFilter(method="of_mine")
    simulated = BooleanFilter(field_name="exchange__is_sandbox")
    min_volume = NumberFilter(field_name="dollar_volume_24h", lookup_expr="gte")

    class Meta:
        model = Symbol
        fields = ["base", "quote", "tradable", "policy"]

    def of_tier(self, rows: QuerySet[Symbol], name: str, value: float) -> QuerySet[Symbol]:
        if value == Tier.OVERFLOW:
            return rows.filter(tier=Tier.OVERFLOW) & self.of_mine(rows, name, True)
        return rows.filter(tier=value) if value == Tier.SHARED else rows.none()

    def of_mine(self, rows: QuerySet[Symbol], name: str, value: bool) -> QuerySet[Symbol]:
        mine = rows.filter(added=True) | rows.filter(held=True)
        return mine if value else rows.filter(added=False, held=False)


class SymbolViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Symbols with their price, 24 h figures, spread, liquidity, market cap, ranks and tier."""

    queryset = Symbol.objects.filter(exchange__active=True)
    serializer_class = SymbolSerializer
    rights = {"GET": "symbols.view_symbol", "PATCH": "symbols.change_symbol"}
    parser_classes = [Json]
    lookup_value_regex = "[0-9]{1,18}"
    filter_backends = [DjangoFilterBackend, SearchFilter, StableOrdering]
    filterset_class = SymbolFilters
    search_fields = ["symbol", "base"]
    ordering_fields = [
        "exchange",
        "symbol",
        "base",
        "rank",
        "price",
        "quote_volume_24h",
        "dollar_volume_24h",
        "change_24h",
        "spread_bps",
        "coin_rank",
        "coin_volume_24h",
        "market_cap",
    ]

    def get_queryset(self) -> QuerySet[Symbol]:
        return marked(super().get_queryset(), self.request.user.pk)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(SymbolSerializer(with_live_prices(page or []), many=True).data)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(SymbolSerializer(with_live_prices([self.get_object()])[0]).data)

    @extend_schema(responses=ListingSerializer(many=True))
    @action(detail=False, pagination_class=None, filter_backends=[])
    def listings(self, request: Request) -> Response:
        """When each exchange last told its symbols; one that never did is not among them."""
        rows = Symbol.objects.filter(exchange__active=True).values("exchange_id").annotate(listed_at=Max("updated_at"))
        return Response(ListingSerializer(rows.order_by("exchange_id"), many=True).data)

    @extend_schema(request=PolicySerializer, responses=DecidedSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Decide about a symbol. A running connector follows at once."""
        symbol = self.get_object()
        decision = PolicySerializer(data=request.data)
        decision.is_valid(raise_exception=True)
        _, message = symbols_set_policy(ids=[symbol.pk], policy=decision.validated_data["policy"], by=request.user.get_username())
        return Response({**SymbolSerializer(self.get_object()).data, "message": message})


class OwnSymbolViewSet(viewsets.GenericViewSet):
    """What you hold or added. A running connector follows a change at once."""

    queryset = Symbol.objects.none()
    serializer_class = OwnSerializer
    rights = {"GET": "symbols.view_usersymbol", "POST": "symbols.add_usersymbol", "DELETE": "symbols.delete_usersymbol"}
    parser_classes = [Json]
    pagination_class = None
    lookup_value_regex = "[0-9]{1,18}"

    @extend_schema(responses=OwnSerializer(many=True))
    def list(self, request: Request) -> Response:
        own = wants.own_symbols(user_id=request.user.pk)
        markets = marked(Symbol.objects.filter(pk__in=[one.row.pk for one in own]), request.user.pk)
        rows = {row.pk: row for row in with_live_prices(list(markets))}
        return Response(OwnSerializer([one._replace(row=rows[one.row.pk]) for one in own], many=True).data)

    @extend_schema(request=AddSerializer, responses=VerdictsSerializer)
    def create(self, request: Request) -> Response:
        """Add symbols, a line each: ``DOGE`` or the exchange's own spelling. Each line gets a verdict; an unknown one the nearest names."""
        wanted = AddSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        values = wanted.validated_data
        verdicts = wants.symbols_add(user=request.user, exchange=values["exchange"], lines=values["lines"])
        return Response(VerdictsSerializer({"verdicts": verdicts}).data)

    @extend_schema(responses=RemovedSerializer)
    def destroy(self, request: Request, pk: str) -> Response:
        """Take a symbol, by its id, off your list. What you hold of it stays watched."""
        removed = wants.symbols_remove(user=request.user, ids=[int(pk)])
        if not removed:
            raise NotFound("That symbol is not among those you added.")
        return Response(RemovedSerializer({"removed": removed, "message": f"{', '.join(removed)}: removed from your list."}).data)


class PositionViewSet(viewsets.GenericViewSet):
    """What you hold: read with your own key, or entered by hand."""

    queryset = Position.objects.none()
    serializer_class = PositionSerializer
    rights = {
        "GET": "symbols.view_position",
        "POST": "symbols.add_position",
        "DELETE": "symbols.delete_position",
        "sync": "symbols.change_position",
    }
    parser_classes = [Json]
    pagination_class = None
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Position]:
        counting = wants.counting(self.request.user.pk).filter(pk=OuterRef("pk"))
        rows = Position.objects.filter(user_id=self.request.user.pk).select_related("symbol")
        return rows.annotate(watched=Exists(counting)).order_by("exchange_id", F("value").desc(nulls_last=True), "asset", "pk")

    @extend_schema(responses=PositionSerializer(many=True))
    def list(self, request: Request) -> Response:
        return Response(PositionSerializer(self.get_queryset(), many=True).data)

    @extend_schema(request=EnterSerializer, responses={HTTP_201_CREATED: PositionSerializer})
    def create(self, request: Request) -> Response:
        """Note what you hold; the same asset again changes its quantity."""
        entered = EnterSerializer(data=request.data)
        entered.is_valid(raise_exception=True)
        try:
            row = wants.position_enter(user=request.user, **entered.validated_data)
        except wants.UnknownAsset as error:
            raise ValidationError({"asset": [str(error)]}) from None
        return Response(PositionSerializer(self.get_queryset().get(pk=row.pk)).data, status=HTTP_201_CREATED)

    @extend_schema(responses=OutcomeSerializer)
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget a position that was entered by hand."""
        if not wants.position_remove(user=request.user, pk=int(pk)):
            raise NotFound("There is no position of yours with that number that was entered by hand.")
        return Response(OutcomeSerializer({"ok": True, "message": "Removed."}).data)

    @extend_schema(request=SyncSerializer, responses=OutcomeSerializer)
    @action(detail=False, methods=["post"])
    def sync(self, request: Request) -> Response:
        """Read your positions now, with the key you stored for that exchange."""
        wanted = SyncSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        exchange = wanted.validated_data["exchange"]
        answer = wants.positions_sync(user=request.user, exchange=exchange)
        row = UserExchange.objects.filter(user=request.user, exchange=exchange).first()
        failed = row is not None and row.key_error
        return Response(OutcomeSerializer({"ok": answer.ok and not failed, "message": answer.message}).data)
