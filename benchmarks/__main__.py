"""``python -m benchmarks [SUBJECT]… [--full | --quick] [--write] [--json] [--no-peers]``; B=SUBJECT in the environment names one too."""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks import machine, peer, report, subjects
from benchmarks.peer import Peers
from benchmarks.rows import Row, single
from benchmarks.surroundings import surroundings
from benchmarks.timing import DEFAULT, FULL, TINY, Effort

FAILED = "not measured"


def main(words: Sequence[str]) -> int:
    options = _options(words)
    failed = None if options.no_peers else peer.install(_say)
    effort = TINY if options.quick else FULL if options.full else DEFAULT
    load, began = machine.load(), time.monotonic()
    with surroundings() as server:
        sections, peers = asyncio.run(_measure(options.subjects, effort, failed))
    measured = f"Measured {machine.today()} in {time.monotonic() - began:.0f} s ({effort.name} run) on {machine.machine()}, {load}."
    head = f"{measured}\n{machine.versions(server, peers)}."
    whole = list(sections) == subjects.names()
    titles = {name: subjects.subject(name).TITLE for name in sections}
    if options.json:
        print(json.dumps({name: [_as_json(row) for row in rows] for name, rows in sections.items()}))
    else:
        print("\n".join(("", head, "", *(report.section(titles[name], rows) for name, rows in sections.items()))))
    if options.write:
        written = {name: report.section(titles[name], rows, "" if whole else head) for name, rows in sections.items()}
        report.write(head if whole else "", written, subjects.names())
        report.draw([row for rows in sections.values() for row in rows])
        _say(f"Written to {report.DOCUMENT}.")
    return int(any(row.what == FAILED for rows in sections.values() for row in rows))


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure against the goals.")
    parser.add_argument("subjects", nargs="*", help=f"what to measure: {', '.join(subjects.names())}; all by default")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="more rounds")
    size.add_argument("--quick", action="store_true", help="only to see that it works: the figures say little")
    parser.add_argument("--write", action="store_true", help="write to docs/benchmarks.md: everything, or what is named")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--no-peers", action="store_true", help="leave out what needs .venv-bench")
    options = parser.parse_args(words)
    options.subjects = options.subjects or os.environ.get("B", "").split()
    if unknown := set(options.subjects) - set(subjects.names()):
        parser.error(f"unknown subject: {', '.join(sorted(unknown))}; known: {', '.join(subjects.names())}")
    if options.write and options.quick:
        parser.error("--write takes real figures: leave --quick out")
    if options.write and options.no_peers and not options.subjects:
        parser.error("--write takes real figures: name the subjects that need no peers, or leave --no-peers out")
    options.subjects = [name for name in subjects.names() if name in options.subjects or not options.subjects]
    return options


async def _measure(names: Sequence[str], effort: Effort, failed: dict[str, str] | None) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """The rows of each subject by its name, and the versions of the peers. A subject that failed has one row, that says so."""
    sections: dict[str, list[Row]] = {}
    async with Peers(failed) as peers:
        for name in names:
            subject, began = subjects.subject(name), time.monotonic()
            _say(f"{subject.TITLE} …")
            try:
                sections[name] = await subject.measure(effort, peers)
            except Exception as error:
                traceback.print_exc()
                sections[name] = [single(FAILED, "", [], note=traceback.format_exception_only(error)[-1].strip())]
            _say(f"  took {time.monotonic() - began:.0f} s")
    return sections, peers.versions


def _as_json(row: Row) -> dict[str, object]:
    return {**asdict(row), "met": row.met}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))  # ends what was started, as Ctrl-C does
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Interrupted: nothing was written.")
