"""/api/across/ and /api/coins/{coin}/venues/: what is known of a coin over several exchanges, and where to act on it."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts import across
from alerts.crossexchange import Identity
from alerts.serializers import LeadLagSerializer
from exchanges import validators
from exchanges.api import RedisUnavailable
from exchanges.models import Preferences
from livermore import bus
from symbols.models import Coin


class PairSerializer(serializers.Serializer):
    """A coin on two exchanges."""

    coin = serializers.CharField()
    simulated = serializers.BooleanField()
    first_id = serializers.CharField()
    second_id = serializers.CharField()
    identity = serializers.ChoiceField([one.value for one in Identity], help_text="different: two coins of one ticker, nothing is derived.")
    lead = LeadLagSerializer(allow_null=True)


class BasisSerializer(serializers.Serializer):
    """How far a dollar coin trades above a dollar, measured on one exchange; shown, never applied."""

    quote = serializers.CharField()
    exchange_id = serializers.CharField()
    symbol = serializers.CharField()
    basis_bps = serializers.FloatField()


class AcrossSerializer(serializers.Serializer):
    """What one process finds by comparing the exchanges: empty while none does. ``at``: of the oldest estimate, milliseconds UTC."""

    pairs = PairSerializer(many=True)
    basis = BasisSerializer(many=True)


class AcrossView(APIView):
    """Of every coin on two exchanges: whether it is one coin, and who leads."""

    rights = {"GET": "symbols.view_symbol"}

    @extend_schema(operation_id="across_retrieve", responses=AcrossSerializer)
    def get(self, request: Request) -> Response:
        try:
            return Response(AcrossSerializer({"pairs": across.read_pairs(), "basis": across.read_basis()}).data)
        except bus.FAILURES as error:
            raise RedisUnavailable from error


class VenueQuerySerializer(serializers.Serializer):
    """``region``: two letters; yours where it is left out. ``simulated``: the coin of the simulated exchanges."""

    region = serializers.CharField(required=False, default="", allow_blank=True, validators=[validators.region_or_nothing])
    simulated = serializers.BooleanField(default=False)


class VenueSerializer(serializers.Serializer):
    """Best first. ``place`` is null where one cannot act, may not, or nobody knows; ``reason`` says why, in words."""

    exchange_id = serializers.CharField()
    name = serializers.CharField()
    place = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField()
    symbol = serializers.CharField(help_text="Empty where it does not list the coin.")
    price = serializers.FloatField(allow_null=True)
    taker_fee = serializers.FloatField(help_text="Yours where you set one, a share.")
    rest_ms = serializers.FloatField(allow_null=True, help_text="Measured from this host.")
    websocket_ms = serializers.FloatField(allow_null=True, help_text="Measured from this host.")
    trade_url = serializers.CharField()


class VenuesView(APIView):
    """Where to act on a coin (DIFF-04): which exchanges list it, are allowed in your region, at what fee and delay."""

    rights = {"GET": "symbols.view_symbol"}

    @extend_schema(
        operation_id="venues_list",
        parameters=[VenueQuerySerializer, OpenApiParameter("coin", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses=VenueSerializer(many=True),
    )
    def get(self, request: Request, coin: str) -> Response:
        query = VenueQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        simulated = query.validated_data["simulated"]
        rows: QuerySet[Coin] = Coin.objects.filter(code__iexact=coin.replace("\0", ""), simulated=simulated)
        row = rows.first()
        if row is None:
            raise NotFound(f"No exchange lists a coin {coin[:40]!r}{' among the simulated ones' if simulated else ''}.")
        region = query.validated_data["region"].upper() or _region(request.user.pk)
        found: list[dict[str, Any]] = across.venues(coin=row, region=region, user_id=request.user.pk)
        return Response(VenueSerializer(found, many=True).data)


def _region(user_id: int) -> str:
    return Preferences.objects.filter(pk=user_id).values_list("region", flat=True).first() or ""
