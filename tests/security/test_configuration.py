"""Weak set-ups do not start: each, alone, is refused by the settings themselves, with its reason. What starts is closed by default."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

SETTINGS = Path(__file__).resolve().parents[2] / "livermore" / "settings.py"
KEY = Fernet.generate_key().decode()
PRODUCTION = {
    "LIVERMORE_DEMO": "false",
    "DEBUG": "false",
    "SECRET_KEY": "q7Rk2WvZ9x" * 5,
    "SECRET_KEY_FALLBACKS": "",
    "FIELD_KEYS": KEY,
    "ALLOWED_HOSTS": "livermore.example.org",
    "REDIS_URL": "redis://:a-long-password@redis.example.org:6379/0",
    "DATABASE_URL": "postgres://livermore:a-long-password@db.example.org/livermore",
    "LOG_LEVEL": "INFO",
    "METRICS_TOKEN": "",
    "METRICS_LOOPBACK": "false",
    "EXCHANGE_HOSTS": "",
    "OUTBOUND_NETWORKS": "",
    "MARKET_CAP_URL": "",
}
BAD = [
    ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
    ({"SECRET_KEY": "changeme"}, "SECRET_KEY is weak"),
    ({"SECRET_KEY": "a" * 60}, "SECRET_KEY is weak"),
    ({"SECRET_KEY": "django-insecure-" + "q7Rk2WvZ9x" * 5}, "SECRET_KEY is weak"),
    ({"SECRET_KEY_FALLBACKS": "changeme"}, "SECRET_KEY_FALLBACKS holds a weak key"),
    ({"FIELD_KEYS": ""}, "FIELD_KEYS is not set"),
    ({"FIELD_KEYS": f"{KEY},password"}, "FIELD_KEYS holds a key"),
    ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS may not hold '*'"),
    ({"ALLOWED_HOSTS": "livermore.example.org,*"}, "ALLOWED_HOSTS may not hold '*'"),
    ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is empty"),
    ({"DEBUG": "true"}, "DEBUG is on outside the demo"),
    ({"LIVERMORE_DEMO": "true"}, "LIVERMORE_DEMO serves this machine only"),
    ({"REDIS_URL": "redis://redis.example.org:6379/0"}, "without a password"),
    ({"REDIS_URL": "redis://10.0.0.5/0"}, "without a password"),
    ({"REDIS_URL": "http://127.0.0.1:6379"}, "REDIS_URL must start with"),
    ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN can be guessed"),
    ({"MARKET_CAP_URL": "http://caps.example.org"}, "MARKET_CAP_URL must be https"),
    ({"EXCHANGE_HOSTS": "binance=127.0.0.1"}, "EXCHANGE_HOSTS is a list"),
    ({"EXCHANGE_HOSTS": "binance"}, "EXCHANGE_HOSTS is a list"),
    ({"OUTBOUND_NETWORKS": "everywhere"}, "OUTBOUND_NETWORKS holds 'everywhere'"),
]


def loaded(monkeypatch: pytest.MonkeyPatch, directory: Path, **changes: str) -> dict[str, Any]:
    """The settings as a program would have them with this environment."""
    for name, value in {**PRODUCTION, "LIVERMORE_DATA_DIR": str(directory), **changes}.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(SETTINGS))


def test_there_are_at_least_fifteen() -> None:
    assert len(BAD) >= 15


@pytest.mark.parametrize(("changes", "reason"), BAD)
def test_a_weak_configuration_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        loaded(monkeypatch, tmp_path, **changes)
    assert reason in str(error.value)
    assert str(error.value).count("\n  - ") <= 1, "that reason and no other"


def test_what_starts_in_production_is_closed_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = loaded(monkeypatch, tmp_path)
    on = ("STAFF_SECOND_FACTOR", "SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY")
    assert [name for name in on if names[name] is not True] == []
    off = ("DEBUG", "DEMO", "METRICS_LOOPBACK", "MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN")
    assert [name for name in off if names[name] is not False] == []
    assert names["OUTBOUND_NETWORKS"] == []
    assert names["METRICS_TOKEN"] == ""
    assert names["SECURE_HSTS_SECONDS"] >= 31_536_000
    assert names["X_FRAME_OPTIONS"] == "DENY"
    assert names["REST_FRAMEWORK"]["DEFAULT_PERMISSION_CLASSES"] == ["livermore.permissions.ByRight"]
    assert names["AUTHENTICATION_BACKENDS"][0] == "axes.backends.AxesStandaloneBackend"
    assert names["MIDDLEWARE"][-1] == "axes.middleware.AxesMiddleware"
