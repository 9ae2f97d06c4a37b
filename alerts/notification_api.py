"""/api/my/channels/, …/notifications/, …/deliveries/ and …/silences/: how the logged-in user is told of alerts.

An address goes in and never comes out.
"""

import re
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts import notification_services as services
from alerts import webpush
from alerts.api import alert_or_404
from alerts.channels import BadChannel
from alerts.delivery_services import SUBSCRIPTION_ENDED, delivery_test, push_private_key
from alerts.messages import of_test
from alerts.models import AlertRule, Delivery, Kind, NotificationChannel, NotificationSettings, Silence
from alerts.policy import Repeat
from exchanges.api import Json, RedisUnavailable
from exchanges.events import TIMEFRAMES
from livermore import bus, keys
from livermore.pagination import LongPages

RIGHTS = {
    "GET": "exchanges.view_preferences",
    "POST": "exchanges.change_preferences",
    "PATCH": "exchanges.change_preferences",
    "DELETE": "exchanges.change_preferences",
}
NUMBER = "[0-9]{1,18}"


def delivering() -> bool:
    """Whether a process delivers. Raises what Redis raises."""
    return bool(bus.sync().exists(keys.delivery_beat()))


class ChannelSerializer(serializers.ModelSerializer):
    """Where you are told of alerts. Its address is stored encrypted and never shown: ``service`` says where it leads."""

    ended = serializers.BooleanField(read_only=True, help_text="Whether a browser has ended its subscription: nothing arrives there.")

    class Meta:
        model = NotificationChannel
        fields = [
            "id",
            "kind",
            "name",
            "service",
            "enabled",
            "timeframes",
            "mine_only",
            "created_at",
            "last_sent_at",
            "last_error",
            "last_error_at",
            "hold_until",
            "ended",
        ]


class ChannelChangeSerializer(serializers.Serializer):
    """``address``: a webhook URL as its service gives it, or an Apprise URL."""

    name = serializers.CharField(max_length=80, required=False, allow_blank=True)
    address = serializers.CharField(max_length=2_000, write_only=True, required=False, trim_whitespace=True)
    enabled = serializers.BooleanField(required=False)
    timeframes = serializers.ListField(child=serializers.ChoiceField(list(TIMEFRAMES)), min_length=1, required=False)
    mine_only = serializers.BooleanField(required=False, help_text="Only symbols that you hold or added.")

    def validate_timeframes(self, value: list[str]) -> list[str]:
        return [name for name in TIMEFRAMES if name in value]


class ChannelAddSerializer(ChannelChangeSerializer):
    kind = serializers.ChoiceField(services.KINDS)
    address = serializers.CharField(max_length=2_000, write_only=True, trim_whitespace=True)


class DeliverySerializer(serializers.ModelSerializer):
    """A message to one of your channels, and what became of it."""

    class Meta:
        model = Delivery
        fields = ["id", "channel", "about", "title", "state", "attempts", "last_error", "created_at", "due_at", "sent_at", "closed_at"]


class ChannelViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Your notification channels."""

    queryset = NotificationChannel.objects.none()
    serializer_class = ChannelSerializer
    rights = {**RIGHTS, "test": "exchanges.change_preferences"}
    parser_classes = [Json]
    pagination_class = None
    filter_backends: list[Any] = []
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[NotificationChannel]:
        found: QuerySet[NotificationChannel] = services.channels_of(self.request.user)
        return found

    @extend_schema(request=ChannelAddSerializer, responses={201: ChannelSerializer})
    def create(self, request: Request) -> Response:
        wanted = _valid(ChannelAddSerializer(data=request.data))
        row = _told(lambda: services.channel_add(user=request.user, **wanted))
        return Response(ChannelSerializer(row).data, status=201)

    @extend_schema(request=ChannelChangeSerializer, responses=ChannelSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        channel = self.get_object()
        wanted = _valid(ChannelChangeSerializer(data=request.data))
        if not wanted.get("name", "x").strip():
            wanted["name"] = channel.service
        if "address" in wanted and channel.kind == Kind.PUSH:
            raise ValidationError({"address": ["A browser gives its own: switch it off and on again there."]})
        return Response(ChannelSerializer(_told(lambda: services.channel_change(channel=channel, **wanted))).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        self.get_object().delete()
        return Response(status=204)

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a message there, once. Look at ``/api/my/deliveries/{id}/`` until its ``state`` is sent or failed: that is what happened."""
        channel = self.get_object()
        if channel.ended:
            raise ValidationError({"detail": SUBSCRIPTION_ENDED})
        try:
            if not delivering():
                raise ValidationError({"detail": "No process delivers notifications: start one with `python manage.py rundelivery`."})
        except bus.FAILURES:
            raise RedisUnavailable from None
        row = delivery_test(channel=channel, message=of_test(channel.name), now=services.now_ms())
        return Response(DeliverySerializer(row).data, status=202)


class BrowserKeysSerializer(serializers.Serializer):
    """``PushSubscription.toJSON().keys``."""

    p256dh = serializers.CharField(max_length=200)
    auth = serializers.CharField(max_length=50)


class BrowserAddSerializer(serializers.Serializer):
    """What ``PushSubscription.toJSON()`` gives. ``replaces``: the endpoint that the browser had before, where it has another now."""

    endpoint = serializers.CharField(max_length=2_000, write_only=True)
    keys = BrowserKeysSerializer(write_only=True)
    name = serializers.CharField(max_length=80, default="A browser", help_text="To know it again: `Firefox on Linux`.")
    replaces = serializers.CharField(max_length=2_000, required=False, default="", allow_blank=True, write_only=True)


class PushKeySerializer(serializers.Serializer):
    key = serializers.CharField(help_text="`applicationServerKey`, to subscribe with.")


class BrowserViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Your browsers that are told while no page is open (Web Push). Each is a channel too: `/api/my/channels/` changes and tests it."""

    queryset = NotificationChannel.objects.none()
    serializer_class = ChannelSerializer
    rights = {**RIGHTS, "key": RIGHTS["GET"]}
    parser_classes = [Json]
    pagination_class = None
    filter_backends: list[Any] = []
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[NotificationChannel]:
        found: QuerySet[NotificationChannel] = services.channels_of(self.request.user).filter(kind=Kind.PUSH)
        return found

    @extend_schema(request=BrowserAddSerializer, responses={201: ChannelSerializer})
    def create(self, request: Request) -> Response:
        """Tell a browser. The same subscription again changes nothing; it is the last one's who was logged in there."""
        wanted = _valid(BrowserAddSerializer(data=request.data))
        try:
            subscription = webpush.subscription(wanted)
        except ValueError as error:
            raise ValidationError({"endpoint": [f"{error}: switch notifications off and on again in the browser.".capitalize()]}) from None
        row = _told(
            lambda: services.browser_add(user=request.user, subscription=subscription, name=wanted["name"], replaces=wanted["replaces"])
        )
        return Response(ChannelSerializer(row).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        self.get_object().delete()
        return Response(status=204)

    @extend_schema(responses=PushKeySerializer)
    @action(detail=False)
    def key(self, request: Request) -> Response:
        """The public half of the key pair of this installation."""
        return Response({"key": webpush.public_key(push_private_key())})


class DeliveryViewSet(viewsets.ReadOnlyModelViewSet):
    """What was sent to your channels in the last 30 days, or was not, and why; newest first."""

    queryset = Delivery.objects.none()
    serializer_class = DeliverySerializer
    rights = {"GET": "exchanges.view_preferences"}
    lookup_value_regex = NUMBER
    filter_backends: list[Any] = []
    pagination_class = LongPages

    def get_queryset(self) -> QuerySet[Delivery]:
        return Delivery.objects.filter(channel__user=self.request.user)


class SilenceSerializer(serializers.ModelSerializer):
    """``ack``: until the stage of the series changes; ``snooze``: until ``until``. ``timeframe`` empty: all of the symbol's."""

    exchange_id = serializers.CharField()

    class Meta:
        model = Silence
        fields = ["id", "kind", "exchange_id", "symbol", "timeframe", "stage", "until", "created_at"]


class SilenceAddSerializer(serializers.Serializer):
    """``uid``: of the alert. ``minutes`` and ``whole_symbol`` are for a snooze."""

    kind = serializers.ChoiceField([("ack", "acknowledge"), ("snooze", "snooze")])
    uid = serializers.CharField(max_length=200)
    minutes = serializers.IntegerField(min_value=1, max_value=services.LONGEST_SNOOZE, default=60)
    whole_symbol = serializers.BooleanField(default=True)


class SilenceViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """What you have acknowledged and snoozed: none of your channels, and no open page, tells of it."""

    queryset = Silence.objects.none()
    serializer_class = SilenceSerializer
    rights = RIGHTS
    parser_classes = [Json]
    pagination_class = None
    filter_backends: list[Any] = []
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Silence]:
        return Silence.objects.filter(user=self.request.user).exclude(until__lte=services.now_ms())

    @extend_schema(request=SilenceAddSerializer, responses={201: SilenceSerializer})
    def create(self, request: Request) -> Response:
        wanted = _valid(SilenceAddSerializer(data=request.data))
        alert = alert_or_404(request.user.pk, wanted["uid"])
        if wanted["kind"] == "ack":
            row = services.acknowledge(user=request.user, alert=alert)
        else:
            row = services.snooze(user=request.user, alert=alert, minutes=wanted["minutes"], whole_symbol=wanted["whole_symbol"])
        return Response(SilenceSerializer(row).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        services.silence_end(silence=self.get_object())
        return Response(status=204)


@extend_schema_field({"type": "string", "example": "22:00"})
class ClockField(serializers.Field):
    """A time of day, ``22:00``; null for none."""

    def to_representation(self, value: int) -> str:
        return f"{value // 60:02}:{value % 60:02}"

    def to_internal_value(self, data: Any) -> Any:
        found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", str(data))
        if found is None:
            raise ValidationError("Write a time of day, e.g. 22:00.")
        return int(found[1]) * 60 + int(found[2])


class RepeatSerializer(serializers.Serializer):
    rule = serializers.IntegerField()
    name = serializers.CharField(read_only=True)
    repeat = serializers.ChoiceField([(one.value, one.words) for one in Repeat])


class NotificationSettingsSerializer(serializers.ModelSerializer):
    """When you are told, and when not. Quiet hours are in the zone of your settings; in ``zone``, where they have none."""

    quiet_from = ClockField(required=False, allow_null=True)
    quiet_to = ClockField(required=False, allow_null=True)
    repeats = RepeatSerializer(many=True, required=False)
    delivering = serializers.BooleanField(read_only=True, allow_null=True, help_text="Whether a process delivers now; null: not known.")

    class Meta:
        model = NotificationSettings
        fields = ["pages", "health", "quiet_from", "quiet_to", "zone", "group_from", "repeats", "delivering"]


class NotificationsView(APIView):
    """When you are told of alerts outside the page, and when not."""

    rights = {"GET": RIGHTS["GET"], "PATCH": RIGHTS["PATCH"]}
    parser_classes = [Json]

    @extend_schema(operation_id="notifications_retrieve", responses=NotificationSettingsSerializer)
    def get(self, request: Request) -> Response:
        return self._shown(request)

    @extend_schema(
        operation_id="notifications_update", request=NotificationSettingsSerializer(partial=True), responses=NotificationSettingsSerializer
    )
    def patch(self, request: Request) -> Response:
        wanted = _valid(NotificationSettingsSerializer(data=request.data, partial=True))
        rules = {rule.pk: rule for rule in AlertRule.objects.all()}
        repeats = wanted.pop("repeats", [])
        if unknown := [one["rule"] for one in repeats if one["rule"] not in rules]:
            raise ValidationError({"repeats": [f"There is no rule {unknown[0]}."]})
        _told(lambda: services.settings_set(user=request.user, **wanted))
        for one in repeats:
            services.repeat_set(user=request.user, rule=rules[one["rule"]], repeat=Repeat(one["repeat"]))
        return self._shown(request)

    def _shown(self, request: Request) -> Response:
        row: Any = services.settings_of(request.user)
        row.repeats = [{"rule": rule.pk, "name": rule.name, "repeat": repeat.value} for rule, repeat in services.repeats_of(request.user)]
        try:
            row.delivering = delivering()
        except bus.FAILURES:
            row.delivering = None
        return Response(NotificationSettingsSerializer(row).data)


def _valid(serializer: serializers.Serializer) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _told(write: Any) -> Any:
    """What a write gives, its refusals as answers."""
    try:
        return write()
    except BadChannel as error:
        raise ValidationError({"address": [str(error)]}) from None
    except DjangoValidationError as error:
        raise ValidationError(error.message_dict) from None
