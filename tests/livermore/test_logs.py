"""LOG_FORMAT=json: each line is one object that any program reads, says what it is about, and holds no secret."""

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory

from livermore import logs, redaction
from livermore.jsonlines import JsonLines
from livermore.redaction import RedactingFilter

PROJECT = Path(__file__).resolve().parents[2]
CANARY = "c4naryInALogLine"
Lines = Callable[[], list[dict[str, Any]]]


def strictly(line: str) -> dict[str, Any]:
    """As a parser reads it that knows no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    read = json.loads(line, parse_constant=refuse)
    assert isinstance(read, dict)
    return read


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    handler.addFilter(RedactingFilter())
    log = logging.getLogger("livermore.of_a_test")
    log.handlers, log.propagate, log.level = [handler], False, logging.DEBUG
    yield out
    log.handlers, log.propagate = [], True


@pytest.fixture
def lines(out: io.StringIO) -> Lines:
    return lambda: [strictly(line) for line in out.getvalue().splitlines()]


@pytest.fixture
def log(out: io.StringIO) -> logging.Logger:
    return logging.getLogger("livermore.of_a_test")


def test_a_line_has_its_time_level_logger_and_message(log: logging.Logger, lines: Lines) -> None:
    log.warning("%s: not connected: %s", "coinbase", "no answer")
    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "WARNING", "logger": "livermore.of_a_test", "message": "coinbase: not connected: no answer"}


def test_what_is_said_beside_the_message_is_there_by_name(log: logging.Logger, lines: Lines) -> None:
    log.info("done", extra={"symbols": 50, "share": 0.5, "by": {"user": ["mike"]}, "ok": True, "nothing": None})
    (line,) = lines()
    told = {name: line[name] for name in ("symbols", "share", "by", "ok", "nothing")}
    assert told == {"symbols": 50, "share": 0.5, "by": {"user": ["mike"]}, "ok": True, "nothing": None}


def test_an_exception_is_text_in_its_line(log: logging.Logger, lines: Lines) -> None:
    try:
        raise ValueError("of\nseveral lines")
    except ValueError:
        log.exception("it fell over", stack_info=True)
    (line,) = lines()
    assert line["message"] == "it fell over"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: of\nseveral lines")
    assert line["stack"].startswith("Stack (most recent call last):\n")


# What it is about


async def test_a_line_says_which_exchange_shard_and_user_it_is_about(log: logging.Logger, lines: Lines) -> None:
    async def hosted(exchange: str, shard: str) -> None:
        logs.about(exchange=exchange, shard=shard)
        await asyncio.create_task(asyncio.sleep(0))
        await asyncio.gather(asyncio.to_thread(log.info, "in a thread"), asyncio.create_task(in_a_task()))

    async def in_a_task() -> None:
        logs.about(user=7, exchange=None)
        log.info("in a task")

    await asyncio.gather(asyncio.create_task(hosted("binance", "1/2")), asyncio.create_task(hosted("kraken", "")))
    log.info("outside")
    found = sorted((line["message"], line.get("exchange"), line.get("shard"), line.get("user")) for line in lines() if "exchange" in line)
    assert found == [
        ("in a task", "binance", "1/2", 7),
        ("in a task", "kraken", None, 7),
        ("in a thread", "binance", "1/2", None),
        ("in a thread", "kraken", None, None),
    ]
    assert {"exchange", "shard", "user"} & set(lines()[-1]) == set()


def test_of_a_request_method_and_path_are_told_and_the_user_if_known(log: logging.Logger, lines: Lines) -> None:
    request = RequestFactory().get("/alerts/1/", {"token": CANARY}, headers={"authorization": f"Bearer {CANARY}"})
    log.warning("Not Found: %s", request.path, extra={"request": request, "status_code": 404})
    request._cached_user = User(pk=7)  # type: ignore[attr-defined]
    log.warning("Forbidden", extra={"request": request, "status_code": 403})
    first, second = lines()
    assert (first["method"], first["path"], first["status_code"], "user" in first) == ("GET", "/alerts/1/", 404, False)
    assert (second["user"], "request" in second) == (7, False)
    assert CANARY not in json.dumps([first, second])


# Secrets


def test_secrets_stay_out_of_every_part(log: logging.Logger, out: io.StringIO, lines: Lines) -> None:
    redaction.remember(f'{CANARY}"with\\quotes')
    secrets = {"password": CANARY, "nested": [{"api_key": CANARY, "text": f"token={CANARY}"}], f"secret={CANARY}": 1}
    try:
        raise ValueError(f'{{"api_secret": "{CANARY}"}}')
    except ValueError:
        log.exception('he said {"password": "%s"} and %s', CANARY, f'{CANARY}"with\\quotes', extra={"more": secrets, "token": CANARY})
    (line,) = lines()
    assert CANARY not in out.getvalue()
    assert line["message"] == 'he said {"password": "(hidden)"} and (hidden)'
    assert line["token"] == "(hidden)"
    assert line["more"]["password"] == "(hidden)"
    assert line["more"]["nested"] == [{"api_key": "(hidden)", "text": "token=(hidden)"}]
    assert line["exception"].endswith('{"api_secret": "(hidden)"}')


# Odd values


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError("not now")

    __repr__ = __str__


def endless() -> list[Any]:
    one: list[Any] = []
    one.append(one)
    return one


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("-inf"), 10**400, b"\xff\x00", "\ud800", "a\u2028b\nc\x00", object(), Unwritable(), {Unwritable(): 1},
        {(1, 2): {3}}, endless(), [[[[[[1]]]]]], {"a" * 5_000: "b" * 100_000}, "-" * 5_000, "a://" * 5_000, list(range(10_000)),
        ValueError("x"), User(username="mike"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_no_value_breaks_a_line(log: logging.Logger, out: io.StringIO, lines: Lines, value: Any) -> None:
    log.info("odd", extra={"value": value})
    log.info("%s", 1, extra={"value": 1})
    first, second = lines()
    assert (first["message"], second["message"]) == ("odd", "1")
    assert "value" in first
    assert out.getvalue().isascii()


@pytest.mark.parametrize("arguments", [("x",), (1, 2), (Unwritable(),)])
def test_arguments_that_do_not_fit_do_not_reach_who_logs(log: logging.Logger, lines: Lines, arguments: tuple[Any, ...]) -> None:
    log.info("%d symbols", *arguments)
    (line,) = lines()
    assert line["message"].startswith("%d symbols [its arguments do not fit: ")


# The programs


def test_a_program_and_uvicorn_write_nothing_else(tmp_path: Path) -> None:
    """Real processes: our settings, and uvicorn's own loggers once it has set up its own handlers."""
    program = (
        "import logging, uvicorn\n"
        "config = uvicorn.Config('livermore.asgi:application')\n"
        "config.load()\n"
        "logging.getLogger('uvicorn.error').info('Started')\n"
        "access = '127.0.0.1:1', 'GET', '/?token=c4naryInALogLine', '1.1', 200\n"
        "logging.getLogger('uvicorn.access').info('%s - \"%s %s HTTP/%s\" %d', *access)\n"
        "logging.getLogger('daphne.server').warning('odd')\n"
        "logging.getLogger('exchanges').error('failed', exc_info=ValueError('x'))\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "livermore.settings", "LOG_FORMAT": "json", "LIVERMORE_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    found = [strictly(line) for line in done.stderr.splitlines()]
    assert done.stdout == ""
    found = [line for line in found if line["logger"] != "py.warnings"]  # WhiteNoise, of a clone without a directory for static files
    assert [(line["level"], line["logger"]) for line in found] == [
        ("INFO", "uvicorn.error"),
        ("INFO", "uvicorn.access"),
        ("WARNING", "daphne.server"),
        ("ERROR", "exchanges"),
    ]
    assert found[1]["message"] == '127.0.0.1:1 - "GET /?token=(hidden) HTTP/1.1" 200'
    assert CANARY not in done.stderr
