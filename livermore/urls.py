"""Every address. A page needs a login unless its view says otherwise (LoginRequiredMiddleware)."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import DefaultRouter

from alerts.api import AlertViewSet
from alerts.views import dashboard
from exchanges.api import ExchangeViewSet
from livermore import views
from market_data.api import CandlesView
from symbols.api import SymbolViewSet

router = DefaultRouter()
router.include_format_suffixes = False
router.register("exchanges", ExchangeViewSet)
router.register("symbols", SymbolViewSet)
router.register("alerts", AlertViewSet)

api: list[URLPattern | URLResolver] = [
    path("exchanges/<str:exchange_id>/symbols/<path:symbol>/candles/", CandlesView.as_view(), name="candles"),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", login_required(SpectacularSwaggerSplitView.as_view(url_name="schema")), name="api-docs"),
    path("", include(router.urls)),
    re_path(r"", views.api_not_found),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", dashboard, name="dashboard"),
    path("login/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", views.PasswordChange.as_view(), name="password_change"),
    path("admin/", admin.site.urls),
    path("api/", include(api)),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("favicon.ico", views.favicon),
]

handler404 = "livermore.views.not_found"
handler500 = "livermore.views.failed"
