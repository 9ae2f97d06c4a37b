"""Runs a few programs as one: starts them, starts them again when they die, shows their warnings, ends them together.

Knows nothing of Django or of what the programs do.
"""

import asyncio
import logging
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from livermore.child import GRACE_SECONDS

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOG_BYTES = 5_000_000
LOG_FILES = 3
LONGEST_LINE = 1 << 20
BACK_OFF_SECONDS = (1, 2, 4, 8, 16, 30)
HEALTHY_SECONDS = 60
"""A program that lived this long starts its back-off anew."""

_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_LOUD = {"WARNING", "ERROR", "CRITICAL"}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Child:
    """A Python program to run. ``command`` is what would follow ``python``: a script or ``-m module``, and arguments."""

    name: str
    command: Sequence[str]


class Supervisor:
    """Children that live and end together. ``say`` takes a line for the person at the terminal."""

    def __init__(self, children: Sequence[Child], *, directory: Path, log_dir: Path, say: Say) -> None:
        self._children = children
        self._directory = directory
        self._log_dir = log_dir
        self._say = say
        self._stopping = asyncio.Event()
        self._running: dict[str, Process] = {}

    async def run(self, until_ready: Callable[[], Awaitable[None]]) -> None:
        """Start everything, await ``until_ready``, then keep it up until SIGINT, SIGTERM, SIGHUP or ``stop``.

        An exception of ``until_ready`` ends everything and is raised. Nothing that was started is left behind.
        """
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.stop)
        lifeline, held = os.pipe()  # its end tells the children that we are gone, however that came about
        self._log_dir.mkdir(parents=True, exist_ok=True)
        keepers = [asyncio.create_task(self._keep(child, lifeline)) for child in self._children]
        readiness = asyncio.ensure_future(until_ready())
        ends = [*keepers, asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait([readiness, *ends], return_when=asyncio.FIRST_COMPLETED)
            if readiness.done():
                readiness.result()
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            readiness.cancel()
            await self._end_all(keepers)
            os.close(lifeline)
            os.close(held)
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """End everything; asked a second time, without waiting for anybody to finish."""
        if self._stopping.is_set():
            self._kill()
        self._stopping.set()

    async def _keep(self, child: Child, lifeline: int) -> None:
        """Run one child for as long as the supervisor runs."""
        loop = asyncio.get_running_loop()
        log = _open_log(self._log_dir / f"{child.name}.log")
        failures = 0
        try:
            while not self._stopping.is_set():
                started = loop.time()
                code = await self._run_once(child, lifeline, log)
                if self._stopping.is_set():
                    break
                failures = 0 if loop.time() - started > HEALTHY_SECONDS else failures
                delay = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                failures += 1
                self._say(f"{child.name} ended {_how(code)}; starting it again in {delay} s. Its log: {self._log_dir / child.name}.log")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)
        finally:
            for handler in log.handlers[:]:
                log.removeHandler(handler)
                handler.close()

    async def _run_once(self, child: Child, lifeline: int, log: logging.Logger) -> int:
        """Start the child, pass on its output until it ends, and return its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "livermore.child", str(lifeline), *child.command),
            cwd=self._directory,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            limit=LONGEST_LINE,
            pass_fds=(lifeline,),
            start_new_session=True,  # a Ctrl-C in the terminal is ours to hand on, in order
        )
        self._running[child.name] = process
        if self._stopping.is_set():
            process.terminate()
        assert process.stdout
        assert process.stderr
        pumps = asyncio.gather(self._pump(child, process.stdout, log, loud=False), self._pump(child, process.stderr, log, loud=True))
        code = await process.wait()
        del self._running[child.name]
        with suppress(TimeoutError):  # a grandchild may hold the pipes open
            await asyncio.wait_for(pumps, 1)
        return code

    async def _pump(self, child: Child, stream: asyncio.StreamReader, log: logging.Logger, *, loud: bool) -> None:
        """Write each line to the log, and say it too where it is a warning, an error, or belongs to one."""
        shown = loud
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                line = b"(a line of more than 1 MB was left out)\n"
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            log.info("%s", text)
            shown = loud and _is_loud(text, shown)
            if shown and text:
                self._say(f"{child.name}: {text}")

    async def _end_all(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(keepers, timeout=GRACE_SECONDS)
        if late:
            self._kill()
        await asyncio.gather(*keepers)

    def _kill(self) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _is_loud(line: str, before: bool) -> bool:
    """Whether a line of stderr is shown. One without a level (a traceback's) goes the way of the line before it."""
    if line.startswith("Traceback "):
        return True
    level = _LEVEL.search(line[:60])
    return level[1] in _LOUD if level else before


def _how(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _open_log(path: Path) -> logging.Logger:
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    log = logging.getLogger(f"livermore.output.{path.stem}")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    return log
