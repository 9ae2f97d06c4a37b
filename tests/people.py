"""Somebody to be in a test: logged in with the rights of a group."""

from django.contrib.auth.models import Group, User
from django.test import Client


def person(name: str, *, group: str = "", superuser: bool = False, staff: bool = True) -> User:
    """A user of that name, in that group."""
    user = User.objects.create_user(name, is_staff=staff, is_superuser=superuser)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return user


def client_of(user: User | None) -> Client:
    """A browser in which ``user`` is logged in; nobody for None. It shows the answer of a view that fails, as a server does."""
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    return client


def browser(who: str) -> Client:
    """A browser of "anonymous", a group's name, or "superuser"."""
    if who == "anonymous":
        return client_of(None)
    return client_of(person(who, superuser=True) if who == "superuser" else person(who, group=who))
