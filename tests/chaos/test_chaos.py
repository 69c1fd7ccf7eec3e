"""Two short runs with fixed seeds; many long ones are run by command (`make chaos`)."""

from __future__ import annotations

import pytest

from tests.chaos.run import run_seeds
from tests.chaos.servers import BrokerKind

SEEDS = ((20261123, BrokerKind.VALKEY), (20261124, BrokerKind.RABBITMQ))
SECONDS = 20.0


@pytest.mark.long
def test_nothing_is_lost_or_doubled_whatever_dies_breaks_or_refuses() -> None:
    found = list(run_seeds(SEEDS, SECONDS, parallel=len(SEEDS)))
    failed = [(outcome.as_line(), outcome.differences, kept) for outcome, kept in found if kept]
    assert not failed, (
        f"python -m tests.chaos --seconds {SECONDS} --seed SEED --broker BROKER\n{failed}"
    )
    assert all(outcome.kills for outcome, _ in found)
