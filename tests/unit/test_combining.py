"""Group commit: everything is applied once, in batches within the limit, and fails on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier, Event, get_ident

import pytest

from tests.waiting import wait_until
from worker.combining import TIMES_LEFT_MAX, Combiner

DEADLINE_SECONDS = 30.0
CROWD = 32
FIRST = "first"
BAD = "bad"


class Refused(Exception):
    """What the log raises for a batch that holds BAD."""


@dataclass(slots=True, kw_only=True)
class GatedLog:
    """Notes each batch; the first waits at the gate, so that others come meanwhile.

    What is `held` is left, as long as the batch is not patient.
    """

    batches: list[list[str]] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    patience: list[bool] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    entered: Event = field(default_factory=Event)
    gate: Event = field(default_factory=Event)

    def apply(self, items: list[str], *, patient: bool) -> list[str]:
        self.batches.append(items)
        self.patience.append(patient)
        self.threads.append(get_ident())
        if FIRST in items:
            self.entered.set()
            assert self.gate.wait(DEADLINE_SECONDS)
        if BAD in items:
            raise Refused(*items)
        return [] if patient else [item for item in items if item in self.held]


@contextmanager
def held_up(
    log: GatedLog, combiner: Combiner[str], requests: Sequence[Sequence[str]]
) -> Iterator[list[Future[None]]]:
    """Yield what becomes of the requests, all of which came in order while a batch was applied."""
    with ThreadPoolExecutor(len(requests) + 1) as threads:
        first = threads.submit(combiner.submit, [FIRST])
        assert log.entered.wait(DEADLINE_SECONDS)
        futures = []
        for number, request in enumerate(requests, start=1):
            futures.append(threads.submit(combiner.submit, request))
            wait_until(_has_waiting(combiner, number))
        log.gate.set()
        first.result(DEADLINE_SECONDS)
        yield futures


def _has_waiting(combiner: Combiner[str], number: int) -> Callable[[], bool]:
    # that a thread waits shows nowhere else
    return lambda: len(combiner._waiting) == number


def test_items_of_many_threads_are_applied_exactly_once_within_the_limit() -> None:
    log = GatedLog()
    batches = log.batches
    combiner: Combiner[str] = Combiner(log.apply, items_max=5, crowd=4)
    start = Barrier(8)

    def submit(thread: int) -> None:
        start.wait(DEADLINE_SECONDS)
        for number in range(50):
            one = f"{thread}.{number}"
            combiner.submit([f"{one}.{item}" for item in range(1 + number % 3)])
            # it is applied by the time that submit returns
            assert any(f"{one}.0" in batch for batch in list(batches))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(submit, range(8)))
    applied = [item for batch in batches for item in batch]
    sent = [f"{t}.{n}.{i}" for t in range(8) for n in range(50) for i in range(1 + n % 3)]
    assert sorted(applied) == sorted(sent)
    assert all(1 <= len(batch) <= 5 for batch in batches)


def test_one_threads_requests_are_batches_of_its_own() -> None:
    log = GatedLog()
    combiner: Combiner[str] = Combiner(log.apply, items_max=100, crowd=CROWD)
    for request in (["a", "b"], ["c"], ["d"]):
        combiner.submit(request)
    assert log.batches == [["a", "b"], ["c"], ["d"]]


def test_what_came_while_a_batch_was_applied_is_the_next_in_order() -> None:
    log = GatedLog()
    combiner: Combiner[str] = Combiner(log.apply, items_max=100, crowd=CROWD)
    with held_up(log, combiner, [["a", "b"], ["c"], ["d"]]) as futures:
        for future in futures:
            future.result(DEADLINE_SECONDS)
    assert log.batches == [[FIRST], ["a", "b", "c", "d"]]


def test_after_a_batch_of_several_the_next_leader_waits_for_as_many() -> None:
    """The one that comes first would be applied alone, if it did not wait."""
    log = GatedLog()
    combiner: Combiner[str] = Combiner(
        log.apply, items_max=100, crowd=CROWD, linger_seconds=DEADLINE_SECONDS
    )
    with held_up(log, combiner, [["a"], ["b"]]) as futures:
        for future in futures:
            future.result(DEADLINE_SECONDS)
    with ThreadPoolExecutor(2) as threads:
        early = threads.submit(combiner.submit, ["c"])
        wait_until(_has_waiting(combiner, 1))
        assert log.batches == [[FIRST], ["a", "b"]]
        late = threads.submit(combiner.submit, ["d"])
        early.result(DEADLINE_SECONDS)
        late.result(DEADLINE_SECONDS)
    assert log.batches == [[FIRST], ["a", "b"], ["c", "d"]]


def test_what_comes_soon_after_a_batch_waits_for_the_pace_or_a_crowd() -> None:
    log = GatedLog()
    combiner: Combiner[str] = Combiner(
        log.apply, items_max=100, crowd=CROWD, pace_seconds=DEADLINE_SECONDS
    )
    combiner.submit(["at once"])
    with ThreadPoolExecutor(CROWD) as threads:
        few = [threads.submit(combiner.submit, [f"{number}"]) for number in range(CROWD - 1)]
        wait_until(_has_waiting(combiner, CROWD - 1))
        assert log.batches == [["at once"]]
        last = threads.submit(combiner.submit, ["last"])
        for future in (*few, last):
            future.result(DEADLINE_SECONDS)
    assert [len(batch) for batch in log.batches] == [1, CROWD]


def test_where_nobody_else_comes_a_leader_goes_on_alone() -> None:
    log = GatedLog()
    combiner: Combiner[str] = Combiner(log.apply, items_max=100, crowd=CROWD, linger_seconds=0.01)
    with held_up(log, combiner, [["a"], ["b"]]) as futures:
        for future in futures:
            future.result(DEADLINE_SECONDS)
    combiner.submit(["c"])
    assert log.batches == [[FIRST], ["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("requests", "batches"),
    [
        (["ab", "cd", "e"], ["abcd", "e"]),
        (["abc", "de", "f"], ["abc", "def"]),
        (["abcd", "e"], ["abcd", "e"]),
        (["abcdef", "g"], ["abcdef", "g"]),
        (["a", "bcdefg", "h"], ["a", "bcdefg", "h"]),
    ],
    ids=["fits-to-the-last", "next-would-not-fit", "full", "larger-alone", "larger-between"],
)
def test_a_batch_exceeds_the_limit_only_where_one_request_alone_does(
    requests: list[str], batches: list[str]
) -> None:
    log = GatedLog()
    combiner: Combiner[str] = Combiner(log.apply, items_max=4, crowd=CROWD)
    with held_up(log, combiner, requests) as futures:
        for future in futures:
            future.result(DEADLINE_SECONDS)
    assert ["".join(batch) for batch in log.batches[1:]] == batches


def test_of_a_batch_that_fails_only_the_failing_request_raises() -> None:
    log = GatedLog()
    combiner: Combiner[str] = Combiner(log.apply, items_max=100, crowd=CROWD)
    with held_up(log, combiner, [["a"], ["b", BAD], ["c"]]) as futures:
        futures[0].result(DEADLINE_SECONDS)
        futures[2].result(DEADLINE_SECONDS)
        with pytest.raises(Refused) as caught:
            futures[1].result(DEADLINE_SECONDS)
    assert caught.value.args == ("b", BAD)
    assert log.batches[1] == ["a", "b", BAD, "c"]
    assert sorted(log.batches[2:]) == [["a"], ["b", BAD], ["c"]]
    assert len(set(log.threads[2:])) == 3, "each thread applies its own"


def test_a_request_that_fails_alone_is_applied_once_and_raises_and_the_next_goes_on() -> None:
    log = GatedLog()
    combiner: Combiner[str] = Combiner(log.apply, items_max=100, crowd=CROWD)
    with pytest.raises(Refused):
        combiner.submit([BAD])
    combiner.submit(["a"])
    assert log.batches == [[BAD], ["a"]]


def test_what_a_batch_leaves_comes_first_in_the_next_and_the_rest_is_done() -> None:
    log = GatedLog(held={"b"})
    combiner: Combiner[str] = Combiner(log.apply, items_max=2, crowd=CROWD)
    with held_up(log, combiner, [["a", "b"], ["c", "d"], ["e"]]) as futures:
        futures[1].result(DEADLINE_SECONDS)
        futures[2].result(DEADLINE_SECONDS)
        futures[0].result(DEADLINE_SECONDS)
    assert log.batches[1:] == [["a", "b"], ["b", "c", "d"], ["b", "e"], ["b"], ["b"]]
    assert log.patience[-2:] == [False, True], "with nothing else to do it is waited for"
    assert combiner.count_begun() == 0


def test_what_is_left_again_and_again_is_waited_for_though_others_go_on() -> None:
    log = GatedLog(held={"b"})
    combiner: Combiner[str] = Combiner(log.apply, items_max=2, crowd=CROWD)
    others = [[f"{number}"] for number in range(3 * TIMES_LEFT_MAX)]
    with held_up(log, combiner, [["b"], *others]) as futures:
        for future in futures:
            future.result(DEADLINE_SECONDS)
    tried = [number for number, batch in enumerate(log.batches) if "b" in batch]
    patience = [log.patience[number] for number in tried]
    assert patience == [False] * TIMES_LEFT_MAX + [True]
    assert all(len(log.batches[number]) > 1 for number in tried)


def test_a_request_that_is_done_in_part_is_told_of_as_begun() -> None:
    log = GatedLog(held={"b"})
    combiner: Combiner[str] = Combiner(log.apply, items_max=2, crowd=CROWD)
    begun: list[int] = []

    def apply(items: list[str], *, patient: bool) -> list[str]:
        begun.append(combiner.count_begun())
        return log.apply(items, patient=patient)

    combiner._apply = apply
    with held_up(log, combiner, [["a", "b"], ["c"]]) as futures:
        for future in futures:
            future.result(DEADLINE_SECONDS)
    assert begun == [0, 0, 1, 1, 1]


def test_a_batch_that_fails_with_something_left_of_before_applies_that_alone() -> None:
    log = GatedLog(held={"b"})
    combiner: Combiner[str] = Combiner(log.apply, items_max=2, crowd=CROWD)
    with held_up(log, combiner, [["a", "b"], [BAD, "c"]]) as futures:
        futures[0].result(DEADLINE_SECONDS)
        with pytest.raises(Refused):
            futures[1].result(DEADLINE_SECONDS)
    assert log.batches[1:3] == [["a", "b"], ["b", BAD, "c"]]
    assert sorted(log.batches[3:]) == [["b"], [BAD, "c"]]
    assert combiner.count_begun() == 0
