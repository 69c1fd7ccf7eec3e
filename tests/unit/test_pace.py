"""Whether workers keep up, told from two looks at the queue."""

from __future__ import annotations

import pytest

from worker.pace import Look, find_pace


def look(at_seconds: float, messages: int, handled: int) -> Look:
    return Look(at_seconds=at_seconds, messages=messages, handled=handled)


@pytest.mark.parametrize(
    ("second", "arriving", "handled", "outrun", "seconds_left"),
    [
        # 50 messages of 20 events more, while 4,000 were handled: 2,500 came each second
        pytest.param(look(12, 250, 5_000), 2_500, 2_000, True, None, id="outrun"),
        pytest.param(look(12, 100, 5_000), 1_000, 2_000, False, 10, id="catching up"),
        pytest.param(look(12, 200, 5_000), 2_000, 2_000, False, None, id="just keeping up"),
        pytest.param(look(12, 200, 1_000), 0, 0, False, None, id="nobody works, nothing comes"),
        pytest.param(look(12, 300, 1_000), 1_000, 0, True, None, id="nobody works"),
        # what is in a message is an estimate: nothing comes less than not at all
        pytest.param(look(12, 0, 2_000), 0, 500, False, 20, id="larger messages went"),
    ],
)
def test_pace(
    second: Look, arriving: float, handled: float, outrun: bool, seconds_left: float | None
) -> None:
    pace = find_pace(look(10, 200, 1_000), second, events_per_message=20)
    assert (pace.arriving_per_second, pace.handled_per_second) == (arriving, handled)
    assert pace.outrun is outrun
    assert pace.seconds_left(10_000) == seconds_left
