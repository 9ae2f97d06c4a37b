"""``python -m benchmarks.committing SYMBOLS``: a connector with its committer, told by lines when every symbol closes."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import django

_TURN = 50
"""Frames that come with one read of the socket."""
TREND = 1.02
"""By how much every price rises, close after close: MACD-V then goes on rising."""
LEVELS = list(range(20, 820, 20))
"""So close together that nearly every symbol crosses one at every close: the most that a close can ask for."""


async def main(symbols: Sequence[str]) -> None:
    from alerts import services
    from alerts.models import AlertRule
    from alerts.services import Naming
    from benchmarks.market import market
    from benchmarks.surroundings import EXCHANGE_ID
    from exchanges.models import Exchange
    from livermore import bus
    from livermore.db import db

    await db(AlertRule.objects.update)(levels=LEVELS, cooldown=0)
    exchange = await db(Exchange.objects.get)(pk=EXCHANGE_ID)
    fence, epoch = await db(services.sequence_take_over)(exchange_id=EXCHANGE_ID)
    rules = await db(services.rules_load)()
    redis = bus.connect()
    async with market(symbols, redis, exchange, fence=fence, epoch=epoch, rules=rules) as one:
        committer = one.connector._committer
        committer.naming.update({symbol: Naming(symbol.removesuffix("USDT"), "USDT") for symbol in symbols})
        committer.keepers.update(dict.fromkeys(symbols))
        committing = asyncio.create_task(committer.run())
        _say({"ready": 1})
        for number in count(1):
            if not await asyncio.to_thread(sys.stdin.readline):
                break
            frames = one.closing(rise=TREND**number)
            before = await db(_last_number)()
            await one.play(frames, turn=_TURN)
            _say({"last_frame": time.monotonic()})
            if not await asyncio.to_thread(sys.stdin.readline):
                break
            _say({"bare": await db(_write_again)(before)})
        committing.cancel()
    await redis.aclose()


def _say(words: dict[str, float]) -> None:
    print(json.dumps(words), flush=True)


def _last_number() -> int:
    from alerts.models import ExchangeSequence
    from benchmarks.surroundings import EXCHANGE_ID

    return ExchangeSequence.objects.get(exchange_id=EXCHANGE_ID).last_number


def _write_again(before: int) -> float:
    """Take out what the close has written, and write the rows again with the driver alone. Seconds for the second."""
    from django.db import connection, transaction

    from alerts.models import Alert
    from market_data.models import Checkpoint

    tables = ((Checkpoint, ""), (Alert, f" WHERE number > {before:d}"))
    with connection.cursor() as cursor:
        writes: list[tuple[str, list[Any]]] = []
        for model, where in tables:
            columns = [field.column for field in model._meta.concrete_fields]
            quoted = ", ".join(connection.ops.quote_name(column) for column in columns)
            cursor.execute(f"SELECT {quoted} FROM {model._meta.db_table}{where}")
            rows = cursor.fetchall()
            cursor.execute(f"DELETE FROM {model._meta.db_table}{where}")
            places = ", ".join(["%s"] * len(columns))
            writes.append((f"INSERT INTO {model._meta.db_table} ({quoted}) VALUES ({places})", rows))
        began = time.perf_counter()
        with transaction.atomic():
            for statement, rows in writes:
                if rows:
                    cursor.executemany(statement, rows)
        return time.perf_counter() - began


if __name__ == "__main__":
    django.setup()
    from django.core.management import call_command

    from benchmarks.frames import names

    call_command("migrate", interactive=False, verbosity=0)
    asyncio.run(main(names(int(sys.argv[1]))))
