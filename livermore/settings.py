"""Settings, all from the environment or from .env beside manage.py. docs/operations.md lists them."""

import logging
import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from livermore import embedded, redaction, redisurl
from livermore.configuration import unsafe_settings

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def _words(name: str, default: str = "") -> list[str]:
    return [word.strip() for word in env.str(name, default).split(",") if word.strip()]


def _by_name(name: str) -> dict[str, list[str]]:
    """``a=1,a=2,b=3`` as {"a": ["1", "2"], "b": ["3"]}."""
    found: dict[str, list[str]] = {}
    for key, _, value in (word.partition("=") for word in _words(name)):
        found.setdefault(key.strip(), []).append(value.strip().lower())
    return found


DEMO = env.bool("LIVERMORE_DEMO", False)
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "")
SECRET_KEY_FALLBACKS = _words("SECRET_KEY_FALLBACKS")
FIELD_KEYS = _words("FIELD_KEYS")
"""Fernet keys for encrypted fields; the first encrypts, all decrypt."""
ALLOWED_HOSTS = _words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]" if DEMO else "")
DATA_DIR = Path(env.str("LIVERMORE_DATA_DIR", str(BASE_DIR / "var"))).expanduser()
LOG_LEVEL = env.str("LOG_LEVEL", "INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", "line").lower()
"""How log lines are written: "line" for people, "json" for programs."""
REDIS_URL = env.str("REDIS_URL", "")
SYSTEM_USER = env.str("LIVERMORE_SYSTEM_USER", "")
"""For whom `runexchange` runs where --user names nobody."""
MOVE_FACTOR = env.float("MOVE_FACTOR", 4.0)
"""How many times its usual size a move has to be before it is told to who trades elsewhere."""
MOVE_WINDOW = env.int("MOVE_WINDOW", 60)
"""Seconds over which moves are measured."""
MARKET_CAP_URL = env.str("MARKET_CAP_URL", "")
"""Where market caps come from, in CoinGecko's public shape; empty: they are not known."""
EXCHANGE_HOSTS = _by_name("EXCHANGE_HOSTS")
"""Hosts an exchange may be reached at beside those its adapter names, by adapter."""
OUTBOUND_NETWORKS = _words("OUTBOUND_NETWORKS")
"""Private networks that URLs which users type may lead to, e.g. a notification server of one's own; none by default."""
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
"""Whoever sends it as a bearer token may read /metrics; empty: nobody may, but see below."""
METRICS_LOOPBACK = env.bool("METRICS_LOOPBACK", False)
"""Whether a program on this machine that asks without a proxy between may read /metrics without a token."""
METRICS_PORT = env.int("METRICS_PORT", 0)
"""Where `runexchange` and `rundelivery` serve their own; 0: nowhere. Processes of one machine need one each: see --metrics-port."""
METRICS_HOST = env.str("METRICS_HOST", "127.0.0.1")
"""The address they do it at."""

GC_TUNING = env.bool("GC_TUNING", True)
"""Whether processes that live long look for garbage less often: livermore/tuning.py."""

SITE_URL = env.str("SITE_URL", "" if DEMO or not ALLOWED_HOSTS else f"https://{ALLOWED_HOSTS[0].lstrip('.')}").rstrip("/")
"""Where our pages are, for links in messages; empty: they carry none."""

if _problems := unsafe_settings(
    demo=DEMO,
    debug=DEBUG,
    secret_key=SECRET_KEY,
    secret_key_fallbacks=SECRET_KEY_FALLBACKS,
    field_keys=FIELD_KEYS,
    allowed_hosts=ALLOWED_HOSTS,
    redis_url=REDIS_URL,
    log_level=LOG_LEVEL,
    log_format=LOG_FORMAT,
    market_cap_url=MARKET_CAP_URL,
    metrics_token=METRICS_TOKEN,
    exchange_hosts=EXCHANGE_HOSTS,
    outbound_networks=OUTBOUND_NETWORKS,
):
    raise ImproperlyConfigured("\n  - ".join(["this configuration is not safe:", *_problems]))

REDIS_EMBEDDED = not REDIS_URL
if REDIS_EMBEDDED:
    REDIS_URL = embedded.url(DATA_DIR)

PAGES = os.environ.get("LIVERMORE_PAGES") != "no"
"""Whether this process may serve pages; manage.py says which do not."""
_FOR_PAGES = [
    "daphne",
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "axes",
]
INSTALLED_APPS = [
    *(_FOR_PAGES if PAGES else ()),
    "simple_history",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "knox",
    "livermore",
    "exchanges",
    "symbols",
    "market_data",
    "alerts",
]

MIDDLEWARE = [
    "livermore.middleware.timed",  # first: what the others need is in it
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "livermore.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "livermore.second_factor.StaffSecondFactorMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",  # last: it answers for whoever is locked out
]
if not PAGES:
    MIDDLEWARE = []

ROOT_URLCONF = "livermore.urls" if PAGES else None
ASGI_APPLICATION = "livermore.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "symbols.views.preferences",
            ]
        },
    }
]

# SQLite: WAL and BEGIN IMMEDIATE together are what keeps several writing processes from "database is locked".
DATABASES = {"default": env.db_url("DATABASE_URL", f"sqlite:///{DATA_DIR / 'livermore.sqlite3'}")}
if not DATABASES["default"].get("ENGINE"):
    raise ImproperlyConfigured(
        "DATABASE_URL does not name a database: write postgres://user:password@host:5432/name, or leave it out for SQLite"
    )
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    try:
        DATA_DIR.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{DATA_DIR} cannot be made ({error.strerror}): set LIVERMORE_DATA_DIR to a place you may write to"
        ) from None
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    }
else:
    DATABASES["default"].setdefault("CONN_MAX_AGE", 60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# redis-py 8 cuts a connection that is idle for 5 s unless socket_timeout is None.
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "CONNECTION_POOL_KWARGS": {"socket_timeout": None},
        },
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "livermore", "expiry": 30},
    }
}

if redisurl.is_cluster(REDIS_URL):
    from livermore.cluster import any_node

    DJANGO_REDIS_CONNECTION_FACTORY = "livermore.cluster.CacheConnections"
    # The other layer moves messages between keys of several slots in one call, which a cluster refuses.
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [any_node(REDIS_URL)], "prefix": "livermore"},
    }

# The first looks whether somebody is locked out; it logs nobody in.
AUTHENTICATION_BACKENDS = [*(["axes.backends.AxesStandaloneBackend"] if PAGES else []), "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
"""One name from one address: somebody else's guesses lock nobody out of an account of theirs."""
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_CALLABLE = "livermore.views.locked_out"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

STAFF_SECOND_FACTOR = env.bool("STAFF_SECOND_FACTOR", not DEMO)
"""Whether the admin opens only for staff who logged in with a second factor."""
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {"login_failed": "10/5m/key"}
MFA_ADAPTER = "livermore.second_factor.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Livermore"
MFA_TOTP_TOLERANCE = 1
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEMO
"""The demo is served over plain HTTP, to this machine only."""

SIMPLE_HISTORY_REVERT_DISABLED = True

KNOX_TOKEN_MODEL = "exchanges.ApiToken"  # nosec B105  # no password
# Its own migrations make the table of its own model too, which nothing uses and no flush empties.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": "lvm_", "TOKEN_TTL": timedelta(days=90)}  # nosec B105  # no password

LOGIN_URL = reverse_lazy("login")
LOGIN_REDIRECT_URL = reverse_lazy("dashboard")
LOGOUT_REDIRECT_URL = reverse_lazy("login")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Static files are served out of the apps: no collectstatic step, so that a fresh clone runs.
WHITENOISE_USE_FINDERS = True
# TradingView Lightweight Charts as its makers build it, out of a Python package: no Node, no CDN (NOTICE).
STATICFILES_DIRS = [("charts", str(Path(find_spec("litecharts").submodule_search_locations[0]) / "js"))]  # type: ignore[union-attr, index]
WHITENOISE_AUTOREFRESH = DEBUG

SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if not DEMO:
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_TLS_PROXY", True) else None
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_SUBDOMAINS", True)
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    CSRF_TRUSTED_ORIGINS = [f"https://{host.lstrip('.')}" for host in ALLOWED_HOSTS]

REST_FRAMEWORK = {
    "DEFAULT_PERMISSION_CLASSES": ["livermore.permissions.ByRight"],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "exchanges.tokens.BearerAuthentication",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend", "rest_framework.filters.OrderingFilter"],
    "DEFAULT_PAGINATION_CLASS": "livermore.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle", "rest_framework.throttling.AnonRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "1200/min", "anon": "60/min"},
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Livermore",
    "DESCRIPTION": "Exchanges, symbols, candles, indicators and alerts. It monitors; it never trades.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

UNFOLD = {
    "SITE_TITLE": "Livermore",
    "SITE_HEADER": "Livermore",
    "SITE_SUBHEADER": "signals, not orders",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "THEME": None,
    "COLORS": {
        # The accent of the pages, in the eleven steps Unfold asks for.
        "primary": {
            str(step): f"oklch({lightness} {chroma} 255)"
            for step, lightness, chroma in (
                (50, 0.97, 0.014),
                (100, 0.93, 0.03),
                (200, 0.88, 0.06),
                (300, 0.81, 0.1),
                (400, 0.75, 0.11),
                (500, 0.65, 0.15),
                (600, 0.55, 0.17),
                (700, 0.5, 0.16),
                (800, 0.42, 0.13),
                (900, 0.38, 0.1),
                (950, 0.28, 0.07),
            )
        },
    },
}

_passwords = [redisurl.password(REDIS_URL), unquote(urlsplit(env.str("DATABASE_URL", "")).password or "")]
redaction.remember(SECRET_KEY, *SECRET_KEY_FALLBACKS, *FIELD_KEYS, METRICS_TOKEN, *filter(None, _passwords))
# daphne calls logging.basicConfig(): without a root logger of our own it would decide the format.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "livermore.redaction.RedactingFormatter", "format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"},
        "json": {"()": "livermore.jsonlines.JsonLines"},
    },
    "filters": {"redacted": {"()": "livermore.redaction.RedactingFilter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["redacted"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "axes": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "websockets": {"level": "WARNING"},
        # It writes a traceback for each connection that is lost, and listens again; who uses Redis says that it is away.
        "channels_redis.pubsub": {"level": "CRITICAL"},
        # Addresses of channels are secrets, and these two would write them: alerts/sending.py listens to the one, nobody to the other.
        "apprise": {"propagate": False},
        "urllib3": {"level": "CRITICAL"},
        # uvicorn's own handlers know neither our format nor our secrets; it has set them by the time that these settings are read.
        **{name: {"handlers": [], "propagate": True} for name in ("uvicorn", "uvicorn.access", "uvicorn.error")},
    },
}
if LOG_FORMAT == "json":
    logging.captureWarnings(True)  # a warning is a line as well
