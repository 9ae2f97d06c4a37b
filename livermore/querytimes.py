"""How long the database takes for each statement, on every connection of this process."""

import time
from typing import Any

from django.db.backends.signals import connection_created

from livermore import measures


def watch() -> None:
    connection_created.connect(_wrap, dispatch_uid="livermore.querytimes")


def _wrap(connection: Any, **kwargs: Any) -> None:
    if _timed not in connection.execute_wrappers:  # the object stays when its connection is made anew
        connection.execute_wrappers.append(_timed)


def _timed(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """``many`` is one statement, sent for many rows."""
    began = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        measures.queries.add(time.perf_counter() - began)
