"""Real processes, killed at random while a simulated market runs; then everything they left is worked out a second time.

One seed is one run. ``make chaos SEED=5 KILLS=100`` runs a long one; a failure prints the line that repeats it.
"""

from pathlib import Path

import pytest

from tests.chaos import invariants
from tests.chaos.plan import plan
from tests.chaos.run import Surroundings, play

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

SEED, KILLS, COINS = 11, 3, 4


async def test_nothing_is_lost_doubled_invented_or_leaked(tmp_path: Path, process_environment: dict[str, str]):
    """Not the database: other tests may share its server. ``make chaos DB=postgres`` kills that too."""
    what = plan(SEED, KILLS, ["connector", "web", "redis"], lines=["redis"], others=0.5, gap=1.0, frames=True)
    again = "pytest tests/chaos/test_kills.py"

    run = await play(what, Surroundings(tmp_path, process_environment["DATABASE_URL"]), coins=COINS, again=again)

    assert not (problems := invariants.broken(run)), "\n".join(problems)
    assert run.plan.kills == KILLS
    assert len(run.due) > 10


def test_a_seed_decides_everything_that_befalls() -> None:
    """I14, as far as no process is needed; ``make chaos TWICE=1`` compares two whole runs."""
    plans = [[plan(seed, 10, ["connector", "web"], lines=["redis"]) for seed in range(20)] for _ in range(2)]
    assert plans[0] == plans[1]
    assert len({str(one.blows) for one in plans[0]}) == 20
    assert {one.kills for one in plans[0]} == {10}
