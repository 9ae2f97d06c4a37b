"""What all tests share: a real Valkey a worker, and a word about tests that could not run."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as examples

from livermore import embedded
from tests import seeds

TESTS = Path(__file__).parent
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NO_CHROMIUM = "no Chromium was found: install one (apt install chromium), or name it in CHROMIUM"
DATABASE_FIXTURES = {"db", "transactional_db", "process_environment"}

# A machine that is busy with other tests decides nothing: neither how long an example takes nor how long it takes to make one.
examples.register_profile("livermore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("livermore")


class Valkey:
    """The embedded server of this worker, for tests that take it away and bring it back."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._server = embedded.ensure(data_dir)
        self.url = self._server.url

    @property
    def pid(self) -> int:
        return self._server.pid

    def kill(self) -> None:
        """End it at once, as kill -9 does. What it held is gone."""
        os.kill(self.pid, signal.SIGKILL)

    def start(self) -> None:
        """Have it running, on the same socket."""
        before, self._server = self._server, embedded.ensure(self._data_dir)
        before.close()

    def close(self) -> None:
        """End it. ``livermore.asgi``, once a test has imported it, holds it for the life of the process, which is over now."""
        for hold in tuple(embedded._held):
            hold.close()


@pytest.fixture(scope="session", autouse=True)
def _valkey_of_this_worker() -> Iterator[Valkey]:
    server = Valkey(settings.DATA_DIR)
    yield server
    server.close()


@pytest.fixture
def valkey(_valkey_of_this_worker: Valkey) -> Iterator[Valkey]:
    """The server itself, empty. Whatever the test does to it, it runs again afterwards."""
    _valkey_of_this_worker.start()
    _empty(_valkey_of_this_worker)
    yield _valkey_of_this_worker
    _valkey_of_this_worker.start()


@pytest.fixture
def redis_url(_valkey_of_this_worker: Valkey) -> str:
    """The URL of a running, empty server; settings.REDIS_URL names the same."""
    _empty(_valkey_of_this_worker)
    return _valkey_of_this_worker.url


@pytest.fixture(autouse=True)
def _seed_rows(request: pytest.FixtureRequest) -> None:
    """What migrations brought is there for every test: one with transaction=True empties the database for those after it."""
    mark = request.node.get_closest_marker("django_db")
    wanted = DATABASE_FIXTURES & set(request.fixturenames)
    if mark is None and not wanted:
        return
    transactional = (mark is not None and mark.kwargs.get("transaction")) or wanted - {"db"}
    request.getfixturevalue("transactional_db" if transactional else "db")
    seeds.restore()


@pytest.fixture(scope="session", autouse=True)
def _last_sessions_end(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """PostgreSQL drops no database that is in use: a thread whose caller was cancelled, or a program a test ended, may be at it still."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture
def process_environment(transactional_db: None) -> dict[str, str]:
    """For a program that a test starts: these settings, this worker's Redis, and what the test has put into its database."""
    name = str(connection.settings_dict["NAME"])
    database = (
        f"sqlite:///{name}" if connection.vendor == "sqlite" else urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    )
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": database}


def _empty(server: Valkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium. Tests that use it are marked ``browser``."""
    path = find_chromium()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    return path


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


def uses_the_database(item: pytest.Item) -> bool:
    """Whether a test may reach the database: pytest-django lets no other one."""
    named = DATABASE_FIXTURES & set(getattr(item, "fixturenames", ()))
    return bool(named or item.get_closest_marker("django_db") or item.get_closest_marker("postgres"))


def _runs_programs(item: pytest.Item) -> bool:
    """Whether it is of a module that starts whole programs."""
    return item.path.parent in {TESTS, TESTS / "chaos"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # First what takes a minute and more: what is begun last, the other workers wait for.
    items.sort(key=_runs_programs, reverse=True)
    if config.getoption("--database-only"):
        left_out = {item for item in items if item.get_closest_marker("browser") or not uses_the_database(item)}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    no_browser = pytest.mark.skip(reason=NO_CHROMIUM)
    no_postgres = pytest.mark.skip(reason="says something about PostgreSQL: run with DATABASE_URL=postgres://…")
    for item in items:
        if item.get_closest_marker("browser") and find_chromium() is None:
            item.add_marker(no_browser)
        if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
            item.add_marker(no_postgres)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if find_chromium() is None:
        terminalreporter.write_line(f"BROWSER TESTS DID NOT RUN: {NO_CHROMIUM}.", yellow=True, bold=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-rights", action="store_true", help="write tests/livermore/rights.json anew")
    parser.addoption("--database-only", action="store_true", help="only tests that use the database, without a browser")
    parser.addoption("--write-queries", action="store_true", help="write tests/livermore/queries.json anew")
