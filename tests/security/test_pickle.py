"""Nothing that is read back from Redis or a session runs: a pickle planted there stays bytes."""

import base64
import contextlib
import pickle
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import signing
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from livermore import bus, keys
from tests.alerts.test_consumers import HEADERS, opened


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def bomb(mark: Path) -> bytes:
    return pickle.dumps(Bomb(mark))


def test_the_bomb_works(mark: Path, bomb: bytes) -> None:
    """Else nothing below would prove anything."""
    pickle.loads(bomb)
    assert mark.exists()


def test_the_serializers_are_json() -> None:
    assert settings.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"
    assert settings.CACHES["default"]["OPTIONS"]["SERIALIZER"] == "django_redis.serializers.json.JSONSerializer"
    assert settings.MESSAGE_STORAGE == "django.contrib.messages.storage.fallback.FallbackStorage"  # signed JSON
    assert not any("pickle" in str(value).lower() for value in (settings.CACHES, settings.CHANNEL_LAYERS))


def test_a_pickle_in_the_cache_is_not_run(redis_url: str, mark: Path, bomb: bytes) -> None:
    cache.set("planted", {"there": 1})
    (name,) = bus.sync().keys("*planted*")
    bus.sync().set(name, bomb)
    with pytest.raises(Exception, match=r"utf-8|JSON|decode"):
        cache.get("planted")
    assert not mark.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("signed", [True, False])
def test_a_pickle_in_a_session_is_not_run(redis_url: str, mark: Path, bomb: bytes, signed: bool) -> None:
    """Even one whose signature is right, of somebody who knows SECRET_KEY."""

    class Pickled:
        def dumps(self, obj: Any) -> bytes:
            return bomb

        loads = staticmethod(pickle.loads)

    salt = SessionStore().key_salt
    data = signing.dumps({}, salt=salt, serializer=Pickled) if signed else base64.b64encode(b"x:" + bomb).decode()
    Session.objects.create(session_key="planted0planted0planted0planted0", session_data=data, expire_date=timezone.now().replace(year=2100))
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "planted0planted0planted0planted0"
    assert client.get("/").status_code in {302, 500}
    assert not mark.exists()


@pytest.mark.django_db(transaction=True)
async def test_a_pickle_on_the_control_plane_and_on_a_channel_is_not_run(redis_url: str, mark: Path, bomb: bytes) -> None:
    layer = get_channel_layer()
    name = await layer.new_channel()
    redis = bus.connect()
    await redis.zadd(f"{layer.prefix}{name.partition('!')[0]}!", {b"x" * 12 + bomb: 9e12})
    with contextlib.suppress(ValueError, TypeError):  # bytes that are no message
        await layer.receive(name)
    async with opened(None, HEADERS):
        await redis.publish(keys.channel_alerts("coinbase"), bomb)
    await redis.aclose()
    await layer.close_pools()
    assert not await sync_to_async(mark.exists)()
