"""/api/my/settings/ and /api/my/exchanges/: what the logged-in user set."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from exchanges.api import Json, exchange_or_404
from exchanges.events import TIMEFRAMES
from exchanges.models import Exchange, Palette, Preferences, Theme, UserExchange
from symbols import account


class SettingsSerializer(serializers.ModelSerializer):
    """How you want to be shown things. ``time_zone`` empty: that of the browser."""

    timeframes = serializers.ListField(child=serializers.ChoiceField(list(TIMEFRAMES)), min_length=1)
    theme = serializers.ChoiceField(Theme.choices)
    palette = serializers.ChoiceField(Palette.choices)

    class Meta:
        model = Preferences
        fields = ["region", "time_zone", "timeframes", "minimum_position_value", "show_moves", "theme", "palette"]


class SettingsView(APIView):
    """Your settings. A change reaches your open pages and the running connectors at once."""

    rights = {"GET": "exchanges.view_preferences", "PATCH": "exchanges.change_preferences"}
    parser_classes = [Json]

    @extend_schema(operation_id="settings_retrieve", responses=SettingsSerializer)
    def get(self, request: Request) -> Response:
        return Response(SettingsSerializer(account.preferences_of(request.user)).data)

    @extend_schema(operation_id="settings_update", request=SettingsSerializer(partial=True), responses=SettingsSerializer)
    def patch(self, request: Request) -> Response:
        changes = SettingsSerializer(data=request.data, partial=True)
        changes.is_valid(raise_exception=True)
        try:
            row = account.preferences_set(user=request.user, **changes.validated_data)
        except DjangoValidationError as error:
            raise ValidationError(error.message_dict) from None
        return Response(SettingsSerializer(row).data)


class OwnExchangeSerializer(serializers.Serializer):
    """How you use an exchange. A stored key never comes out again; ``key_state`` says whether it works."""

    exchange_id = serializers.CharField()
    watch = serializers.BooleanField()
    own = serializers.BooleanField(help_text="Where you buy: at most one.")
    share = serializers.BooleanField(help_text="Your signals outside Tier 1 go to everybody who watches this exchange, without your name.")
    taker_fee = serializers.DecimalField(
        max_digits=7, decimal_places=6, allow_null=True, help_text="Yours, as a share: 0.001 is 0.1 %. Null: the published one."
    )
    published_taker_fee = serializers.DecimalField(max_digits=7, decimal_places=6)
    key_state = serializers.CharField(help_text="none, unchecked, works or failed")
    key_error = serializers.CharField(help_text="Why it does not work, and the fix.")
    key_checked_at = serializers.IntegerField(allow_null=True, help_text="Milliseconds UTC.")


class OwnExchangeChangeSerializer(serializers.Serializer):
    watch = serializers.BooleanField(required=False)
    own = serializers.BooleanField(required=False)
    share = serializers.BooleanField(required=False)
    taker_fee = serializers.DecimalField(
        max_digits=7, decimal_places=6, min_value=0, max_value=1, required=False, allow_null=True, help_text="Null: the published one."
    )


class OwnExchangeViewSet(viewsets.GenericViewSet):
    """The exchanges you watch, and the one where you buy. Keys are stored on the settings page only."""

    queryset = UserExchange.objects.none()
    serializer_class = OwnExchangeSerializer
    rights = {"GET": "exchanges.view_preferences", "PATCH": "exchanges.change_preferences"}
    parser_classes = [Json]
    pagination_class = None
    lookup_field = "exchange_id"
    lookup_value_regex = "[^/]+"

    @extend_schema(responses=OwnExchangeSerializer(many=True))
    def list(self, request: Request) -> Response:
        rows = {row.exchange_id: row for row in account.exchanges_of(request.user)}
        return Response([_shown(one, rows.get(one.pk)) for one in Exchange.objects.filter(active=True)])

    @extend_schema(request=OwnExchangeChangeSerializer, responses=OwnExchangeSerializer)
    def partial_update(self, request: Request, exchange_id: str) -> Response:
        exchange = exchange_or_404(exchange_id)
        changes = OwnExchangeChangeSerializer(data=request.data)
        changes.is_valid(raise_exception=True)
        wanted = changes.validated_data
        if "taker_fee" in wanted and wanted["taker_fee"] is None:
            wanted = {**wanted, "taker_fee": account.PUBLISHED}
        account.exchange_set(user=request.user, exchange=exchange, **wanted)
        return Response(_shown(exchange, account.exchanges_of(request.user).get(exchange=exchange)))


def _shown(exchange: Exchange, row: UserExchange | None) -> dict[str, Any]:
    row = row or UserExchange(exchange=exchange)
    return OwnExchangeSerializer(
        {
            "exchange_id": exchange.pk,
            "watch": row.watch,
            "own": row.is_default,
            "share": row.share_overflow,
            "taker_fee": row.taker_fee,
            "published_taker_fee": exchange.taker_fee,
            "key_state": row.key_state,
            "key_error": row.key_error,
            "key_checked_at": row.key_checked_at,
        }
    ).data
