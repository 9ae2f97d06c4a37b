"""What daphne and uvicorn serve: pages over HTTP, the feed over a websocket."""

import logging
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
pages = get_asgi_application()  # loads the applications: what follows imports models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import Error as DatabaseError  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from alerts.consumers import TRY_LATER, FeedConsumer  # noqa: E402
from exchanges.tokens import TokenMiddleware  # noqa: E402
from livermore import embedded, tuning  # noqa: E402

log = logging.getLogger(__name__)

if settings.REDIS_EMBEDDED:
    embedded.ensure(settings.DATA_DIR)


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a websocket on an unknown path with 403. URLRouter alone would raise, and log a traceback, for each."""
    await receive()
    await send({"type": "websocket.close"})


class KnownUsers:
    """A websocket whose user cannot be read, since the database does not answer, is told to come back."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            await self.inner(scope, receive, send)
        except DatabaseError as error:
            log.warning("a socket is closed, since its user cannot be read: %s", error)
            await receive()
            await send({"type": "websocket.accept"})  # so that the page can tell it from being refused
            await send({"type": "websocket.close", "code": TRY_LATER})


sockets = URLRouter([path("ws/feed/", FeedConsumer.as_asgi()), re_path(r"", refuse)])
allowed = KnownUsers(AuthMiddlewareStack(TokenMiddleware(sockets)))
application = ProtocolTypeRouter({"http": pages, "websocket": AllowedHostsOriginValidator(allowed)})

tuning.settle()
