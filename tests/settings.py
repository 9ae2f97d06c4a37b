"""The project's settings for tests: each process of a run in a directory of its own, nothing of the developer's .env.

PYTEST_XDIST_WORKER keeps workers apart. What a test starts (manage.py with these settings) inherits the environment, and
so finds the directory, the database directory and the embedded Redis of its worker.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

BASE = "LIVERMORE_TEST_DIRECTORY"
if BASE not in os.environ:
    os.environ[BASE] = tempfile.mkdtemp(prefix="livermore-tests-")
    atexit.register(shutil.rmtree, os.environ[BASE], ignore_errors=True)
_directory = Path(os.environ[BASE]) / os.environ.get("PYTEST_XDIST_WORKER", "main")
_directory.mkdir(exist_ok=True)

# All of them, so that a .env cannot say otherwise. The values are of no use anywhere else.
os.environ.update(
    LIVERMORE_DEMO="true",
    DEBUG="false",
    SECRET_KEY="tests-only-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2,
    SECRET_KEY_FALLBACKS="",
    FIELD_KEYS="dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk=",
    ALLOWED_HOSTS="localhost,127.0.0.1,[::1]",
    LIVERMORE_DATA_DIR=str(_directory),
    REDIS_URL="",
    LOG_LEVEL="INFO",
    LOG_FORMAT="line",
    METRICS_TOKEN=os.environ.get("LIVERMORE_TEST_METRICS_TOKEN", ""),  # where a test asks a program of its own
    METRICS_LOOPBACK="false",
    METRICS_PORT="0",
    METRICS_HOST="127.0.0.1",
    OUTBOUND_NETWORKS=os.environ.get("LIVERMORE_TEST_NETWORKS", ""),  # where a test has servers of its own
)
os.environ.setdefault("EXCHANGE_HOSTS", "")
os.environ.setdefault("DATABASE_URL", f"sqlite:///{_directory / 'livermore.sqlite3'}")

from livermore.settings import *  # noqa: E402

# A file, also under xdist and for a live server: a database in memory is not seen by other threads and processes.
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {"NAME": str(_directory / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"
else:
    DATABASES["default"]["ENGINE"] = "tests.postgres"
DATABASES["default"]["CONN_MAX_AGE"] = 0

STATIC_ROOT = _directory / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns where there is none
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = {**REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"user": None, "anon": None}}
