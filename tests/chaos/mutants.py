"""``python -m tests.chaos.mutants [NAME…]``: plant a fault, run the tests that are to find it, and say which did. ``make chaos-mutants``.

Each fault is one that somebody could make in earnest. It is planted in a copy of the tree; a test that no fault makes fail tests nothing.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
HARNESS = "tests/chaos/test_kills.py::test_nothing_is_lost_doubled_invented_or_leaked"


class Edit(NamedTuple):
    """``old`` stands in the file exactly once."""

    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A fault to plant, and the tests that are to find it. ``harness``: whether the short run of the harness is to find it too."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    harness: bool = False


CANDLES, SERIES, SERVICES, LINK = "market_data/candles.py", "market_data/series.py", "alerts/services.py", "exchanges/link.py"
ANY_ORDER = Edit(SERIES, "if self.last_open is not None and bar.open_time != self.last_open + self.step:", "if False:")
"""Without it a series would refuse what the book lets through."""

MUTANTS = (
    Mutant(
        "unique key dropped",
        (
            Edit("alerts/models.py", "uid = models.CharField(max_length=200, unique=True)", "uid = models.CharField(max_length=200)"),
            Edit(
                "alerts/migrations/0001_initial.py",
                '("uid", models.CharField(max_length=200, unique=True)),',
                '("uid", models.CharField(max_length=200)),',
            ),
        ),
        ("tests/alerts/test_services.py",),
    ),
    Mutant(
        "checkpoint committed before the alert",
        (
            Edit(SERVICES, "@transaction.atomic\ndef closes_commit(", "def closes_commit("),
            Edit(SERVICES, "sequence = ExchangeSequence.objects.select_for_update().get(", "sequence = ExchangeSequence.objects.get("),
            Edit(
                SERVICES,
                "    alerts = _store(sequence, drafts, naming, fence) if drafts else []\n",
                "    with transaction.atomic():\n        alerts = _store(sequence, drafts, naming, fence) if drafts else []\n",
            ),
        ),
        ("tests/alerts/test_services.py",),
    ),
    Mutant(
        "backfill before subscribe",
        (
            Edit(
                "livermore/pool.py",
                "        self._engine.want(Stream(channel, symbol) for symbol in self.watched for channel in Channel)\n",
                "        async def subscribe() -> None:\n"
                "            await asyncio.gather(*(one.warming for one in self.watched.values() if one.warming is not None))\n"
                "            self._engine.want(Stream(channel, symbol) for symbol in self.watched for channel in Channel)\n\n"
                "        self._spawn(subscribe())\n",
            ),
        ),
        ("tests/livermore/test_runtime.py::test_it_listens_before_the_history_is_fetched",),
    ),
    Mutant(
        "gap ignored",
        (
            Edit(
                CANDLES,
                "(bar := self.held.pop(self.last.open_time + STEP, None))",
                "(bar := self.held.pop(min(self.held, default=0), None))",
            ),
            ANY_ORDER,
        ),
        ("tests/market_data/test_candles.py",),
        harness=True,
    ),
    Mutant(
        "older candle accepted",
        (
            Edit(
                CANDLES,
                "                self._note_revision(Bar.of(candle))\n            if self.forming",
                "                return [Bar.of(candle)]\n            if self.forming",
            ),
            ANY_ORDER,
        ),
        ("tests/market_data/test_candles.py",),
        harness=True,
    ),
    Mutant(
        "close on the first tick of the next interval",
        (
            Edit(
                CANDLES,
                "        if not candle.closed:\n            return []\n",
                "        if forming is not None and open_time > forming.open_time:\n"
                "            self.held.setdefault(forming.open_time, Bar.of(forming))\n"
                "        if not candle.closed:\n            return self._drain()\n",
            ),
        ),
        ("tests/market_data/test_candles.py",),
        harness=True,
    ),
    Mutant(
        "watchdog reset by heartbeats",
        (
            Edit(
                LINK,
                "        else:\n            if isinstance(event, GoingAway):",
                "        else:\n            self.last_data = self.last_frame\n            if isinstance(event, GoingAway):",
            ),
        ),
        ("tests/exchanges/test_engine.py",),
    ),
    Mutant(
        "de-duplication in memory",
        (
            Edit(
                SERVICES,
                '    for known in Alert.objects.filter(uid__in=list(uids)).values_list("uid", flat=True):\n        del uids[known]\n',
                "    for known in _SEEN & uids.keys():\n        del uids[known]\n    _SEEN.update(uids)\n",
            ),
            Edit(SERVICES, "class Fenced(Exception):", "_SEEN: set[str] = set()\n\n\nclass Fenced(Exception):"),
        ),
        ("tests/alerts/test_services.py",),
    ),
    Mutant(
        "publish before commit",
        (
            Edit(
                SERVICES,
                "from market_data.models import Checkpoint\n",
                "from livermore import bus, keys\nfrom market_data.models import Checkpoint\n",
            ),
            Edit(
                SERVICES,
                "    alerts = _store(sequence, drafts, naming, fence) if drafts else []\n",
                "    alerts = _store(sequence, drafts, naming, fence) if drafts else []\n"
                "    for alert in alerts:\n"
                "        bus.sync().publish(keys.channel_alerts(exchange_id), bus.encode(public_payload(alert, sequence.epoch)))\n",
            ),
        ),
        ("tests/alerts/test_publishing.py",),
    ),
    Mutant(
        "page without resume",
        (Edit("livermore/static/livermore/js/socket.js", "resume: this.resume() }", "resume: {} }"),),
        ("tests/test_javascript.py",),
    ),
    Mutant(
        "warm-up 60",
        (Edit(SERIES, "WARM_BARS = 250\n", "WARM_BARS = 60\n"), Edit(SERIES, "HISTORY_BARS = 400\n", "HISTORY_BARS = 60\n")),
        ("tests/market_data/test_backfill.py",),
        harness=True,
    ),
    Mutant(
        "unbounded queue",
        (Edit("alerts/outbox.py", "        if len(self._queue) >= MOST_QUEUED:\n            raise Overflow\n", ""),),
        ("tests/alerts/test_outbox.py",),
    ),
)


def main(names: Sequence[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(mutant.name for mutant in MUTANTS)}")
        return 2
    with tempfile.TemporaryDirectory(prefix="livermore-mutants-") as directory:
        tree = Path(directory) / "tree"
        copy(tree)
        print("without a fault …", end=" ", flush=True)
        if failed := run(tree, sorted({test for mutant in chosen for test in tests_of(mutant)})):
            print(f"the tests fail already: {failed}")
            return 1
        print("the tests pass")
        survived = [mutant.name for mutant in chosen if not caught(mutant, tree)]
    print(
        f"{len(chosen) - len(survived)} of {len(chosen)} planted faults were found" + (f"; not: {', '.join(survived)}" if survived else "")
    )
    return len(survived)


def tests_of(mutant: Mutant) -> tuple[str, ...]:
    return (*mutant.tests, HARNESS) if mutant.harness else mutant.tests


def caught(mutant: Mutant, tree: Path) -> bool:
    """Plant it, run its tests one by one, and take it out again. Whether each found it."""
    print(f"{mutant.name}:", flush=True)
    before = {edit.path: (tree / edit.path).read_text(encoding="utf-8") for edit in mutant.edits}
    for edit in mutant.edits:
        plant(edit, tree)
    try:
        found = True
        for test in tests_of(mutant):
            began = time.monotonic()
            failed = run(tree, [test])
            found &= bool(failed)
            print(f"    {test}: {failed or 'FOUND NOTHING'} ({time.monotonic() - began:.0f} s)", flush=True)
        return found
    finally:
        for path, text in before.items():
            (tree / path).write_text(text, encoding="utf-8")


def plant(edit: Edit, tree: Path) -> None:
    """Raises ValueError where the source has moved on."""
    path = tree / edit.path
    text = path.read_text(encoding="utf-8")
    if text.count(edit.old) != 1:
        raise ValueError(
            f"{edit.path}: {edit.old!r} stands there {text.count(edit.old)} times: follow the source in tests/chaos/mutants.py"
        )
    path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def run(tree: Path, tests: Sequence[str]) -> str:
    """Run tests in a tree; returns what failed, and for the harness which invariants, "" where nothing did."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVERMORE_", "PYTEST_"))}
    environment["CHAOS_PATIENCE"] = "75"  # a series that a fault has stopped never comes to rest: more than I13 allows is enough
    command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider", "--tb=short", *tests]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    if done.returncode != 1:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    failed = re.findall(r"^(?:FAILED|ERROR) \S+?::(\S+)", done.stdout, re.MULTILINE)
    invariants = sorted(set(re.findall(r"\b(i\d+)_[a-z_]+:", done.stdout)), key=lambda name: int(name[1:]))
    return ", ".join(dict.fromkeys(failed)) + (f" by {', '.join(name.upper() for name in invariants)}" if invariants else "")


def copy(tree: Path) -> None:
    """What git knows, and what is new."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
