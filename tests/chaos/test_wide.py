"""Past one machine: a real Redis Cluster of three nodes, two connectors of each exchange, a standby, two web processes; killed at random.

``make chaos WIDE=1 DB=postgres`` runs a long one.
"""

from pathlib import Path

import pytest

from tests.chaos import invariants
from tests.chaos.plan import WIDE, wide
from tests.chaos.run import Surroundings, play

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

SEED, KILLS, COINS = 3, 4, 4
TAKEN_OVER = 10.0
"""Seconds from the kill -9 of a shard's connector until its standby is connected in its place."""
BUSY = 20.0
"""Seconds more on a machine that is busy with other tests; ``make chaos WIDE=1`` tells how long it took."""


async def test_nothing_is_lost_or_doubled_over_a_cluster_two_shards_and_two_web_servers(
    tmp_path: Path, process_environment: dict[str, str]
) -> None:
    what = wide(SEED, KILLS, others=0.5, gap=1.5)
    surroundings = Surroundings(tmp_path, process_environment["DATABASE_URL"], wide=True)

    run = await play(what, surroundings, coins=COINS, again="pytest tests/chaos/test_wide.py")

    assert not (problems := invariants.broken(run)), "\n".join(problems)
    assert len(run.due) > 10
    (taken,) = run.taken
    assert taken < TAKEN_OVER + BUSY
    connectors = [alert.record["connector"] for alert in run.counted]
    assert len({one["pid"] for one in connectors}) > 1, "alerts of both shards"


def test_every_program_of_several_is_killed_before_one_is_killed_twice() -> None:
    plan = wide(1, 1 + len(WIDE))
    assert plan.blows[0].target == "connector"
    assert sorted(blow.target for blow in plan.blows[1:] if blow.what == "kill") == sorted(WIDE)
