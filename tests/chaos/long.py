"""Runs of many seeds, one after the other, with a line for each and a sum at the end."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from django.core.management import call_command
from django.db import connections

from livermore.db import db
from tests import seeds
from tests.chaos import invariants
from tests.chaos.plan import SPEED, Plan, blinding, day, plan, redis_kills, wide
from tests.chaos.programs import Postgres
from tests.chaos.run import EXCHANGE_IDS, Run, Surroundings, play
from tests.oracle import STEPS


async def runs(options: argparse.Namespace, directory: Path, postgres: Postgres | None) -> int:
    """Returns how many seeds did not hold."""
    failed, sums = 0, dict.fromkeys(("kills", "blows", "candles", "due", "stored"), 0)
    for seed in range(options.seed, options.seed + options.seeds):
        results = []
        for time in range(2 if options.twice else 1):
            result = await one(options, seed, directory / f"seed-{seed}-{time}", postgres)
            results.append(result)
            problems = invariants.broken(result)
            if time:
                try:
                    invariants.i14_one_seed_one_result(*results)
                except AssertionError as error:
                    problems.append(f"i14_one_seed_one_result: {error}")
            figures = count(result)
            for name, number in figures.items():
                sums[name] += number
            print(line(seed, result, figures, problems), flush=True)
            for more in details(result):
                print(f"  {more}")
            for problem in problems:
                print(f"  {problem}", flush=True)
            if problems:
                failed += 1
                print("\n".join(["  what befell it:", *(f"    {blow}" for blow in result.plan.blows)]))
                (directory / f"seed-{seed}-{time}" / "figures.json").write_text(json.dumps(result.figures))
                (directory / f"seed-{seed}-{time}").rename(directory / f"failed-{seed}-{time}")
                print(f"  logs: {directory / f'failed-{seed}-{time}'}", flush=True)
    print(f"{options.seeds} seeds: {sums['kills']} kill -9 and {sums['blows']} other blows over {sums['candles']} candles; ", end="")
    print(f"{sums['due']} alerts due, {sums['stored']} stored; {failed} runs did not hold")
    return min(failed, 100)


async def one(options: argparse.Namespace, seed: int, directory: Path, postgres: Postgres | None) -> Run:
    """One seed, on an empty database."""
    directory.mkdir()
    await db(empty)()
    url = f"sqlite:///{directory.parent / 'chaos.sqlite3'}" if postgres is None else postgres.url()
    surroundings = Surroundings(directory, url, postgres, options.wide)
    return await play(planned(options, seed), surroundings, coins=options.coins, again=again(options, seed))


def planned(options: argparse.Namespace, seed: int) -> Plan:
    if options.redis:
        return redis_kills(seed, options.redis)
    if options.day:
        return day(seed, options.day)
    databases = ["postgres"] if options.db == "postgres" else []
    if options.wide:
        return wide(seed, options.kills, lines=databases, others=options.others, gap=options.gap, databases=databases)
    programs = ["connector", "web", "redis", *databases]
    made = plan(seed, options.kills, programs, lines=["redis", *databases], others=options.others, gap=options.gap)
    if not options.blind:
        return made
    first = blinding(seed)
    later = tuple(blow._replace(at=round(blow.at + first.seconds + 4.0, 2)) for blow in made.blows)
    return made._replace(blows=(first._replace(at=1.0), *later), ends=made.ends + first.seconds + 4.0)


def again(options: argparse.Namespace, seed: int) -> str:
    if options.redis or options.day:
        mode = f"REDIS={options.redis}" if options.redis else f"DAY={options.day}"
        return f"make chaos SEED={seed} {mode} COINS={options.coins} DB={options.db}"
    words = [f"SEED={seed}", f"KILLS={options.kills}", f"OTHERS={options.others:g}", f"GAP={options.gap:g}", f"COINS={options.coins}"]
    return " ".join(
        ["make chaos", *words, f"DB={options.db}", *(["BLIND=1"] if options.blind else []), *(["WIDE=1"] if options.wide else [])]
    )


def empty() -> None:
    call_command("flush", interactive=False, verbosity=0)
    seeds.restore()
    connections.close_all()


def count(run: Run) -> dict[str, int]:
    candles = sum((run.checkpoints[key] - first) // STEPS[key[2]] for key, first in run.baselines.items() if key in run.checkpoints)
    kills = run.plan.kills
    return {"kills": kills, "blows": len(run.plan.blows) - kills, "candles": candles, "due": len(run.due), "stored": len(run.counted)}


def line(seed: int, run: Run, figures: dict[str, int], problems: list[str]) -> str:
    connects = sum(run.asked[exchange_id][-1][1]["connects"] for exchange_id in EXCHANGE_IDS) if run.asked else 0
    green = "never" if run.green_after is None else f"{run.green_after:.1f} s"
    lists = "never" if run.lists_after is None else f"{run.lists_after:.1f} s"
    return (
        f"seed {seed}: {'held' if not problems else 'DID NOT HOLD'}; {figures['kills']} kills, {figures['blows']} other blows, "
        f"{figures['candles']} candles, {figures['due']} alerts due, {figures['stored']} stored; green after {green}, "
        f"lists after {lists}, {connects} connects"
    )


def details(run: Run) -> Iterator[str]:
    """What is worth telling of some runs only."""
    if run.back:
        ordered = sorted(run.back)
        late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        yield f"green again after Redis was: median {median(ordered):.2f} s, p95 {late:.2f} s, most {ordered[-1]:.2f} s, of {len(ordered)}"
    if run.taken:
        yield f"a standby had taken over after {', '.join(f'{seconds:.1f} s' for seconds in run.taken)}"
    for name in sorted(run.figures):
        for start, slope in invariants.memory_slopes(run, name).items():
            lived = [figures for _, number, figures in run.figures[name] if number == start]
            early, last = lived[len(lived) // 6], lived[-1]
            yield (
                f"{name}: {last.memory / 1e6:.0f} MB at the end, {slope:+.3f} MB an hour of the market, "
                f"{slope * SPEED:+.1f} MB an hour of the clock; descriptors {early.descriptors} → {last.descriptors}, "
                f"threads {early.threads} → {last.threads}"
            )
