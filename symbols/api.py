"""/api/symbols/: the markets of all exchanges, and what was decided about each."""

from typing import Any

from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.filters import SearchFilter
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from exchanges.api import ExchangeFilter, Json
from livermore.pagination import StableOrdering
from symbols.models import Policy, Symbol
from symbols.services import symbols_set_policy


class CanDecide(IsAuthenticated):
    """Everybody logged in may read; deciding about symbols needs the right to change them."""

    message = "Deciding about symbols needs the permission symbols.change_symbol."

    def has_permission(self, request: Request, view: Any) -> bool:
        reads = request.method in {"GET", "HEAD", "OPTIONS"}
        return super().has_permission(request, view) and (reads or request.user.has_perm("symbols.change_symbol"))


class SymbolSerializer(serializers.ModelSerializer):
    exchange_id = serializers.CharField(read_only=True)

    class Meta:
        model = Symbol
        fields = [
            "id",
            "exchange_id",
            "symbol",
            "base",
            "quote",
            "tradable",
            "status",
            "price",
            "price_increment",
            "volume_24h",
            "quote_volume_24h",
            "change_24h",
            "alias_of",
            "rank",
            "tier",
            "policy",
            "updated_at",
        ]
        read_only_fields = [name for name in fields if name != "policy"]


class PolicySerializer(serializers.Serializer):
    """What to do with a symbol: ``auto`` by volume, ``pinned`` always, ``excluded`` never."""

    policy = serializers.ChoiceField(
        choices=Policy.choices,
        error_messages={
            "invalid_choice": f'Unknown policy "{{input}}"; known: {", ".join(Policy.values)}.',
            "required": f"Say which policy; known: {', '.join(Policy.values)}.",
        },
    )


class DecidedSerializer(SymbolSerializer):
    """The symbol as it is now. ``message``: what the connector answered; empty where nothing changed."""

    message = serializers.CharField(read_only=True)

    class Meta(SymbolSerializer.Meta):
        fields = [*SymbolSerializer.Meta.fields, "message"]
        read_only_fields = fields


class SymbolFilters(FilterSet):
    exchange = ExchangeFilter()

    class Meta:
        model = Symbol
        fields = ["tier", "base", "quote", "tradable", "policy"]


class SymbolViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Symbols with their 24 h figures, rank and tier."""

    queryset = Symbol.objects.all()
    serializer_class = SymbolSerializer
    permission_classes = [CanDecide]
    parser_classes = [Json]
    lookup_value_regex = "[0-9]{1,18}"
    filter_backends = [DjangoFilterBackend, SearchFilter, StableOrdering]
    filterset_class = SymbolFilters
    search_fields = ["symbol", "base"]
    ordering_fields = ["exchange", "symbol", "base", "rank", "price", "quote_volume_24h", "change_24h"]

    @extend_schema(request=PolicySerializer, responses=DecidedSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Decide about a symbol. A running connector follows at once."""
        symbol = self.get_object()
        decision = PolicySerializer(data=request.data)
        decision.is_valid(raise_exception=True)
        _, message = symbols_set_policy(ids=[symbol.pk], policy=decision.validated_data["policy"], by=request.user.get_username())
        symbol.refresh_from_db()
        return Response({**SymbolSerializer(symbol).data, "message": message})
