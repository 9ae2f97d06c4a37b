"""Writes down what a connector hears, while it hears it, and never holds it up: a thread of its own compresses and writes.

Where the disk does not keep up, is full, or the file has the size it may have, the recording ends and says why; the connector goes on.
"""

import logging
import os
import threading
import time
from collections import deque
from pathlib import Path

from exchanges import recording
from exchanges.events import Lifecycle, Request
from exchanges.recording import Answered, Asked, Closed, Connection, Ended, Followed, Frame, Header, Opened, Record

log = logging.getLogger(__name__)

MEBIBYTE = 2**20
MOST_WAITING = 64 * MEBIBYTE
"""Bytes that may wait for the disk."""
WRITE_EVERY = 0.5
"""Seconds; so much of the end a kill -9 takes with it."""
A_BLOCK = MEBIBYTE
"""Bytes of records that are compressed together, at most, unless one alone is larger."""
_CLOSING = 10.0


class Recorder:
    """A recording that is being made. Every method returns at once, whatever the disk does, and may be called after its end.

    Raises FileExistsError, or what else the system says where the file cannot be made. Only its owner can read it.
    """

    def __init__(self, path: Path, header: Header, *, most_bytes: int) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._waiting: deque[bytes] = deque()
        # Each is counted by one thread only: what waits is the difference.
        self._put = self._taken = 0
        self._links = 0
        self._most_bytes = most_bytes
        self.ended = ""
        """Why it has ended."""
        self.frames = self.written = 0
        self._wake = threading.Event()
        self._write(recording.beginning(header))
        self._thread = threading.Thread(target=self._run, name=f"recording {path.name}", daemon=True)
        self._thread.start()

    # What is heard

    def opened(self) -> int:
        """Returns the number of the socket."""
        self._links += 1
        self._add(Opened(_now(), self._links))
        return self._links

    def frame(self, link: int, data: bytes) -> None:
        self.frames += 1
        self._add(Frame(_now(), link, data))

    def closed(self, link: int) -> None:
        self._add(Closed(_now(), link))

    def connection(self, event: Lifecycle) -> None:
        self._add(Connection(event.at, event.connection, str(event.state), event.reason))

    def asked(self, symbol: str, timeframe: str, start: int, end: int) -> None:
        self._add(Asked(_now(), symbol, timeframe, start, end))

    def answered(self, request: Request, status: int, headers: dict[str, str], body: bytes) -> None:
        """``status`` 0: there was no answer, and ``body`` is the reason."""
        self._add(Answered(_now(), request.path, request.params, status, headers, body))

    def followed(self, record: Followed) -> None:
        self._add(record)

    def close(self, reason: str) -> None:
        """End it in order. Waits until it is on the disk, ten seconds at most."""
        if not self.ended:
            self._add(Ended(_now(), reason))
            self.ended = self.ended or reason
        self._wake.set()
        self._thread.join(_CLOSING)

    def _add(self, record: Record) -> None:
        if self.ended:
            return
        data = recording.encode(record)
        self._put += len(data)
        if self._put - self._taken > MOST_WAITING:
            data = recording.encode(Ended(_now(), "the disk did not keep up"))
            self._end("the disk did not keep up")
        self._waiting.append(data)
        if self._put - self._taken > A_BLOCK:
            self._wake.set()

    def _end(self, reason: str) -> None:
        self.ended = reason
        log.error("the recording %s has ended: %s", self.path, reason)

    # In the thread

    def _run(self) -> None:
        try:
            over = False
            while not over:
                self._wake.wait(WRITE_EVERY)
                self._wake.clear()
                over = bool(self.ended)  # first: what was added before the end is then among what waits
                while self._waiting:
                    if not self._write_block(self._take()):
                        return
            os.fsync(self._file)
        except OSError as error:
            self._end(f"it cannot be written: {error.strerror}")
        finally:
            os.close(self._file)

    def _take(self) -> list[bytes]:
        records, size = [], 0
        while self._waiting and size < A_BLOCK:
            records.append(self._waiting.popleft())
            size += len(records[-1])
        self._taken += size
        return records

    def _write_block(self, records: list[bytes]) -> bool:
        """False when the file has the size it may have; the records are not in it then, but the reason is."""
        packed = recording.block(records)
        if self.written + len(packed) <= self._most_bytes:
            self._write(packed)
            return True
        reason = f"it has reached its {self._most_bytes / MEBIBYTE:g} MiB"
        self._end(reason)
        self._write(recording.block([recording.encode(Ended(_now(), reason))]))
        return False

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self.written += len(data)


def _now() -> int:
    return time.time_ns() // 1_000_000
