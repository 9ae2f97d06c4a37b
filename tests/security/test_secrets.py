"""No secret in any log, stream, page, answer or dump: canaries are planted in every secret field and looked for everywhere (I12)."""

import io
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.admin import site as admin_site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection

from alerts.models import NotificationChannel, PushKey
from exchanges.models import ApiToken, Exchange, UserExchange
from livermore import bus
from livermore.configuration import LOG_FORMATS
from livermore.fields import encrypted
from livermore.jsonlines import JsonLines
from livermore.redaction import RedactingFilter, RedactingFormatter, redact, remember
from livermore.rotation import encrypted_fields
from tests import seeds
from tests.hosting import hosted
from tests.people import client_of, person

CANARY = "c4naryPlanted"
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}PemLineOne\n{CANARY}PemLineTwo\n-----END EC PRIVATE KEY-----"
PASSWORD = f"{CANARY}-password-9"

# Shapes


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {CANARY}abcdef",
        f"headers {{'authorization': 'Basic {CANARY}=='}}",
        f"x-mbx-api-key: {CANARY}",
        f"cb-access-sign: {CANARY}",
        f"GET /api/v3/account?timestamp=1&signature={CANARY}&x=1",
        f'{{"api_key": "{CANARY}", "n": 1}}',
        f"api_secret='{CANARY}'",
        f"key-coinbase-passphrase={CANARY}",
        f"password={CANARY}",
        f"DATABASE_PASSWORD: {CANARY}",
        f"Cookie: sessionid={CANARY}; csrftoken={CANARY}",
        f"redis://:{CANARY}@redis.example.org:6379/0 does not answer",
        f"postgres://livermore:{CANARY}@127.0.0.1/livermore",
        f"could not send by tgram://123456:{CANARY}/42",
        f"could not send by discord://4174216298/{CANARY}/",
        f"mailtos://user:{CANARY}@example.org",
        f"https://hooks.slack.com/services/T1/B2/{CANARY}",
        f"https://discord.com/api/webhooks/1/{CANARY}",
        f"https://api.telegram.org/bot1:{CANARY}/sendMessage",
        f"token eyJhbGciOiJFUzI1NiJ9.{CANARY}.sig",
        f"lvm_{CANARY}0123456789",
        f"cannot read {PEM}",
        f"cannot read -----BEGIN PRIVATE KEY-----\n{CANARY}",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(line: str) -> None:
    said = redact(line)
    assert CANARY not in said, said
    assert "(hidden)" in said


def test_a_key_that_was_stored_does_not_uncover_another() -> None:
    remember(PEM.replace(CANARY, "anothersecret"))
    assert redact(f"cannot read {PEM}") == "cannot read (hidden)"


@pytest.mark.parametrize(
    "line",
    [
        "coinbase: connected to wss://advanced-trade-ws.coinbase.com, 4 symbols",
        "binance: https://api.binance.com/api/v3/klines?symbol=BTCUSDT: no answer in time; attempt 1 of 5",
        "the Redis subscription was lost: Error 2 connecting to unix:///run/redis.sock",
        "mike made the API token 'my bot', for 30 days",
        "The password was wrong too often",
        "channel:exchange:coinbase:ticker:BTC-USD",
        "key: the stored key cannot be read any more",
        "postgres://127.0.0.1/livermore",
    ],
)
def test_an_ordinary_line_stays_as_it_is(line: str) -> None:
    assert redact(line) == line


def test_a_known_secret_is_taken_out_wherever_it_stands() -> None:
    remember(PEM, "ab")
    said = redact(f"the exchange answered: <{CANARY}PemLineTwo> ab")
    assert said == "the exchange answered: <(hidden)> ab", "each of its lines; what is too short stays"


def test_secrets_of_the_settings_are_known() -> None:
    assert redact(f"x {settings.SECRET_KEY} y {settings.FIELD_KEYS[0]} z") == "x (hidden) y (hidden) z"


def logged(handler: logging.Handler) -> Any:
    """A logger with that handler alone."""
    logger = logging.getLogger("canary")
    logger.handlers, logger.propagate = [handler], False
    return logger


@pytest.mark.parametrize("by", ["formatter", "filter"])
def test_a_traceback_is_redacted_too(by: str) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    if by == "formatter":
        handler.setFormatter(RedactingFormatter("%(message)s"))
    else:
        handler.addFilter(RedactingFilter())
    try:
        raise ValueError(f"Authorization: Bearer {CANARY}123")
    except ValueError:
        logged(handler).exception("failed with %s", f"password={CANARY}")
    said = out.getvalue()
    assert "Traceback" in said
    assert said.count("(hidden)") >= 2
    assert CANARY not in said


def test_every_handler_of_the_project_redacts() -> None:
    """Also those that somebody adds later."""
    for name, handler in settings.LOGGING["handlers"].items():
        assert handler["filters"] == ["redacted"], name
        assert handler["formatter"] in LOG_FORMATS, name
    ours = {name: formatter["()"] for name, formatter in settings.LOGGING["formatters"].items()}
    assert ours == {"line": "livermore.redaction.RedactingFormatter", "json": "livermore.jsonlines.JsonLines"}


# Canaries


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that the project's own handler writes, in either format, at DEBUG, of every logger."""
    out = io.StringIO()
    line = settings.LOGGING["formatters"]["line"]
    handlers = [logging.StreamHandler(out), logging.StreamHandler(out)]
    for handler, formatter in zip(handlers, [RedactingFormatter(line["format"], style=line["style"]), JsonLines()], strict=True):
        handler.setFormatter(formatter)
        handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    before, kept = root.level, root.handlers
    root.handlers = [*kept, *handlers]
    root.setLevel(logging.DEBUG)
    yield out
    root.setLevel(before)
    root.handlers = kept


@pytest.fixture
def mike(db: None, redis_url: str) -> User:
    """Somebody with a canary in every secret field there is, stored as people store them."""
    seeds.restore()
    user = person("mike", group="trader")
    user.set_password(PASSWORD)
    user.save()
    Authenticator.objects.create(user=user, type="totp", data={"secret": encrypted(f"{CANARY}Totp")})
    Authenticator.objects.create(user=user, type="recovery_codes", data={"seed": encrypted(f"{CANARY}Seed"), "used_mask": 0})
    url = f"discord://4174216298/{CANARY}Webhook/"
    NotificationChannel.objects.create(user=user, kind="discord", name="mine", url=url, digest="d" * 64, created_at=0)
    PushKey.objects.create(private=PEM)
    return user


def of_redis() -> str:
    """Everything in Redis, streams and the cache included."""
    client = bus.sync()
    readers: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    return "".join(f"{key!r}={readers[client.type(key)](key)!r}" for key in client.scan_iter())


def test_canaries_are_found_nowhere(mike: User, log: io.StringIO) -> None:
    browser, root = client_of(mike), client_of(person("root", superuser=True))
    names = [field.name for field in UserExchange._meta.fields if field.name.startswith("api_")]
    values = dict(zip(names, (f"{CANARY}Key", PEM, f"{CANARY}Passphrase"), strict=True))
    form = {f"key-coinbase-{name.removeprefix('api_')}": value for name, value in values.items()}
    with hosted("coinbase", ok=False):
        stored = browser.post("/settings/", {"section": "key", "exchange": "coinbase", **form}, follow=True)
    row = UserExchange.objects.get(user=mike)
    assert {name: getattr(row, name) for name in names} == values, "planted"
    admins = {"user": mike.pk, "exchange": "binance", "api_key": f"{CANARY}Admin", "api_secret": f"{CANARY}Admin", "watch": "on"}
    assert root.post("/admin/exchanges/userexchange/add/", admins).status_code == 302
    token = browser.post("/settings/", {"section": "token", "name": "bot", "days": 30}).text.partition("lvm_")[2][:64]
    wrong = [
        browser.post("/settings/", {"section": "key", "exchange": "coinbase", "key-coinbase-secret": f"{CANARY}Wrong"}),
        browser.post("/password/", {"old_password": PASSWORD, "new_password1": f"{CANARY}1", "new_password2": f"{CANARY}2"}),
        client_of(None).post("/login/", {"username": "mike", "password": f"{CANARY}Wrong"}),
        client_of(None).post("/login/", {"username": "mike", "password": PASSWORD}),
    ]
    logging.getLogger("somebody").error("an exchange said: %s", values["api_key"])
    assert {model for model, _ in encrypted_fields()} == {UserExchange, NotificationChannel, PushKey}, "a canary in each"
    api = [
        "/api/my/exchanges/",
        "/api/my/channels/",
        "/api/my/deliveries/",
        "/api/my/notifications/",
        "/api/my/settings/",
        "/api/exchanges/",
        "/api/schema/",
    ]
    pages = ["/settings/", "/", "/symbols/", "/account/two-factor/", *api]
    admin = [f"/admin/exchanges/userexchange/{row.pk}/{rest}" for row in UserExchange.objects.all() for rest in ("change/", "history/")]
    admin += ["/admin/exchanges/userexchange/", "/admin/exchanges/historicaluserexchange/", "/admin/"]
    admin += ["/admin/alerts/notificationchannel/"] if admin_site.is_registered(NotificationChannel) else []
    admin += [f"/admin/auth/user/{mike.pk}/{rest}" for rest in ("change/", "history/")]
    answers = [browser.get(path) for path in pages] + [root.get(path) for path in pages + admin]
    assert {answer.status_code for answer in answers} == {200}
    everything = {
        "pages": "".join(answer.text for answer in [stored, *wrong, *answers]),
        "messages and cookies": str([browser.cookies, root.cookies]),
        "log": log.getvalue(),
        "redis": of_redis(),
        "database": raw_database(),
        "history": str([*LogEntry.objects.values(), *UserExchange.history.values(), *User.history.values(), *Exchange.history.values()]),
    }
    assert [name for name, text in everything.items() if not text and name != "redis"] == []
    assert [name for name, text in everything.items() if CANARY.lower() in text.lower()] == []
    assert [name for name, text in everything.items() if token in text] == []
    assert "an exchange said: (hidden)" in everything["log"]
    assert ApiToken.objects.count() == 1


def raw_database() -> str:
    """Every text of every table, as it lies there."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            texts += [str(row) for row in cursor.fetchall()]
    return "\n".join(texts)
