"""Exchanges and users' exchanges in the admin."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.debug import sensitive_post_parameters
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from exchanges import control
from exchanges.forms import CREDENTIALS, ExchangeForm, UserExchangeForm, UserExchangeFormSet, UserExchangeInlineForm
from exchanges.models import Exchange, ExchangeEvent, UserExchange
from exchanges.services import account_changed, exchange_statuses
from livermore.pagination import ROWS_A_PAGE, LongPaginator

_URL_FIELDS = ["adapter", "websocket_url", "rest_url", "is_sandbox"]
"""Where sockets are opened to: superusers only."""
_STATE_COLOURS = {
    "connected": "success",
    "connecting": "warning",
    "idle": "info",
    "disconnected": "danger",
    "offline": "default",
    "redis unreachable": "danger",
}


def moment(milliseconds: int | None) -> str:
    """A time in UTC, as text; a dash where there is none."""
    return "-" if milliseconds is None else f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def in_one_line(text: str) -> SafeString:
    """For a cell that shall not wrap."""
    return format_html('<span class="whitespace-nowrap">{}</span>', text)


def badge(text: str, kind: str) -> SafeString:
    """One of the theme's labels; ``kind`` is info, success, warning or danger."""
    return mark_safe(render_to_string("unfold/helpers/label.html", {"text": text, "type": kind}))  # nosec B308, B703  # the theme's template escapes


def ago(milliseconds: int | None) -> str:
    """How long ago, with the exact time on hover."""
    if milliseconds is None:
        return "-"
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return format_html('<span class="whitespace-nowrap" title="{}">{}</span>', moment(milliseconds), naturaltime(when))


def exchange_label(exchange: Exchange) -> SafeString:
    """The name, marked where it is simulated."""
    mark = badge("SIMULATED", "warning") if exchange.is_sandbox else ""
    return format_html('<span class="whitespace-nowrap">{} {}</span>', exchange.name, mark)


class ControlDialog(BaseDialogForm):
    """Asks before a command goes out: names the exchange and its present state."""

    def render_before_template(self) -> str:
        exchange = get_object_or_404(Exchange, pk=self.object_id)
        state = exchange_statuses([exchange.pk])[exchange.pk]["connection_state"]
        return format_html("<p><b>{}</b> is {}.</p>", exchange_label(exchange), state)


def _control(name: str, title: str, does: str, icon: str, variant: ActionVariant) -> Callable[..., HttpResponse]:
    """A row and page action that sends one command, after a dialog; the dialog's form is what carries the CSRF token."""

    @action(
        description=title,
        permissions=["control"],
        url_path=name,
        icon=icon,
        variant=variant,
        dialog={"title": f"{title} this exchange?", "description": does, "form_class": ControlDialog, "form_submit_text": title},
    )
    def command(self: "ExchangeAdmin", request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        self.send(request, get_object_or_404(Exchange, pk=object_id), name)
        return HttpResponse(headers={"HX-Redirect": _page_of(request)})

    return command


def _page_of(request: HttpRequest) -> str:
    """Where the dialog was opened, as a path on this site."""
    parts = urlsplit(request.headers.get("HX-Current-URL", ""))
    if not parts.path.startswith(reverse("admin:index")):
        return reverse("admin:exchanges_exchange_changelist")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@admin.register(Exchange)
class ExchangeAdmin(SimpleHistoryAdmin, ModelAdmin):
    form = ExchangeForm
    list_display = ["name", "slug", "state", "since", "pool", "adapter", "simulated", "active"]
    list_filter = [("adapter", ChoicesDropdownFilter), "active", "is_sandbox"]
    search_fields = ["id", "name"]
    actions = ["start_selected", "stop_selected", "restart_selected"]
    actions_row = ["start", "stop", "restart"]
    actions_detail = ["start", "stop", "restart"]
    warn_unsaved_form = True
    fieldsets = [
        (None, {"fields": ["name", "id", "adapter", "active", "is_sandbox"]}),
        ("Connection", {"fields": ["websocket_url", "rest_url", "limits"]}),
        ("Symbols and candles", {"fields": ["top_n", "timeframes"]}),
        ("Trading there", {"fields": [("maker_fee", "taker_fee"), "trade_url_template", "geo_restrictions"]}),
    ]
    live_fields = ["state", "since", "heartbeat", "error"]

    start = _control("start", "Start", "It connects, warms up, and then raises alerts.", "play_arrow", ActionVariant.SUCCESS)
    stop = _control(
        "stop", "Stop", "It closes its connections; nobody gets its prices or alerts until it is started.", "stop", ActionVariant.DANGER
    )
    restart = _control(
        "restart", "Restart", "It disconnects and connects again; missed candles are fetched.", "restart_alt", ActionVariant.DEFAULT
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Exchange]:
        counts = {"known_symbols": Count("symbols"), "shared_symbols": Count("symbols", filter=Q(symbols__tier=1))}
        return super().get_queryset(request).annotate(**counts)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        _attach_statuses(changelist.result_list)
        return changelist

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Exchange | None:
        exchange = super().get_object(request, object_id, from_field)
        if exchange is not None:
            _attach_statuses([exchange])
        return exchange

    def get_fieldsets(self, request: HttpRequest, obj: Exchange | None = None) -> Any:
        return self.fieldsets if obj is None else [*self.fieldsets, ("Live", {"fields": self.live_fields})]

    def get_readonly_fields(self, request: HttpRequest, obj: Exchange | None = None) -> list[str]:
        fixed = [] if obj is None else ["id", *self.live_fields]
        return fixed if request.user.is_superuser else [*fixed, *_URL_FIELDS]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A new row is a new place to connect to."""
        return request.user.is_superuser

    def has_control_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("exchanges.control_exchange")

    def save_model(self, request: HttpRequest, obj: Exchange, form: ExchangeForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "active" in form.changed_data:
            _tell(User.objects.filter(is_active=True).values_list("pk", flat=True))
        if change and form.has_changed():
            transaction.on_commit(partial(reload_connectors, self, request, [obj.pk]))

    def send(self, request: HttpRequest, exchange: Exchange, name: str) -> None:
        """Send a command; show what the connector answered, and keep it in the history of the row."""
        answer = control.request_sync(exchange.pk, name, by=request.user.get_username())
        self.log_change(request, exchange, f"{name}: {answer.message}"[:500])
        level = messages.SUCCESS if answer.ok else messages.ERROR
        self.message_user(request, f"{exchange.name}: {answer.message}", level)

    @admin.action(description="Start", permissions=["control"])
    def start_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> None:
        self.send_all(request, queryset, "start")

    @admin.action(description="Stop", permissions=["control"])
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> None:
        self.send_all(request, queryset, "stop")

    @admin.action(description="Restart", permissions=["control"])
    def restart_selected(self, request: HttpRequest, queryset: QuerySet[Exchange]) -> None:
        self.send_all(request, queryset, "restart")

    def send_all(self, request: HttpRequest, queryset: QuerySet[Exchange], name: str) -> None:
        for exchange in queryset:
            self.send(request, exchange, name)

    @display(description="slug", ordering="id")
    def slug(self, exchange: Exchange) -> str:
        return in_one_line(exchange.pk)

    @display(description="simulated", ordering="is_sandbox")
    def simulated(self, exchange: Exchange) -> str:
        return badge("SIMULATED", "warning") if exchange.is_sandbox else ""

    @display(description="state", label=_STATE_COLOURS)
    def state(self, exchange: Exchange) -> str:
        state = exchange.live["connection_state"]
        return "redis unreachable" if state == "unknown" else state

    @display(description="since")
    def since(self, exchange: Exchange) -> str:
        return ago(exchange.live.get("since"))

    @display(description="heartbeat")
    def heartbeat(self, exchange: Exchange) -> str:
        return ago(exchange.live.get("last_heartbeat"))

    @display(description="last error")
    def error(self, exchange: Exchange) -> str:
        said, at = exchange.live.get("error"), exchange.live.get("error_at")
        return f"{said} ({moment(at)})" if said and at else said or "-"

    @display(description="symbols", ordering="known_symbols")
    def pool(self, exchange: Exchange) -> str:
        return f"{exchange.shared_symbols} of {exchange.known_symbols}"


def _attach_statuses(exchanges: Any) -> None:
    """Put the live status of each exchange on its row, with one question to Redis."""
    statuses = exchange_statuses([exchange.pk for exchange in exchanges])
    for exchange in exchanges:
        exchange.live = statuses[exchange.pk]


def reload_connectors(model_admin: ModelAdmin, request: HttpRequest, exchange_ids: list[str]) -> None:
    """Tell the running connectors that a setting changed, and show what they answered. Where none runs there is nothing to tell."""
    hosted = [key for key, status in exchange_statuses(exchange_ids).items() if status["connection_state"] not in {"offline", "unknown"}]
    for exchange_id in hosted:
        answer = control.request_sync(exchange_id, "reload", by=request.user.get_username())
        level = messages.INFO if answer.ok else messages.WARNING
        model_admin.message_user(request, f"{exchange_id}: {answer.message}", level)


class ValidatedAgain(ModelAdmin):
    """Two people at once can both pass validation; the database refuses the second, who then gets the form's error instead of a 500."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError:
            return super().changeform_view(request, *args, **kwargs)


class ReadOnly(ModelAdmin):
    """A record, or what its owner alone decides on the pages: nobody writes it here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OwnRows(ModelAdmin):
    """Rows of users: everybody sees their own, superusers those of all."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return rows if request.user.is_superuser else rows.filter(user=request.user)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _tell({obj.user_id})

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        _tell({obj.user_id})

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        user_ids = set(queryset.values_list("user_id", flat=True))
        super().delete_queryset(request, queryset)
        _tell(user_ids)


def _tell(user_ids: Iterable[int]) -> None:
    """The open pages of these users, once it is stored."""
    for user_id in user_ids:
        transaction.on_commit(partial(account_changed, user_id))


@admin.register(UserExchange)
@method_decorator(sensitive_post_parameters(*CREDENTIALS), name="changeform_view")
class UserExchangeAdmin(OwnRows, ValidatedAgain):
    form = UserExchangeForm
    list_per_page = ROWS_A_PAGE
    list_display = ["user", "exchange", "is_default", "watch", "share_overflow", "credentials", "key_state"]
    list_filter = [("exchange", RelatedDropdownFilter), "is_default", "watch"]
    list_select_related = ["user", "exchange"]
    search_fields = ["user__username", "exchange__name"]
    fieldsets = [
        (None, {"fields": ["user", "exchange", "is_default", "watch", "share_overflow"]}),
        (
            "Credentials",
            {
                "fields": ["credentials", "key_state", "key_error", *CREDENTIALS, "clear_credentials"],
                "description": "Read-only keys only: Livermore never trades. Public prices need none.",
            },
        ),
    ]
    readonly_fields = ["credentials", "key_state", "key_error"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[UserExchange]:
        """Secrets stay in the database: the admin knows only whether there are any."""
        return super().get_queryset(request).defer(*CREDENTIALS).annotate(stored=~Q(api_key="") & ~Q(api_secret=""))  # nosec B106  # no password

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and not request.user.is_superuser:
            model = db_field.remote_field.model
            kwargs["queryset"], kwargs["initial"] = model.objects.filter(pk=request.user.pk), request.user.pk
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @display(description="stored", boolean=True)
    def credentials(self, row: UserExchange) -> bool:
        """Whether there are any; a row that is being added has none."""
        return getattr(row, "stored", False)


class UserExchangeInline(TabularInline):
    """A user's exchanges on the user's page; credentials have a page of their own."""

    model = UserExchange
    form = UserExchangeInlineForm
    formset = UserExchangeFormSet
    fields = ["exchange", "is_default", "watch"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[UserExchange]:
        return super().get_queryset(request).defer(*CREDENTIALS)


@admin.register(ExchangeEvent)
class ExchangeEventAdmin(ReadOnly):
    list_per_page = ROWS_A_PAGE
    list_display = ["when", "exchange", "event", "reason"]
    list_display_links = ["event"]
    list_filter = [("exchange", RelatedDropdownFilter), ("event", ChoicesDropdownFilter)]
    search_fields = ["reason"]
    show_full_result_count = False
    paginator = LongPaginator
    fields = ["exchange", "event", "reason", "when", "known_until"]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExchangeEvent]:
        return super().get_queryset(request).prefetch_related("exchange")

    @display(description="at", ordering="at")
    def when(self, event: ExchangeEvent) -> str:
        return in_one_line(moment(event.at))

    @display(description="known to hold until", ordering="seen")
    def known_until(self, event: ExchangeEvent) -> str:
        return moment(event.seen)


@admin.register(UserExchange.history.model)
class UserExchangeHistoryAdmin(ReadOnly):
    """Who changed which user's exchange, and when; of a key, nothing. For superusers: the rows are users' own."""

    list_per_page = ROWS_A_PAGE
    list_display = ["history_date", "history_type", "user", "exchange", "is_default", "watch", "share_overflow", "history_user"]
    list_filter = [("exchange", RelatedDropdownFilter)]
    list_select_related = ["user", "exchange", "history_user"]
    search_fields = ["user__username"]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser
