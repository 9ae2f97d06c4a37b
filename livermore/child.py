"""``python -m livermore.child FD SCRIPT|-m MODULE [ARGUMENT]…``: run a program that ends when its supervisor does.

FD is the reading end of a pipe that only the supervisor can write to. It never does: its end, kill -9 included, closes the
pipe, and that is the sign. Unlike a parent-death signal this works on every system, and it is firm after being polite.
"""

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 3.0


def main() -> None:
    fd, *command = sys.argv[1:]
    threading.Thread(target=_end_with_supervisor, args=(int(fd),), daemon=True).start()
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


def _end_with_supervisor(fd: int) -> None:
    os.read(fd, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
