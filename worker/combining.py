"""Group commit: what several threads bring at the same moment is applied as one batch.

A transaction costs about the same for one event as for thirty. So of the threads that hold small
messages one leads: it takes what all have brought, applies it in one go, and the others find their
own done. A message is acknowledged only after the batch it went into. After a batch of several the
next leader waits a moment for as many, who are about to bring more; under light load a batch is one
message and nobody waits for company.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from threading import Event, Lock
from typing import Generic, TypeVar

LINGER_SECONDS_MAX = 0.01

Item = TypeVar("Item")


class _State(Enum):
    WAITING = "waiting"
    DONE = "done"
    ALONE = "alone"


@dataclass(slots=True, kw_only=True, eq=False)
class _Request(Generic[Item]):
    items: Sequence[Item]
    state: _State = _State.WAITING
    woken: Event = field(default_factory=Event)

    def settle(self, state: _State) -> None:
        self.state = state
        self.woken.set()


class Combiner(Generic[Item]):
    """Applies items in batches of at most `items_max`, one joint batch at a time."""

    def __init__(
        self,
        apply: Callable[[list[Item]], None],
        *,
        items_max: int,
        linger_seconds: float = LINGER_SECONDS_MAX,
    ) -> None:
        self._apply = apply
        self._items_max = items_max
        self._linger_seconds = linger_seconds
        self._waiting: deque[_Request[Item]] = deque()
        self._led = False
        self._lock = Lock()
        self._last_taken = 1
        self._gathered = Event()

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
            leads, self._led = not self._led, True
        if not leads:
            # Woken when its items are done, or, still waiting, because it is its turn to lead.
            request.woken.wait()
        if request.state is _State.WAITING:
            try:
                self._gathered.wait(self._linger_seconds)
                self._lead(self._take())
            finally:
                self._hand_over()
        if request.state is _State.ALONE:
            self._apply(list(items))

    def _take(self) -> list[_Request[Item]]:
        """Return the requests that came first, the leader's own ahead: what fits into a batch."""
        batch: list[_Request[Item]] = []
        size = 0
        with self._lock:
            while self._waiting:
                size += len(self._waiting[0].items)
                if batch and size > self._items_max:
                    break
                batch.append(self._waiting.popleft())
            self._last_taken = len(batch)
            if len(self._waiting) < self._last_taken:
                self._gathered.clear()
        return batch

    def _lead(self, batch: Sequence[_Request[Item]]) -> None:
        outcome = _State.ALONE
        try:
            self._apply([item for request in batch for item in request.items])
            outcome = _State.DONE
        except Exception:
            if len(batch) == 1:
                raise
        finally:
            for request in batch:
                request.settle(outcome)

    def _hand_over(self) -> None:
        """Let the thread that waits longest lead, or nobody where none waits."""
        with self._lock:
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].woken.set()
