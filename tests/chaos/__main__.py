"""``python -m tests.chaos``: long runs, outside of pytest, with a database of their own. ``make chaos`` calls it.

make chaos SEED=5 KILLS=10 SEEDS=20 DB=postgres
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill real processes at random; then judge what they left.")
    words.add_argument("--seed", type=int, default=1, help="the first seed")
    words.add_argument("--seeds", type=int, default=1, help="how many seeds, one run each")
    words.add_argument("--kills", type=int, default=10, help="kill -9 a run")
    words.add_argument("--others", type=float, default=1.5, help="other blows for each kill")
    words.add_argument("--gap", type=float, default=4.0, help="seconds between two kills, on average")
    words.add_argument("--coins", type=int, default=8, help="coins watched on each exchange")
    words.add_argument("--blind", action="store_true", help="begin with something that lasts longer than anything may look live under it")
    words.add_argument(
        "--redis", type=int, default=0, metavar="N", help="instead: kill Redis alone, so many times, each time until all is green"
    )
    words.add_argument(
        "--day", type=int, default=0, metavar="N", help="instead: a day of the market with so many faults, nothing of ours killed"
    )
    words.add_argument(
        "--wide",
        action="store_true",
        help="over a Redis Cluster of three nodes, two web processes, and two connectors with a shard of each exchange, one with a standby",
    )
    words.add_argument("--twice", action="store_true", help="run each seed twice, and compare (I14)")
    words.add_argument("--db", choices=("sqlite", "postgres"), default="sqlite")
    words.add_argument("--keep", action="store_true", help="keep the logs of runs that held too")
    options = words.parse_args()
    if options.wide and (options.redis or options.day or options.blind):
        words.error("WIDE=1 goes with SEED, SEEDS, KILLS, OTHERS, GAP, COINS, DB and TWICE only")
    with database(options.db) as (directory, postgres):
        from tests.chaos import long

        return asyncio.run(long.runs(options, directory, postgres))


@contextmanager
def database(kind: str) -> Iterator[tuple[Path, object]]:
    """A migrated database of this program's own, and Django set up on it."""
    directory = Path(tempfile.mkdtemp(prefix="livermore-chaos-"))
    directory.chmod(0o755)
    postgres = None
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["LIVERMORE_TEST_DIRECTORY"] = str(directory)
    try:
        if kind == "postgres":
            from tests.chaos.programs import Postgres

            (directory / "postgres").mkdir()
            postgres = Postgres(directory / "postgres", "canary-database-pw")
            postgres.create()
            postgres.start()
            asyncio.run(postgres.ready())
            postgres.create_database()
            os.environ["DATABASE_URL"] = postgres.url()
        else:
            os.environ["DATABASE_URL"] = f"sqlite:///{directory / 'chaos.sqlite3'}"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", interactive=False, verbosity=0)
        yield directory, postgres
    finally:
        if postgres is not None:
            asyncio.run(postgres.kill())
        if not any(directory.glob("failed-*")):
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(code)
