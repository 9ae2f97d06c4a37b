"""What daphne and uvicorn serve: pages over HTTP, the feed over a websocket."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
pages = get_asgi_application()  # loads the applications: what follows imports models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from alerts.consumers import FeedConsumer  # noqa: E402
from livermore import embedded  # noqa: E402

if settings.REDIS_EMBEDDED:
    embedded.ensure(settings.DATA_DIR)


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a websocket on an unknown path with 403. URLRouter alone would raise, and log a traceback, for each."""
    await receive()
    await send({"type": "websocket.close"})


sockets = URLRouter([path("ws/feed/", FeedConsumer.as_asgi()), re_path(r"", refuse)])
application = ProtocolTypeRouter({"http": pages, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))})
