"""New keys without losing what was encrypted with the old ones, and a new SECRET_KEY without logging anybody out."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from exchanges.models import UserExchange
from livermore.fields import EncryptedTextField, encrypted
from livermore.rotation import encrypted_fields
from tests import seeds
from tests.people import person

SECRETS = ("canary-key", "canary-secret", "canary-passphrase")


@pytest.fixture(autouse=True)
def _world(db: None, redis_url: str) -> None:
    seeds.restore()


@pytest.fixture
def stored() -> UserExchange:
    trader = person("trader", group="trader")
    Authenticator.objects.create(user=trader, type="totp", data={"secret": encrypted("CANARYTOTP")})
    Authenticator.objects.create(user=trader, type="recovery_codes", data={"seed": encrypted("canaryseed"), "used_mask": 5})
    key, secret, passphrase = SECRETS
    UserExchange.objects.create(user=trader, exchange_id="binance")  # without a key
    return UserExchange.objects.create(user=trader, exchange_id="coinbase", api_key=key, api_secret=secret, api_passphrase=passphrase)


def raw() -> list[Any]:
    """What the database itself holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key, api_secret, api_passphrase FROM exchanges_userexchange")
        return [value for row in cursor.fetchall() for value in row if value]


def read_back() -> tuple[str, ...]:
    row = UserExchange.objects.get(exchange_id="coinbase")
    return row.api_key, row.api_secret, row.api_passphrase


def test_a_new_key_first_then_rotation_then_the_old_key_can_go(stored: UserExchange, settings: Any, capsys: Any) -> None:
    old = settings.FIELD_KEYS[0]
    call_command("rotatekeys", "--new-key")
    new = capsys.readouterr().out.strip()
    before = raw()
    settings.FIELD_KEYS = [new, old]
    assert read_back() == SECRETS
    call_command("rotatekeys")
    said = capsys.readouterr().out
    assert "user's exchange: 1 encrypted anew" in said
    assert "second factors: 2 encrypted anew" in said
    assert "canary" not in said
    assert not set(before) & set(raw())
    settings.FIELD_KEYS = [new]
    assert read_back() == SECRETS
    from allauth.mfa.utils import decrypt

    assert decrypt(Authenticator.objects.get(type="totp").data["secret"]) == "CANARYTOTP"
    assert Authenticator.objects.get(type="recovery_codes").data["used_mask"] == 5


def test_where_one_secret_cannot_be_read_nothing_changes(stored: UserExchange, settings: Any) -> None:
    before = raw()
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match=r"FIELD_KEYS no longer holds.*Nothing was changed"):
        call_command("rotatekeys")
    assert raw() == before
    with pytest.raises(ImproperlyConfigured):
        read_back()


def test_rotation_leaves_out_no_encrypted_field(stored: UserExchange) -> None:
    found = {(model, name) for model, names in encrypted_fields() for name in names}
    assert {(UserExchange, name) for name in ("api_key", "api_secret", "api_passphrase")} <= found
    assert all(isinstance(model._meta.get_field(name), EncryptedTextField) for model, name in found)


def test_at_rest_there_is_no_secret_in_the_clear(stored: UserExchange) -> None:
    assert len(raw()) == 3
    assert all(value.startswith("f1:") for value in raw())
    assert "canary" not in str(raw()).lower()
    assert "canary" not in str(list(Authenticator.objects.values())).lower()


def test_a_former_secret_key_logs_nobody_out(settings: Any) -> None:
    user = User.objects.create_user("mike", password="battery-staple-9")
    user.groups.add(*person("x", group="viewer").groups.all())
    client = Client()
    client.force_login(user)
    former = django_settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-" + "k3yThatIsNotSecret" * 4, [former]
    assert client.get("/").status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    settings.SECRET_KEY = "a-third-" + "k3yThatIsNotSecret" * 4
    assert client.get("/").status_code == 302, "without the fallback everybody logs in again"
