"""What the Channels tutorial builds: a consumer in a group of the channel layer, and ``group_send`` for every message. Served by daphne.

With the same applications installed, so that it is also the least that a web process of these costs.
"""

import json
import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "livermore.settings")
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402
from channels_redis.pubsub import RedisPubSubChannelLayer  # noqa: E402
from django.conf import settings  # noqa: E402

GROUP = "benchmark"
_OPTIONS = {"hosts": [{"address": settings.REDIS_URL, "socket_timeout": None}], "prefix": "tutorial"}
settings.CHANNEL_LAYERS["tutorial"] = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": _OPTIONS}


def layer() -> RedisPubSubChannelLayer:
    """The consumers' layer, for the one who sends."""
    return RedisPubSubChannelLayer(**_OPTIONS)


class Consumer(AsyncWebsocketConsumer):
    channel_layer_alias = "tutorial"

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data='{"type":"snapshot"}')

    async def relay(self, event: dict[str, object]) -> None:
        await self.send(text_data=json.dumps(event["message"]))


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The least that a web process can answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


application = ProtocolTypeRouter({"http": hello, "websocket": Consumer.as_asgi()})
