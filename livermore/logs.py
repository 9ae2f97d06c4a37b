"""What the log lines of a task are about: said once where it is known, written by livermore/jsonlines.py."""

from contextvars import ContextVar

_about: ContextVar[dict[str, str | int]] = ContextVar("about", default={})  # noqa: B039  (never changed, only replaced)


def about(**what: str | int | None) -> None:
    """Say what this task, and each task and thread it starts from now on, is about: ``exchange``, ``shard``, ``user``. Empty is unsaid."""
    _about.set({**_about.get(), **{name: value for name, value in what.items() if value is not None and value != ""}})


def told() -> dict[str, str | int]:
    """What has been said."""
    return _about.get()
