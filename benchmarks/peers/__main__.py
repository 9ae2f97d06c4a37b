"""``python -m benchmarks.peers NAME``: answer slices of one peer, a JSON line each, until the input ends."""

import asyncio
import gc
import importlib
import inspect
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, TextIO


async def main(name: str, answers: TextIO) -> None:
    slices: dict[str, Any] = {}
    for question in _questions():
        try:
            answer = await _slice(slices, question) if question else _begin(name, slices)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")


def _questions() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def _begin(name: str, slices: dict[str, Any]) -> dict[str, Any]:
    module = importlib.import_module(f"benchmarks.peers.{name}")
    slices.update(module.slices())
    return {"versions": {package: version(package) for package in module.PACKAGES}, "check": module.check()}


async def _slice(slices: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    gc.collect()
    took = slices[question["slice"]](question["times"])
    return {"seconds": await took if inspect.isawaitable(took) else took}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    asyncio.run(main(sys.argv[1], answers))
