"""Log lines as JSON (LOG_FORMAT=json): one object a line, without secrets, whatever was logged."""

import json
import logging
import math
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from livermore import logs
from livermore.redaction import redact

DEEPEST = 4
MOST_ITEMS = 100
LONGEST_KEY = 100
_OURS = ("time", "level", "logger", "message")


class JsonLines(JsonFormatter):
    """``{"time", "level", "logger", "message", …}``, and ``exception`` and ``stack`` as text. Nothing that is logged makes it fail."""

    def __init__(self) -> None:
        super().__init__(
            ["asctime", "levelname", "name", "message"],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "exception", "stack_info": "stack"},
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        request = log_data.pop("request", None)
        if request is not None:
            log_data.update(_told_by(request))
        for name, value in logs.told().items():
            log_data.setdefault(name, value)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Redacted value by value: the finished line has its quotes escaped, and the shapes of secrets would not be found in it."""
        plain: dict[str, Any] = _plain(log_data)
        for name in _OURS:
            plain.setdefault(name, "")
        return plain

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        return json.dumps(log_data, allow_nan=False)  # plain by now; ASCII, so that no terminal and no line separator breaks it


def _told_by(request: Any) -> dict[str, Any]:
    """Of a request that Django logs: never its query or its headers. The user only where somebody has asked for it already."""
    told = {"method": getattr(request, "method", None), "path": getattr(request, "path", None)}
    user = getattr(request, "_cached_user", None)
    return {**told, "user": getattr(user, "pk", None)} if user is not None else told


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can say it: of no more depth and length than a log needs, and without secrets."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else str(value)[:LONGEST_KEY]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if depth < DEEPEST and isinstance(value, dict):
        return {_said(key)[:LONGEST_KEY]: _of(key, item, depth) for key, item in list(value.items())[:MOST_ITEMS]}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
    return _said(value)


def _of(key: Any, value: Any, depth: int) -> Any:
    """The value of a key. Beside a name such as ``password`` any text is secret: by itself it would not look like one."""
    if isinstance(value, str) and value and redact(f"{key}={value}") != f"{key}={redact(value)}":
        return "(hidden)"
    return _plain(value, depth + 1)


def _said(value: Any) -> str:
    try:
        return redact(str(value))
    except Exception as error:  # a log line is no place to fail
        return f"({type(value).__name__} that cannot be written: {type(error).__name__})"
