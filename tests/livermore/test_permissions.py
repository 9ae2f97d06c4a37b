"""Who may call what of the API: a view that names no right for a method is for nobody."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from livermore.permissions import LOGGED_IN, ByRight
from tests import seeds
from tests.people import person

NOBODY = {"detail": "Nobody may do that here."}
MISSING = {"detail": "This needs the permission symbols.change_symbol: an administrator gives it with a role."}


@pytest.fixture(autouse=True)
def _world(db):
    seeds.restore()


class Silent(APIView):
    """Names no rights."""

    def get(self, request: Request) -> Response:
        return Response("done")

    post = get


class Partly(Silent):
    rights = {"GET": LOGGED_IN, "PUT": "symbols.change_symbol"}


class Things(ViewSet):
    rights = {"GET": LOGGED_IN, "POST": LOGGED_IN, "paint": "symbols.change_symbol"}

    def list(self, request: Request) -> Response:
        return Response("done")

    create = list

    @action(detail=False, methods=["post"])
    def paint(self, request: Request) -> Response:
        return Response("painted")

    @action(detail=False, methods=["delete"])
    def burn(self, request: Request) -> Response:
        return Response("burnt")


def answer(view: Any, method: str, user: User | AnonymousUser) -> tuple[int, Any]:
    request = APIRequestFactory().generic(method, "/")
    force_authenticate(request, None if user.is_anonymous else user)
    response = view(request)
    return response.status_code, response.data


THINGS = Things.as_view({"get": "list", "post": "create"})
PAINT, BURN = Things.as_view({"post": "paint"}), Things.as_view({"delete": "burn"})


def test_it_is_what_every_view_has_that_says_nothing_else():
    assert [ByRight] == api_settings.DEFAULT_PERMISSION_CLASSES


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_a_view_without_rights_is_for_nobody(method: str):
    view = Silent.as_view()
    assert [answer(view, method, user) for user in (person("root", superuser=True), person("kim", group="administrator"))] == [
        (403, NOBODY),
        (403, NOBODY),
    ]


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 200), ("HEAD", 200), ("OPTIONS", 200), ("POST", 403), ("PUT", 405), ("DELETE", 405), ("TRACE", 405)],
)
def test_a_method_that_is_not_named_is_for_nobody_and_one_that_is_not_there_is_not_allowed(method: str, status: int):
    user = person("root", superuser=True)
    found, data = answer(Partly.as_view(), method, user)
    assert (found, data == NOBODY) == (status, status == 403)


@pytest.mark.parametrize("view", [Silent.as_view(), Partly.as_view(), THINGS, PAINT])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_who_is_not_logged_in_may_nothing(view: Any, method: str):
    status, data = answer(view, method, AnonymousUser())
    assert (status, data) == (403, {"detail": "Authentication credentials were not provided."})


@pytest.mark.parametrize(
    ("group", "expected"),
    [("", (403, MISSING)), ("viewer", (403, MISSING)), ("trader", (403, MISSING)), ("operator", (200, "painted"))],
)
def test_an_action_has_a_right_of_its_own(group: str, expected: tuple[int, Any]):
    user = person("kim", group=group)
    assert answer(THINGS, "POST", user) == (200, "done")
    assert answer(PAINT, "POST", user) == expected


def test_an_action_whose_method_is_not_named_is_for_nobody():
    assert answer(BURN, "DELETE", person("root", superuser=True)) == (403, NOBODY)


def test_who_is_no_longer_active_may_nothing_that_needs_a_right():
    user = person("root", superuser=True)
    user.is_active = False
    assert answer(PAINT, "POST", user) == (403, MISSING)


# The API as it is


def views(resolver: URLResolver) -> Iterator[tuple[type[APIView], dict[str, str]]]:
    """Every view of the API, with the actions that its methods lead to."""
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from views(entry)
        elif isinstance(entry, URLPattern) and issubclass(getattr(entry.callback, "cls", object), APIView):
            yield entry.callback.cls, getattr(entry.callback, "actions", None) or {}


def test_every_view_of_the_api_names_the_right_for_each_of_its_methods():
    """LOGGED_IN only where this list says so: what everybody who is logged in may read."""
    everybody, forgotten = set(), set()
    for view, actions in views(get_resolver()):
        if ByRight not in view.permission_classes:
            everybody.add(view.__name__)
            continue
        methods = set(actions or [name for name in view.http_method_names if hasattr(view, name)]) - {"head", "options"}
        for method in methods:
            right = view.rights.get(actions.get(method, ""), view.rights.get(method.upper()))
            if right is None:
                forgotten.add(f"{method} {view.__name__}")
            elif right == LOGGED_IN:
                everybody.add(view.__name__)
    assert forgotten == set()
    assert everybody == {"Root", "SpectacularAPIView", "SpectacularSwaggerSplitView", "ApiNotFound"}
