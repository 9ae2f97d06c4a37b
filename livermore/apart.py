"""Work in a store of its own: a database and a Redis that nothing else uses, thrown away afterwards unless somebody wants them.

A process of its own is what makes sure of it: its settings name no other store, whatever those of the caller name.
"""

import asyncio
import json
import os
import signal
import subprocess  # nosec B404  # programs of ours, never a shell
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]

Say = Callable[[str], None]


class Apart(Exception):
    """The work did not succeed. The message says why, and what to do."""


@contextmanager
def store(wanted: Path | None) -> Iterator[Path]:
    """A directory for a store: a new one that is removed at the end, or ``wanted``, which stays. Raises Apart where that is in use."""
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="livermore-apart-") as name:
            yield Path(name)
        return
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        if any(wanted.iterdir()):
            raise Apart(f"{wanted} is not empty: name a directory that is new, so that nothing in it is mixed with what is kept")
    except OSError as error:
        raise Apart(f"{wanted} cannot be used ({error.strerror}): name another directory") from None
    yield wanted


def run(work: str, order: Mapping[str, Any], *, directory: Path, log_level: str, say: Say) -> dict[str, Any]:
    """Have ``livermore.recordings`` do ``work`` in the store in ``directory``; pass on what it says, and return what it has found out.

    Ctrl-C ends it in order. Raises Apart.
    """
    result = directory / "result.json"
    lifeline, held = os.pipe()  # its end tells the process that we are gone, however that came about
    try:
        process = subprocess.Popen(  # nosec B603  # a fixed program, no shell
            [sys.executable, "-m", "livermore.child", str(lifeline), "-m", "livermore.apart", work, str(result)],
            cwd=PROJECT,
            env=environment(directory, log_level),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[lifeline],
            start_new_session=True,  # a Ctrl-C reaches it once, through us
        )
        with process, _interruptible():
            _talk(process, order, say)
    finally:
        os.close(lifeline)
        os.close(held)
    try:
        answer: dict[str, Any] = json.loads(result.read_text())
    except (OSError, ValueError):
        raise Apart(f"it ended with {process.returncode} before it was done; what it said above tells why") from None
    finally:
        result.unlink(missing_ok=True)
    if "error" in answer:
        raise Apart(answer["error"])
    return answer


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end what is within, also in a program that a script started in the background, where Ctrl-C is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {name: signal.signal(name, interrupt) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _talk(process: "subprocess.Popen[str]", order: Mapping[str, Any], say: Say) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    while True:
        try:
            for line in process.stdout:
                say(line.rstrip("\n"))
            process.wait()
            return
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def environment(directory: Path, log_level: str) -> dict[str, str]:
    """That of this process, but for the store."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "livermore.settings",
        "LIVERMORE_DATA_DIR": str(directory.absolute()),
        "DATABASE_URL": f"sqlite:///{directory.absolute() / 'livermore.sqlite3'}",
        "REDIS_URL": "",
        "MARKET_CAP_URL": "",
        "LOG_LEVEL": log_level,
        "PYTHONUNBUFFERED": "1",
    }


# In the process


def main() -> None:
    """``python -m livermore.apart WORK RESULT``: the order comes on the standard input, the answer goes into the file RESULT; both JSON."""
    work, result = sys.argv[1], Path(sys.argv[2])
    order = json.load(sys.stdin)
    import django

    django.setup()
    from django.conf import settings

    from livermore import apart, embedded, recordings  # not the names of __main__: an exception is told by its class

    _make_tables(kept=order["kept"])
    with embedded.ensure(settings.DATA_DIR):
        try:
            answer = asyncio.run(_until_signalled(recordings.WORK[work](order)))
        except apart.Apart as error:
            answer = {"error": str(error)}
        except asyncio.CancelledError:
            answer = {"error": "it was stopped before it was done"}
    result.write_text(json.dumps(answer))


def _make_tables(*, kept: bool) -> None:
    """Out of the migrations where somebody will use the store later, else out of the models, which takes a tenth of the time."""
    from django.apps import apps
    from django.conf import settings
    from django.core.management import call_command

    if not kept:
        settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    call_command("migrate", verbosity=0, run_syncdb=not kept)


async def _until_signalled(work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    task = asyncio.ensure_future(work)
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    return await task


if __name__ == "__main__":
    main()
