"""Configurations that are not safe do not start, and say why; the one that `make run` writes does."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import environ
import pytest
from cryptography.fernet import Fernet

from livermore.configuration import fresh_configuration, is_loopback, unsafe_settings
from livermore.configure import configure

PROJECT = Path(__file__).resolve().parents[2]
KEY = Fernet.generate_key().decode()
SAFE: Mapping[str, Any] = {
    "demo": False,
    "debug": False,
    "secret_key": "q7Rk2WvZ9x" * 5,
    "field_keys": [KEY],
    "allowed_hosts": ["livermore.example.org"],
    "redis_url": "redis://:password@redis.example.org:6379/0",
}
DEMO: Mapping[str, Any] = {**SAFE, "demo": True, "allowed_hosts": ["localhost", "127.0.0.1", "[::1]"], "redis_url": ""}

WEAK = "SECRET_KEY is weak: use at least 40 random characters"
BAD_KEY = "FIELD_KEYS holds a key that is not 32 url-safe base64 bytes; `python -m livermore.configure` makes a proper one"
ANY_HOST = "ALLOWED_HOSTS may not hold '*': any site could then open our sockets; name the hosts"
SCHEMES = "REDIS_URL must start with redis://, rediss://, unix://, redis+cluster:// or rediss+cluster://"
NO_CLUSTER = "REDIS_URL does not name a cluster"
CLUSTER = "write redis+cluster://:password@node1:6379,node2:6379"
NO_PASSWORD = "REDIS_URL names another machine without a password: anyone there could publish alerts; add one"


@pytest.mark.parametrize(
    ("base", "change", "reason"),
    [
        (SAFE, {"secret_key": ""}, "SECRET_KEY is not set: run `python -m livermore.configure`, or put a random one into .env"),
        (SAFE, {"secret_key": ("q7Rk2WvZ9x" * 4)[:39]}, WEAK),
        (SAFE, {"secret_key": "q7" * 25}, WEAK),
        (SAFE, {"secret_key": "django-insecure-" + "q7Rk2WvZ9x" * 5}, WEAK),
        (SAFE, {"log_level": "LOUD"}, "LOG_LEVEL is 'LOUD': use one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        (SAFE, {"log_format": "xml"}, "LOG_FORMAT is 'xml': use one of line, json"),
        (
            SAFE,
            {"field_keys": []},
            "FIELD_KEYS is not set: exchange credentials could not be encrypted; run `python -m livermore.configure`",
        ),
        (SAFE, {"field_keys": ["short"]}, BAD_KEY),
        (SAFE, {"field_keys": [KEY, KEY[:-5]]}, BAD_KEY),
        (SAFE, {"allowed_hosts": ["*"]}, ANY_HOST),
        (SAFE, {"allowed_hosts": ["livermore.example.org", "*"]}, ANY_HOST),
        (
            SAFE,
            {"allowed_hosts": []},
            "ALLOWED_HOSTS is empty: name the hosts the pages are served from, e.g. ALLOWED_HOSTS=livermore.example.org",
        ),
        (
            SAFE,
            {"metrics_token": "short"},
            "METRICS_TOKEN can be guessed: use at least 32 random characters, or leave it out",
        ),
        (SAFE, {"debug": True}, "DEBUG is on outside the demo: set DEBUG=false"),
        (SAFE, {"redis_url": "http://localhost:6379"}, f"{SCHEMES}, not 'http'"),
        (SAFE, {"redis_url": "redis.example.org:6379"}, f"{SCHEMES}, not 'redis.example.org'"),
        (SAFE, {"redis_url": "redis+cluster://10.0.0.7:6379,localhost:6379"}, NO_PASSWORD),
        (SAFE, {"redis_url": "redis+cluster://:secret@"}, f"{NO_CLUSTER} (a node's host is missing or malformed): {CLUSTER}"),
        (SAFE, {"redis_url": "redis+cluster://:secret@a:port,b"}, f"{NO_CLUSTER} (a node's host or port is malformed): {CLUSTER}"),
        (SAFE, {"redis_url": "redis+cluster://:p/ss@a"}, f"{NO_CLUSTER} (its password holds a character to write as %xx): {CLUSTER}"),
        (SAFE, {"redis_url": "redis://redis.example.org:6379/0"}, NO_PASSWORD),
        (SAFE, {"redis_url": "rediss://user@10.0.0.7:6379/0"}, NO_PASSWORD),
        (
            DEMO,
            {"allowed_hosts": ["localhost", "livermore.example.org"]},
            "LIVERMORE_DEMO serves this machine only, but ALLOWED_HOSTS names livermore.example.org: set LIVERMORE_DEMO=false",
        ),
        (
            DEMO,
            {"allowed_hosts": ["192.168.1.5"]},
            "LIVERMORE_DEMO serves this machine only, but ALLOWED_HOSTS names 192.168.1.5: set LIVERMORE_DEMO=false",
        ),
    ],
)
def test_it_refuses_each_unsafe_setting_with_its_one_reason(base: Mapping[str, Any], change: Mapping[str, Any], reason: str) -> None:
    assert unsafe_settings(**base) == []
    assert unsafe_settings(**{**base, **change}) == [reason]


def test_it_names_every_reason_at_once() -> None:
    everything = {**SAFE, "secret_key": "", "field_keys": [], "allowed_hosts": ["*"], "debug": True, "redis_url": "redis://far"}
    assert [problem.split()[0] for problem in unsafe_settings(**everything)] == [
        "SECRET_KEY",
        "FIELD_KEYS",
        "ALLOWED_HOSTS",
        "DEBUG",
        "REDIS_URL",
    ]


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:6379/0", "unix:///run/redis.sock", "rediss://:password@redis.example.org"])
def test_it_accepts_a_redis_nobody_else_can_reach_or_that_asks_for_a_password(url: str) -> None:
    assert unsafe_settings(**{**SAFE, "redis_url": url}) == []


@pytest.mark.parametrize(
    ("host", "ours"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("[::1]", True), ("0.0.0.0", False), ("localhost.example", False)],
)
def test_it_knows_what_means_this_machine(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


def test_an_unsafe_configuration_ends_every_command_with_sentences_and_no_traceback(tmp_path: Path) -> None:
    unsafe = {"LIVERMORE_DEMO": "false", "DEBUG": "true", "SECRET_KEY": "canary", "LIVERMORE_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=PROJECT,
        env={**os.environ, **unsafe, "DJANGO_SETTINGS_MODULE": "livermore.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "Livermore did not start: this configuration is not safe:\n"
        "  - SECRET_KEY is weak: use at least 40 random characters\n"
        "  - DEBUG is on outside the demo: set DEBUG=false\n"
    )
    assert list(tmp_path.iterdir()) == []


def values(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the settings would read from this file."""
    monkeypatch.setattr(environ.Env, "ENVIRON", {})
    environ.Env.read_env(path)
    return dict(environ.Env.ENVIRON)


def test_a_first_configuration_is_private_and_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    assert configure(path) == "wrote .env"
    assert path.stat().st_mode & 0o777 == 0o600
    written = values(path, monkeypatch)
    assert sorted(written) == ["FIELD_KEYS", "LIVERMORE_DEMO", "SECRET_KEY"]
    assert unsafe_settings(**{**DEMO, "secret_key": written["SECRET_KEY"], "field_keys": [written["FIELD_KEYS"]]}) == []


def test_two_first_configurations_share_no_secret() -> None:
    one, other = fresh_configuration().splitlines(), fresh_configuration().splitlines()
    assert [line.partition("=")[0] for line in one if line in other] == [one[0], "LIVERMORE_DEMO"]


def test_a_configuration_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("SECRET_KEY=mine\nexport FIELD_KEYS=mine too\n")
    assert configure(path) == "kept .env"
    assert path.read_text() == "SECRET_KEY=mine\nexport FIELD_KEYS=mine too\n"


def test_only_the_missing_secrets_are_added_to_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("SECRET_KEY=mine\nDATABASE_URL=postgres:///livermore")
    path.chmod(0o644)
    assert configure(path) == "added FIELD_KEYS to .env"
    assert path.stat().st_mode & 0o777 == 0o600
    read = values(path, monkeypatch)
    Fernet(read.pop("FIELD_KEYS"))
    assert read == {"SECRET_KEY": "mine", "DATABASE_URL": "postgres:///livermore"}


def test_the_secrets_of_a_copied_template_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text((PROJECT / ".env.example").read_text())
    assert configure(path) == "added SECRET_KEY and FIELD_KEYS to .env"
    read = values(path, monkeypatch)
    assert read["ALLOWED_HOSTS"] == "livermore.example.org"
    assert unsafe_settings(**{**SAFE, "secret_key": read["SECRET_KEY"], "field_keys": [read["FIELD_KEYS"]]}) == []
