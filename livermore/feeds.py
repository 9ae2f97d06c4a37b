"""What ``recordfeed``, ``replayfeed`` and ``runexchange --record`` call: recordings of what an exchange sent, and what comes of them."""

import json
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.models import Q

from alerts.models import Alert, AlertRule
from exchanges.models import Exchange
from exchanges.recorder import MEBIBYTE, Recorder
from exchanges.recording import Header, NotReadable, Reader
from livermore import apart
from livermore.recordings import FIELDS
from livermore.replaying import adapter_of
from symbols.models import Policy, Symbol

MOST_MEBIBYTES = 2_048
"""The largest a recording gets where nobody says otherwise."""
_ROW = ("id", "name", "adapter", "websocket_url", "rest_url", "limits", "timeframes", "top_n", "is_sandbox")
_RULE = (
    "id",
    "name",
    "enabled",
    "levels",
    "reversal_level",
    "oversold_buffer",
    "overbought_buffer",
    "timeframes",
    "cooldown",
    "version",
)
_MOST_SHOWN = 20
_NOT_COMPARED = {"number", "revised"}
"""The live numbers go on from before; what the exchange changed later may lie behind the recording."""


def header_of(exchange: Exchange, symbols: Sequence[str] = ()) -> Header:
    """What a recording that begins now says of itself."""
    return Header(
        exchange=exchange.pk,
        adapter=exchange.adapter,
        name=exchange.name,
        simulated=exchange.is_sandbox,
        timeframes=list(exchange.timeframes),
        symbols=list(symbols),
        started=time.time_ns() // 1_000_000,
        software=settings.SPECTACULAR_SETTINGS["VERSION"],
    )


def recorders_in(directory: Path, most_mebibytes: int = MOST_MEBIBYTES) -> Callable[[Exchange], Recorder]:
    """What begins a recording in this directory for each start of a connector. Raises CommandError where nothing can be written there."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = directory / f".{time.time_ns()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"{directory} cannot be written ({error.strerror}): name a directory for the recordings.") from None

    def begin(exchange: Exchange) -> Recorder:
        name = f"{exchange.pk}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z.feed"
        return Recorder(directory / name, header_of(exchange), most_bytes=most_mebibytes * MEBIBYTE)

    return begin


def record_feed(exchange: Exchange, output: Path, *, symbols: Sequence[str], seconds: float | None, most: int, out: TextIO) -> None:
    """Record what an exchange sends to a connector of its own, beside whatever runs. Raises CommandError."""
    if output.exists():
        raise CommandError(f"{output} is there already: name another file, nothing is written over.")
    try:
        rules = list(AlertRule.objects.values(*_RULE))
        decided = Symbol.objects.filter(exchange=exchange).exclude(policy=Policy.AUTO)
        policies = [(symbol, str(Policy.PINNED)) for symbol in symbols] or list(decided.values_list("symbol", "policy"))
    except DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error}. Run `python manage.py migrate`, or check DATABASE_URL.") from error
    row = {name: getattr(exchange, name) for name in _ROW} | ({"top_n": 0} if symbols else {})
    order = {
        "exchange": row,
        "rules": rules,
        "policies": policies,
        "kept": False,
        "header": msgspec.to_builtins(header_of(exchange, symbols)),
        "output": str(output.absolute()),
        "seconds": seconds,
        "most": most,
    }
    try:
        with apart.store(None) as directory:
            done = apart.run("record", order, directory=directory, log_level=settings.LOG_LEVEL, say=_sayer(out))
    except apart.Apart as error:
        raise CommandError(f"{error}.") from None
    out.write(f"{done['frames']:,} frames, {done['bytes'] / MEBIBYTE:.1f} MiB in {output}: {done['ended']}.")


def replay_feed(path: Path, *, speed: float, into: Path | None, alerts: Path | None, damaged: bool, compare: bool, out: TextIO) -> None:
    """Put a recording through the same code as the live feed, in a store of its own, and say what came of it.

    ``speed`` 0: as fast as it goes. Raises CommandError, also where ``compare`` finds a difference to the alerts of the live database.
    """
    _check(path)
    try:
        with apart.store(into) as directory:
            written = directory / "alerts.jsonl"
            order = {
                "path": str(path.absolute()),
                "speed": speed,
                "alerts": str(written),
                "damaged": damaged,
                "kept": into is not None,
            }
            found = apart.run("replay", order, directory=directory, log_level="ERROR", say=_sayer(out))
            text = written.read_text()
    except apart.Apart as error:
        raise CommandError(f"{error}.") from None
    if alerts is not None:
        _write(alerts, text, out)
    out.write(summary(found))
    if into is not None:
        out.write(f"What it gave is kept in {into}: a store of its own, to look at with LIVERMORE_DATA_DIR={into} and no DATABASE_URL.")
    if found["fell_over"]:
        raise CommandError(
            f"The connector fell over this recording, after {found['played']:,} of {found['records']:,} records, as it may have done then: "
            f"{found['fell_over']}. The lines above say where."
        )
    if compare:
        differences = compared([json.loads(line) for line in text.splitlines()], found)
        out.write("\n".join(differences[:_MOST_SHOWN]) or "The alerts are those of the live database.")
        if differences:
            raise CommandError(f"{len(differences)} alerts differ from those of the live database.")


def _check(path: Path) -> None:
    """Say at once what would be found out later."""
    try:
        with path.open("rb") as file:
            adapter_of(Reader(file).header)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    except NotReadable as error:
        raise CommandError(f"{path} cannot be replayed: {error}.") from None


def summary(found: dict[str, Any]) -> str:
    """What a replay gave, in lines."""
    first, last = (datetime.fromtimestamp(found[name] / 1000, UTC) for name in ("first", "last"))
    spanned = found["last"] - found["first"]
    label = " (SIMULATED)" if found["simulated"] else ""
    lines = [
        f"{found['exchange']}{label}, {len(found['symbols'])} symbols, {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC: {found['ended']}.",
        f"{found['frames']:,} frames, {found['rejected']:,} rejected, {found['lost']:,} lost before they came",
        f"{found['closed']:,} candles closed, {found['gaps']:,} gaps repaired, {found['revised']:,} revised",
        f"{found['alerts']:,} alerts",
        f"{found['seconds']:.1f} s, {spanned / 1000 / max(found['seconds'], 1e-3):.1f} times as fast as it was",
    ]
    if found["unanswered"]:
        lines.append(
            f"{found['unanswered']:,} requests were not made when this was recorded, and have no answer: "
            "another version recorded it, and what depends on them is missing"
        )
    return "\n".join(lines)


def compared(replayed: Iterable[dict[str, Any]], found: dict[str, Any]) -> list[str]:
    """How the alerts of a replay differ from those in this database over that time, a line for each that does."""
    ours = {alert["uid"]: alert for alert in replayed}
    then = Q(triggered_at__gte=found["first"], triggered_at__lte=found["last"], symbol__in=found["symbols"]) | Q(uid__in=list(ours))
    try:
        live = {row["uid"]: row for row in Alert.objects.filter(then, exchange_id=found["exchange"]).order_by("number").values(*FIELDS)}
    except DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error}. Run `python manage.py migrate`, or check DATABASE_URL.") from error
    lines = [f"only live: {uid}" for uid in live if uid not in ours]
    lines += [f"only replayed: {uid}" for uid in ours if uid not in live]
    common = [uid for uid in live if uid in ours]
    for uid in common:
        names = [name for name in FIELDS if name not in _NOT_COMPARED and live[uid][name] != ours[uid][name]]
        if names:
            lines.append(f"differs: {uid}: " + "; ".join(f"{name} {live[uid][name]} live, {ours[uid][name]} replayed" for name in names))
    if not lines and common != [uid for uid in ours if uid in live]:
        lines.append("the same alerts in another order")
    return lines


def _write(path: Path, text: str, out: TextIO) -> None:
    if str(path) == "-":
        out.write(text)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None


def _sayer(out: TextIO) -> apart.Say:
    def say(line: str) -> None:
        out.write(line)
        out.flush()

    return say


def positive(text: str) -> float:
    """A number above 0, of a command line."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def mebibytes(text: str) -> int:
    """A size in MiB, of a command line."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise ArgumentTypeError(f"{text!r} is not a whole number of MiB from 1 to 1000000")
    return int(text)


def speed(text: str) -> float:
    """How many times as fast, of a command line; 0 for ``max``."""
    return 0.0 if text == "max" else positive(text)
