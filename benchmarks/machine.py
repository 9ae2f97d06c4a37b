"""What a run was made on: figures without it mean nothing."""

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("Django", "channels", "channels-redis", "daphne", "hiredis", "msgspec", "psycopg", "redis", "websockets")


def machine() -> str:
    """One line: processor, cores, memory, system."""
    return f"{_processor()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} {platform.release()}"


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def load() -> str:
    """What else the machine was busy with when the run began."""
    one = os.getloadavg()[0]
    return f"load {one:.1f}" + (", so others were at work on it" if one > (os.cpu_count() or 1) / 2 else "")


def versions(server: str, peers: dict[str, str]) -> str:
    """One line of names and versions; the peers' after ours."""
    ours = {"Python": platform.python_version(), **{name: version(name) for name in _PACKAGES}, "SQLite": sqlite3.sqlite_version}
    text = ", ".join((*(f"{name} {number}" for name, number in ours.items()), server))
    others = ", ".join(f"{name} {number}" for name, number in sorted(peers.items()))
    return f"{text}. Peers: {others or 'none'}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = (line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name"))
        return next(names, platform.machine())
    try:
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True)
        return asked.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return platform.processor() or platform.machine()


def _memory_gb() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 1e9
