"""Symbols in the admin. The exchange writes them; people decide only which are watched."""

from functools import partial

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display

from exchanges.admin import OwnRows, ReadOnly, exchange_label
from livermore.pagination import ROWS_A_PAGE, LongPaginator
from symbols.models import Coin, Policy, PoolChange, Position, Symbol, UserSymbol
from symbols.services import OTHER_WORLD, symbol_set_coin, symbols_set_policy


class SymbolForm(ModelForm):
    def clean_coin(self) -> Coin | None:
        coin: Coin | None = self.cleaned_data["coin"]
        if coin is not None and coin.simulated != self.instance.exchange.is_sandbox:
            raise ValidationError(OTHER_WORLD)
        return coin


@admin.register(Symbol)
class SymbolAdmin(SimpleHistoryAdmin, ModelAdmin):
    list_per_page = ROWS_A_PAGE
    list_display = ["symbol", "chart", "on", "tier_label", "rank", "policy_label", "tradable", "last_price", "turnover", "change"]
    list_filter = [
        ("exchange", RelatedDropdownFilter),
        ("tier", ChoicesDropdownFilter),
        ("policy", ChoicesDropdownFilter),
        "tradable",
    ]
    list_select_related = ["exchange"]
    search_fields = ["symbol", "base"]
    ordering = ["exchange_id", F("rank").asc(nulls_last=True), "symbol"]
    actions = ["by_volume", "always", "never"]
    form = SymbolForm
    autocomplete_fields = ["coin"]
    radio_fields = {"policy": admin.HORIZONTAL}
    fieldsets = [
        (None, {"fields": ["symbol", "exchange", "policy", "coin", "coin_fixed"]}),
        ("As the exchange lists it", {"fields": ["base", "quote", "tradable", "status", "alias_of", "price_increment"]}),
        ("Market", {"fields": ["price", "volume_24h", "quote_volume_24h", "change_24h", "rank", "tier", "updated_at"]}),
    ]
    readonly_fields = [field.name for field in Symbol._meta.fields if field.name not in {"id", "policy", "coin"}]

    def view_on_site(self, symbol: Symbol) -> str:
        return reverse("symbol", args=[symbol.exchange_id, symbol.symbol])

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The exchange's own list is where symbols come from."""
        return False

    def save_model(self, request: HttpRequest, obj: Symbol, form: ModelForm, change: bool) -> None:
        """Decide once the page's transaction is over: the connector reads the database when it is told."""
        if "coin" in form.changed_data:
            symbol_set_coin(symbol=obj, coin=form.cleaned_data["coin"], by=request.user.get_username())
        if "policy" in form.changed_data:
            transaction.on_commit(partial(self.decide, request, [obj.pk], obj.policy))

    def decide(self, request: HttpRequest, ids: list[int], policy: str) -> None:
        changed, answer = symbols_set_policy(ids=ids, policy=policy, by=request.user.get_username())
        if changed:
            self.message_user(request, f"{changed} now watched: {Policy(policy).label}. {answer}".strip())
        else:
            self.message_user(request, f"Nothing changed: watched “{Policy(policy).label}” already.", messages.INFO)

    def decide_selected(self, request: HttpRequest, queryset: QuerySet[Symbol], policy: str) -> None:
        rows = list(queryset.exclude(policy=policy))
        self.decide(request, [row.pk for row in rows], policy)
        if rows:
            LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, f"watched: {Policy(policy).label}")

    @admin.action(description="Watch by volume (auto)", permissions=["change"])
    def by_volume(self, request: HttpRequest, queryset: QuerySet[Symbol]) -> None:
        self.decide_selected(request, queryset, "auto")

    @admin.action(description="Watch always (pin)", permissions=["change"])
    def always(self, request: HttpRequest, queryset: QuerySet[Symbol]) -> None:
        self.decide_selected(request, queryset, "pinned")

    @admin.action(description="Watch never (exclude)", permissions=["change"])
    def never(self, request: HttpRequest, queryset: QuerySet[Symbol]) -> None:
        self.decide_selected(request, queryset, "excluded")

    @display(description="exchange", ordering="exchange")
    def on(self, symbol: Symbol) -> str:
        return exchange_label(symbol.exchange)

    @display(description="tier", ordering="tier", label={"Tier 1": "success"}, empty_value="")
    def tier_label(self, symbol: Symbol) -> str | None:
        return symbol.get_tier_display()

    @display(description="watched", ordering="policy", label={"always": "info", "never": "danger"})
    def policy_label(self, symbol: Symbol) -> str:
        return symbol.get_policy_display()

    @display(description="price", ordering="price")
    def last_price(self, symbol: Symbol) -> str:
        return "-" if symbol.price is None else f"{symbol.price:,.10g}"

    @display(description="24 h turnover", ordering="quote_volume_24h")
    def turnover(self, symbol: Symbol) -> str:
        if symbol.quote_volume_24h is None:
            return "-"
        exact = f"{symbol.quote_volume_24h:,.2f} {symbol.quote}"
        return format_html('<span title="{}">{} {}</span>', exact, _short(symbol.quote_volume_24h), symbol.quote)

    @display(description="chart")
    def chart(self, symbol: Symbol) -> str:
        return format_html('<a href="{}">Chart</a>', self.view_on_site(symbol))

    @display(description="24 h change", ordering="change_24h")
    def change(self, symbol: Symbol) -> str:
        return "-" if symbol.change_24h is None else f"{symbol.change_24h:+.2f} %"


def _short(number: float) -> str:
    """1234567 as 1.2 M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.1f} {letter}"
    return f"{number:.1f}"


@admin.register(Coin)
class CoinAdmin(ModelAdmin):
    """Coins over all exchanges. What they are called and traded follows from the exchanges; a market cap comes from its provider."""

    list_per_page = ROWS_A_PAGE
    list_display = ["code", "simulated", "rank", "turnover", "cap"]
    list_filter = ["simulated"]
    search_fields = ["code"]
    ordering = ["simulated", F("rank").asc(nulls_last=True), "code"]
    readonly_fields = ["code", "simulated", "volume_24h", "rank", "market_cap", "market_cap_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Coin | None = None) -> bool:
        return False

    @display(description="24 h volume, $", ordering="volume_24h")
    def turnover(self, coin: Coin) -> str:
        return "-" if coin.volume_24h is None else _short(coin.volume_24h)

    @display(description="market cap, $", ordering="market_cap")
    def cap(self, coin: Coin) -> str:
        return "-" if coin.market_cap is None else _short(coin.market_cap)


@admin.register(PoolChange)
class PoolChangeAdmin(ReadOnly):
    """Who came into a pool, moved or left, and why. How many users want a symbol shows here, and never who."""

    list_per_page = ROWS_A_PAGE
    list_display = ["at", "exchange", "symbol", "before", "after", "reason"]
    list_filter = [("exchange", RelatedDropdownFilter), ("after", ChoicesDropdownFilter)]
    list_select_related = ["exchange"]
    search_fields = ["symbol"]
    show_full_result_count = False
    paginator = LongPaginator


@admin.register(UserSymbol)
class UserSymbolAdmin(OwnRows, ReadOnly):
    list_per_page = ROWS_A_PAGE
    list_display = ["user", "symbol", "added_at"]
    list_select_related = ["user", "symbol"]
    search_fields = ["symbol__symbol"]


@admin.register(Position)
class PositionAdmin(OwnRows, ReadOnly):
    list_per_page = ROWS_A_PAGE
    list_display = ["user", "exchange", "asset", "quantity", "value", "by_hand", "updated_at"]
    list_filter = [("exchange", RelatedDropdownFilter), "by_hand"]
    list_select_related = ["user", "exchange"]
    search_fields = ["asset"]
