"""Pages that belong to no app: health, the password, and the answers for what was not found or broke."""

from pathlib import Path
from typing import Any

from allauth.account.utils import perform_login
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.contrib.messages.views import SuccessMessageMixin
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import Resolver404, resolve, reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from rest_framework.exceptions import NotFound
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from livermore import readiness


@login_not_required
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers. Says nothing about what it depends on: see readyz."""
    return JsonResponse({"ok": True})


@login_not_required
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether database and Redis answer and the migrations are applied; 503 where not. Each part with its reason."""
    status, body = readiness.answer(readiness.parts())
    return JsonResponse(body, status=status)


@login_not_required
def favicon(request: HttpRequest) -> HttpResponse:
    """For pages that name no icon: the admin's and Swagger's."""
    return redirect(static("livermore/icons/favicon.svg"))


@login_not_required
@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """The service worker, from the root: its scope is every page. Asked for anew each time, so that no old one stays.

    Also for who is not logged in: browsers look for a new one whenever they like, and take no redirect for it.
    """
    script = Path(str(finders.find("livermore/js/service-worker.js"))).read_bytes()
    return HttpResponse(script, content_type="text/javascript; charset=utf-8", headers={"Cache-Control": "no-cache"})


@method_decorator(login_not_required, name="dispatch")
class LogIn(LoginView):
    """Name and password; then the second factor, for who has one. Who may not open a page logs in as somebody who may."""

    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        for_staff = self.get_redirect_url().startswith(reverse("admin:index"))
        if for_staff and request.user.is_authenticated and not request.user.is_staff:
            self.redirect_authenticated_user = False
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = perform_login(self.request, form.get_user(), redirect_url=self.get_success_url())
        return response


@login_not_required
def admin_log_in(request: HttpRequest) -> HttpResponse:
    """The admin's own form knows no second factor."""
    query = request.META["QUERY_STRING"]
    return redirect(f"{reverse('login')}{'?' if query else ''}{query}")


def locked_out(request: HttpRequest, response: Any = None, credentials: Any = None, *args: Any, **kwargs: Any) -> HttpResponse:
    """For whoever guessed a password too often."""
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    return render(request, "locked_out.html", {"minutes": minutes}, status=429)


class PasswordChange(SuccessMessageMixin, PasswordChangeView):
    """A person's own password; other sessions of theirs end with it."""

    template_name = "registration/password_change.html"
    success_url = reverse_lazy("dashboard")
    success_message = "Your password was changed."


class ApiNotFound(APIView):
    """Everything under /api/ that is no endpoint: JSON, for whoever is logged in."""

    permission_classes = [IsAuthenticated]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not _exists(f"{request.path_info}/"):
            raise NotFound(f"There is no {request.path_info} here: /api/docs/ lists what there is.")
        if request.method not in {"GET", "HEAD"}:
            raise NotFound(f"Paths end with a slash: {request.path_info}/")

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        query = request.META["QUERY_STRING"]
        return redirect(f"{request.path}/{'?' if query else ''}{query}")


def _exists(path: str) -> bool:
    try:
        return resolve(path).func is not api_not_found
    except Resolver404:
        return False


api_not_found = ApiNotFound.as_view()


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": "Not found."}, status=404)
    return defaults.page_not_found(request, exception)


@login_not_required
def failed(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": "The server failed on this request; its log says why."}, status=500)
    return defaults.server_error(request)
