"""Group commit: what several threads bring at the same moment is applied as one batch.

A transaction costs about the same for one event as for thirty. So of the threads that hold small
messages one leads: it takes what all have brought, applies it in one go, and the others find their
own done. A message is acknowledged only after the batches it went into.

A message that comes after a pause is applied at once. What comes soon after it waits until the pace
allows the next batch, or a crowd waits: batches as small as they come would cost a processor that
others need (`tests/benchmarks/live.py`). After a batch of several the next leader waits a moment
for as many, who are about to bring more.

What another process is busy with is left for the next batch instead of being waited for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from threading import Event, Lock
from typing import Generic, Protocol, TypeVar

PACE_SECONDS = 0.05
"""From the beginning of a batch to that of the next, unless a crowd waits."""
LINGER_SECONDS_MAX = 0.01
TIMES_LEFT_MAX = 5
"""How often something is left for the next batch before it is waited for."""

Item = TypeVar("Item")


class _State(Enum):
    WAITING = "waiting"
    DONE = "done"
    ALONE = "alone"


class Apply(Protocol[Item]):
    """Applies items and returns those that it left; where it is `patient` it leaves none."""

    def __call__(self, items: list[Item], *, patient: bool) -> Sequence[Item]: ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Request(Generic[Item]):
    items: Sequence[Item]
    times_left: int = 0
    state: _State = _State.WAITING
    woken: Event = field(default_factory=Event)

    def settle(self, state: _State) -> None:
        self.state = state
        self.woken.set()


class Combiner(Generic[Item]):
    """Applies items in batches of at most `items_max`, one joint batch at a time.

    `crowd` are as many requests as are worth a batch at any time.

    What a batch leaves goes into the next one beside as many others, a few times over; then, or
    where nothing else could be done, it is waited for.
    """

    def __init__(
        self,
        apply: Apply[Item],
        *,
        items_max: int,
        crowd: int,
        linger_seconds: float = LINGER_SECONDS_MAX,
        pace_seconds: float = PACE_SECONDS,
    ) -> None:
        self._apply = apply
        self._items_max = items_max
        self._crowd = crowd
        self._linger_seconds = linger_seconds
        self._pace_seconds = pace_seconds
        self._next_at = 0.0
        self._waiting: deque[_Request[Item]] = deque()
        self._led = False
        self._lock = Lock()
        self._last_taken = 1
        self._gathered = Event()
        self._crowded = Event()
        self._begun = 0

    def count_begun(self) -> int:
        """Return of how many requests only what was left is still to be applied."""
        return self._begun

    def submit(self, items: Sequence[Item]) -> None:
        """Return when the items are applied. Raises what `apply` raises for them.

        Where a batch of several fails, each thread applies its own items alone, so that one that
        cannot be applied does not stand in the way of the others.
        """
        request = _Request(items=items)
        with self._lock:
            self._waiting.append(request)
            if len(self._waiting) >= self._last_taken:
                self._gathered.set()
            if len(self._waiting) >= self._crowd:
                self._crowded.set()
            leads, self._led = not self._led, True
        if leads:
            request.woken.set()
        while request.state is _State.WAITING:
            # Woken when its items are done, or, still waiting, because it is its turn to lead.
            request.woken.wait()
            if request.state is _State.WAITING:
                request.woken.clear()
                self._lead()
        if request.state is _State.ALONE:
            self._apply(list(request.items), patient=True)

    def _lead(self) -> None:
        """Take a batch, apply it, and let the thread that then waits longest lead, if any does."""
        batch: list[_Request[Item]] = []
        try:
            self._crowded.wait(max(0.0, self._next_at - time.monotonic()))
            self._gathered.wait(self._linger_seconds)
            self._next_at = time.monotonic() + self._pace_seconds
            batch = self._take()
            self._settle(batch)
        finally:
            self._hand_over()

    def _take(self) -> list[_Request[Item]]:
        """Return the requests that came first, the leader's own ahead: what fits into a batch."""
        batch: list[_Request[Item]] = []
        size = 0
        with self._lock:
            while self._waiting:
                if not self._waiting[0].times_left:  # what was left goes in beside the rest
                    size += len(self._waiting[0].items)
                    if batch and size > self._items_max:
                        break
                batch.append(self._waiting.popleft())
            self._last_taken = len(batch)
            if len(self._waiting) < self._last_taken:
                self._gathered.clear()
            if len(self._waiting) < self._crowd:
                self._crowded.clear()
        return batch

    def _settle(self, batch: Sequence[_Request[Item]]) -> None:
        """Apply a batch; what is left of it comes first in the next."""
        items = [item for request in batch for item in request.items]
        left: Sequence[Item] = ()
        outcome = _State.ALONE
        try:
            patient = any(request.times_left == TIMES_LEFT_MAX for request in batch)
            left = self._apply(items, patient=patient)
            outcome = _State.DONE
        except Exception:
            if len(batch) == 1:
                raise
        finally:
            begun = sum(request.times_left > 0 for request in batch)
            unfinished = _keep(batch, left)
            with self._lock:
                self._begun += len(unfinished) - begun
                self._waiting.extendleft(reversed(unfinished))
            for request in batch:
                if request not in unfinished:
                    request.settle(outcome)

    def _hand_over(self) -> None:
        """Let the thread that waits longest lead, or nobody where none waits."""
        with self._lock:
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].woken.set()


def _keep(batch: Sequence[_Request[Item]], left: Sequence[Item]) -> list[_Request[Item]]:
    """Return the requests of which something is left, with that alone.

    Where that is all of the batch, the next one has nothing to do meanwhile but wait.
    """
    if not left:
        return []
    ids = set(map(id, left))
    unfinished = []
    nothing_done = len(left) == sum(len(request.items) for request in batch)
    for request in batch:
        remaining = [item for item in request.items if id(item) in ids]
        if remaining:
            request.items = remaining
            request.times_left = TIMES_LEFT_MAX if nothing_done else request.times_left + 1
            unfinished.append(request)
    return unfinished
