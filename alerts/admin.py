"""Alert rules, and the record of alerts, in the admin."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from alerts.models import Alert, AlertRule, Delivery, DeliveryState, Outage
from alerts.selectors import alerts_found, labels_known
from exchanges.admin import badge, exchange_label, in_one_line, moment, reload_connectors
from exchanges.events import TIMEFRAMES
from exchanges.forms import TimeframesField
from exchanges.models import Exchange
from livermore.pagination import ROWS_A_PAGE, LongPaginator


class LevelsField(forms.CharField):
    """A list of numbers, typed as ``150, 200, 250``."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(f"{level:g}" for level in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[float]:
        words = super().to_python(value).strip("[]").replace(",", " ").split()
        try:
            numbers = sorted(float(word) for word in words)
        except ValueError:
            raise forms.ValidationError("Write numbers with commas between them, e.g. 150, 200, 250.") from None
        return [int(number) if number.is_integer() else number for number in numbers]


class AlertRuleForm(forms.ModelForm):
    levels = LevelsField(help_text=AlertRule._meta.get_field("levels").help_text)
    timeframes = TimeframesField()

    class Meta:
        model = AlertRule
        fields = ["name", "enabled", "levels", "reversal_level", "oversold_buffer", "overbought_buffer", "timeframes", "cooldown"]


@admin.register(AlertRule)
class AlertRuleAdmin(SimpleHistoryAdmin, ModelAdmin):
    form = AlertRuleForm
    list_display = ["name", "enabled", "levels_text", "timeframes_text", "cooldown", "version"]
    list_filter = ["enabled"]
    search_fields = ["name"]
    readonly_fields = ["version"]
    warn_unsaved_form = True
    fieldsets = [
        (None, {"fields": ["name", "enabled", "version"]}),
        ("Level alerts", {"fields": ["levels"], "description": "MACD-V crosses a level outward; one alert a jump, for the deepest."}),
        (
            "Reversal alerts",
            {
                "fields": ["reversal_level", ("oversold_buffer", "overbought_buffer")],
                "description": "MACD-V is beyond the level, and its histogram turns by more than the buffer; once an excursion.",
            },
        ),
        ("Both", {"fields": ["timeframes", "cooldown"]}),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: AlertRule | None = None) -> bool:
        """A connector may be about to store an alert of an enabled rule: disable it first."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.enabled)

    def save_model(self, request: HttpRequest, obj: AlertRule, form: AlertRuleForm, change: bool) -> None:
        if not form.has_changed():
            return
        if change:  # in the transaction of the form; two changes at once get two versions
            obj.version = AlertRule.objects.select_for_update().values_list("version", flat=True).get(pk=obj.pk) + 1
        super().save_model(request, obj, form, change)
        transaction.on_commit(partial(_reload_all, self, request))

    @display(description="levels")
    def levels_text(self, rule: AlertRule) -> str:
        return ", ".join(f"±{level:g}" for level in rule.levels)

    @display(description="timeframes")
    def timeframes_text(self, rule: AlertRule) -> str:
        return ", ".join(rule.timeframes)


def _reload_all(model_admin: ModelAdmin, request: HttpRequest) -> None:
    reload_connectors(model_admin, request, list(Exchange.objects.filter(active=True).values_list("pk", flat=True)))


class TimeframeFilter(DropdownFilter):
    title = "timeframe"
    parameter_name = "timeframe"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in TIMEFRAMES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        return queryset.filter(timeframe=self.value()) if self.value() else queryset


class LabelFilter(DropdownFilter):
    title = "kind"
    parameter_name = "trigger_label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(label, label) for label in labels_known()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        return queryset.filter(trigger_label=self.value()) if self.value() else queryset


@admin.register(Alert)
class AlertAdmin(ModelAdmin):
    """Alerts are a record: nobody adds, changes or deletes one."""

    list_per_page = ROWS_A_PAGE
    list_display = ["candle", "on", "market", "timeframe", "kind", "value", "price", "stage", "remarks"]
    list_display_links = ["candle", "market"]
    list_filter = [("exchange", RelatedDropdownFilter), TimeframeFilter, LabelFilter, "delayed", "revised"]
    search_fields = ["symbol", "base", "uid"]
    search_help_text = "A part of a symbol, or a whole uid."
    ordering = ["-triggered_at", "-number"]
    sortable_by = ["candle"]
    show_full_result_count = False
    paginator = LongPaginator
    fieldsets = [
        (None, {"fields": ["on", "symbol", "timeframe", "trigger_label", "direction", "candle", "price"]}),
        ("Reading", {"fields": ["value", "previous_value", "signal_delta", "stage", "bias", "stages"]}),
        (
            "Record",
            {"fields": ["number", "uid", "receipt", "rule", "rule_version", "triggered", "committed", "published", "delayed", "revised"]},
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        """An alert that its owners do not share is for them, and for superusers."""
        rows = super().get_queryset(request).defer("record").prefetch_related("exchange")
        return rows if request.user.is_superuser else rows.visible_to(request.user.pk)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Alert], search_term: str) -> tuple[QuerySet[Alert], bool]:
        """By the symbols that are listed, thousands, and not by reading a million alerts."""
        words = search_term.split()
        return (alerts_found(queryset, words) if words else queryset), False

    def view_on_site(self, alert: Alert) -> str:
        """The candle's chart."""
        return f"{reverse('symbol', args=[alert.exchange_id, alert.symbol])}?timeframe={alert.timeframe}"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    @display(description="candle", ordering="candle_time")
    def candle(self, alert: Alert) -> str:
        return in_one_line(moment(alert.candle_time))

    @display(description="symbol", ordering="symbol")
    def market(self, alert: Alert) -> str:
        return in_one_line(alert.symbol)

    @display(description="triggered")
    def triggered(self, alert: Alert) -> str:
        return moment(alert.triggered_at)

    @display(description="receipt")
    def receipt(self, alert: Alert) -> str:
        return format_html('<a href="{}">what it was decided from, and when</a>', reverse("alert", args=[alert.uid]))

    @display(description="committed")
    def committed(self, alert: Alert) -> str:
        return moment(alert.committed_at)

    @display(description="published")
    def published(self, alert: Alert) -> str:
        return moment(alert.published_at)

    @display(description="exchange", ordering="exchange")
    def on(self, alert: Alert) -> str:
        return exchange_label(alert.exchange)

    @display(description="kind", ordering="trigger_label", label={"up": "success", "down": "danger"})
    def kind(self, alert: Alert) -> tuple[str, str]:
        arrow = "▲" if alert.direction == "up" else "▼"
        return alert.direction, f"{arrow} {alert.trigger_label}"

    @display(description="remarks")
    def remarks(self, alert: Alert) -> str:
        delayed = badge("delayed", "warning") if alert.delayed else ""
        revised = badge("revised", "info") if alert.revised else ""
        return format_html("{} {}", delayed, revised)

    @display(description="MACD-V", ordering="trigger_value")
    def value(self, alert: Alert) -> str:
        return f"{alert.trigger_value:.1f}"

    @display(description="timeframes")
    def stages(self, alert: Alert) -> str:
        return ", ".join(f"{item['timeframe']} {_reading(item['macdv'])} {item['stage']}" for item in alert.timeframes)


class DeliveryStateFilter(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(DeliveryState.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return queryset.filter(state=self.value()) if self.value() else queryset


class Record(ModelAdmin):
    """Written by the delivery processes: nobody adds, changes or deletes it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Delivery)
class DeliveryAdmin(Record):
    """The outbox. Whose a message is, and what it says, is for superusers: it may be about what a user holds."""

    list_per_page = ROWS_A_PAGE
    list_display = ["made", "kind", "about", "state_label", "attempts", "dwell", "last_error"]
    list_filter = [DeliveryStateFilter, "about", "channel__kind"]
    list_select_related = ["channel__user"]
    ordering = ["-pk"]
    show_full_result_count = False
    paginator = LongPaginator

    def get_fieldsets(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        own = ["user", "title", "body"] if request.user.is_superuser else []
        return [(None, {"fields": [*own, "kind", "about", "state_label", "attempts", "last_error", "made", "due", "sent", "dwell"]})]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """By the filters only: who may ask for the titles that begin with a letter reads them, letter by letter."""
        return lookup.startswith(("state", "about", "channel__kind")) and super().lookup_allowed(lookup, value, request)

    @display(description="made", ordering="created_at")
    def made(self, row: Delivery) -> str:
        return moment(row.created_at)

    @display(description="due")
    def due(self, row: Delivery) -> str:
        return moment(row.due_at)

    @display(description="sent")
    def sent(self, row: Delivery) -> str:
        return moment(row.sent_at)

    @display(description="user")
    def user(self, row: Delivery) -> str:
        return str(row.channel.user)

    @display(description="channel")
    def kind(self, row: Delivery) -> str:
        return row.channel.get_kind_display()

    @display(description="state", ordering="state", label={"sent": "success", "failed": "danger", "expired": "warning", "sending": "info"})
    def state_label(self, row: Delivery) -> tuple[str, str]:
        return row.state, row.get_state_display()

    @display(description="close to sent")
    def dwell(self, row: Delivery) -> str:
        return "-" if row.sent_at is None else f"{max(0, row.sent_at - row.closed_at) / 1000:.1f} s"


@admin.register(Outage)
class OutageAdmin(Record):
    """When exchanges went dark, as users were told."""

    list_display = ["on", "began", "ended", "inhibited", "reason"]
    list_filter = [("exchange", RelatedDropdownFilter)]
    list_select_related = ["exchange"]
    fields = ["on", "began", "ended", "inhibited", "reason"]

    @display(description="exchange", ordering="exchange")
    def on(self, row: Outage) -> str:
        return exchange_label(row.exchange)

    @display(description="began", ordering="began_at")
    def began(self, row: Outage) -> str:
        return moment(row.began_at)

    @display(description="ended", ordering="ended_at")
    def ended(self, row: Outage) -> str:
        return moment(row.ended_at)


def _reading(macdv: float | None) -> str:
    return "-" if macdv is None else f"{macdv:.1f}"
