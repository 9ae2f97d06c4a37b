"""Every address. A page needs a login unless its view says otherwise (LoginRequiredMiddleware)."""

from allauth.account.views import reauthenticate
from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import APIRootView, DefaultRouter

from alerts.across_api import AcrossView, VenuesView
from alerts.api import AlertViewSet
from alerts.notification_api import BrowserViewSet, ChannelViewSet, DeliveryViewSet, NotificationsView, SilenceViewSet
from alerts.receipt_api import ReceiptView
from alerts.views import alert_page, dashboard, prices
from alerts.why_api import WhyView
from exchanges.api import ExchangeViewSet
from exchanges.views import exchanges as exchanges_page
from livermore import views
from livermore.metrics import metrics
from livermore.permissions import LOGGED_IN
from market_data.api import CandlesView
from market_data.views import symbol_page
from symbols.account_api import OwnExchangeViewSet, SettingsView
from symbols.api import OwnSymbolViewSet, PositionViewSet, SymbolViewSet
from symbols.views import Settings
from symbols.views import symbols as symbols_page


class Root(APIRootView):
    """The endpoints."""

    rights = {"GET": LOGGED_IN}


class Router(DefaultRouter):
    APIRootView = Root


router = Router()
router.include_format_suffixes = False
router.register("exchanges", ExchangeViewSet)
router.register("symbols", SymbolViewSet)
router.register("alerts", AlertViewSet)
router.register("my/symbols", OwnSymbolViewSet, basename="own-symbol")
router.register("my/positions", PositionViewSet, basename="position")
router.register("my/channels", ChannelViewSet, basename="channel")
router.register("my/browsers", BrowserViewSet, basename="browser")
router.register("my/deliveries", DeliveryViewSet, basename="delivery")
router.register("my/silences", SilenceViewSet, basename="silence")
router.register("my/exchanges", OwnExchangeViewSet, basename="own-exchange")

api: list[URLPattern | URLResolver] = [
    path("exchanges/<str:exchange_id>/symbols/<path:symbol>/candles/", CandlesView.as_view(), name="candles"),
    path("across/", AcrossView.as_view(), name="across"),
    path("coins/<str:coin>/venues/", VenuesView.as_view(), name="venues"),
    path("exchanges/<str:exchange_id>/symbols/<path:symbol>/why/", WhyView.as_view(), name="why"),
    path("alerts/<path:uid>/receipt/", ReceiptView.as_view(), name="receipt"),
    path("my/notifications/", NotificationsView.as_view(), name="own-notifications"),
    path("my/settings/", SettingsView.as_view(), name="own-settings"),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", login_required(SpectacularSwaggerSplitView.as_view(url_name="schema")), name="api-docs"),
    path("", include(router.urls)),
    re_path(r"", views.api_not_found),
]

account: list[URLPattern | URLResolver] = [
    path("confirm/", reauthenticate, name="account_reauthenticate"),
    path("two-factor/", include("allauth.mfa.urls")),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", dashboard, name="dashboard"),
    path("alerts/<path:uid>/", alert_page, name="alert"),
    path("symbols/", symbols_page, name="symbols"),
    path("prices/", prices, name="prices"),
    path("exchanges/", exchanges_page, name="exchanges"),
    path("settings/", Settings.as_view(), name="settings"),
    path("symbols/<str:exchange_id>/<path:symbol>/", symbol_page, name="symbol"),
    path("login/", views.LogIn.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    # The names by which allauth finds them.
    path("login/", views.LogIn.as_view(), name="account_login"),
    path("logout/", auth.LogoutView.as_view(), name="account_logout"),
    path("account/", include(account)),
    path("password/", views.PasswordChange.as_view(), name="password_change"),
    path("admin/login/", views.admin_log_in),
    path("admin/", admin.site.urls),
    path("api/", include(api)),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("favicon.ico", views.favicon),
    path("service-worker.js", views.service_worker, name="service-worker"),
]

handler404 = "livermore.views.not_found"
handler500 = "livermore.views.failed"
