"""Who may call what of the API. Default deny: a view that names no right for a method is for nobody."""

from collections.abc import Mapping
from typing import Any

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

LOGGED_IN = ""
"""In place of a right: everybody who is logged in."""


class ByRight(IsAuthenticated):
    """``rights`` of a view: the permission each method needs, or each action by its name where it differs. HEAD and OPTIONS are reads."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        right = needed(view, request.method or "")
        if right is None:
            self.message = "Nobody may do that here."
            return False
        self.message = f"This needs the permission {right}: an administrator gives it with a role."
        return right == LOGGED_IN or request.user.has_perm(right)


def needed(view: Any, method: str) -> str | None:
    """The right a method of a view needs; None where it is for nobody."""
    rights: Mapping[str, str] = getattr(view, "rights", {})
    action = getattr(view, "action", None) or ""
    if action in rights:
        return rights[action]
    if not hasattr(view, method.lower()):
        return LOGGED_IN  # there is no such method: the answer is 405
    return rights.get("GET" if method in {"HEAD", "OPTIONS"} else method)
