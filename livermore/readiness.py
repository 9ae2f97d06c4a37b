"""Whether a process can do its work: what /readyz answers, part by part, each with its reason and nothing secret."""

from typing import Any, NamedTuple

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from livermore import bus


class Part(NamedTuple):
    """``reason``: in words, never those of an error: they may name hosts and users."""

    ok: bool
    reason: str


UNKNOWN = Part(False, "not known while the database does not answer")
_migrated = False


def parts() -> dict[str, Part]:
    """Database, its migrations, and Redis. Waits for them."""
    database = _database()
    return {"database": database, "migrations": _migrations() if database.ok else UNKNOWN, "redis": _redis()}


def answer(found: dict[str, Part]) -> tuple[int, dict[str, Any]]:
    """Status and body of /readyz."""
    ok = all(part.ok for part in found.values())
    return 200 if ok else 503, {"ok": ok, **{name: part._asdict() for name, part in found.items()}}


def _database() -> Part:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return _away(error)
    return Part(True, "it answers")


def _migrations() -> Part:
    """Whether those of this version are applied. Looked at until they are: then they stay for as long as this process runs."""
    global _migrated
    try:
        if not _migrated:
            executor = MigrationExecutor(connection)
            missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
            if missing:
                return Part(False, f"{missing} are not applied: run manage.py migrate")
            _migrated = True
    except DatabaseError as error:
        return _away(error)
    return Part(True, "all are applied")


def _redis() -> Part:
    try:
        bus.sync().ping()
    except bus.FAILURES as error:
        return _away(error)
    return Part(True, "it answers")


def _away(error: Exception) -> Part:
    return Part(False, f"it does not answer ({type(error).__name__})")
