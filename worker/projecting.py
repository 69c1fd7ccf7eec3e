"""Projecting beside applying: a thread that brings Redis up to date whenever a batch touched it.

A message is done when its events are in Postgres, and need not wait for Redis. While one round is
written the next batches come in, so that under load a round projects many of them. What a crash or
an outage leaves behind is projected by the next wake-up, here or elsewhere, or by the sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread

import structlog

from worker.metrics import PROJECTION_SECONDS
from worker.outages import is_outage

STOP_SECONDS_MAX = 10.0
GATHER_SECONDS = 0.05
"""How long a round waits for more batches: by so much rankings are behind at the least."""

log = structlog.get_logger(__name__)


class Projector:
    """Calls `project` in a thread of its own; any number of wake-ups meanwhile make one call."""

    def __init__(self, project: Callable[[], int]) -> None:
        self._project = project
        self._woken = Event()
        self._ending = Event()
        self._thread = Thread(target=self._run, name="projector", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Let it project what there is; returns at once."""
        self._woken.set()

    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def project(self) -> int:
        """Project now, whether or not there is anything; return how many batches that was."""
        began = time.monotonic()
        projected = self._project()
        if projected:
            PROJECTION_SECONDS.labels("rankings").observe(time.monotonic() - began)
        return projected

    def stop(self) -> None:
        """Let it finish what it does, and what it was woken for; then end the thread."""
        self._ending.set()
        self._woken.set()
        self._thread.join(STOP_SECONDS_MAX)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._woken.wait()
            self._ending.wait(GATHER_SECONDS)
            self._woken.clear()
            try:
                self.project()
            except Exception as error:
                if not is_outage(error):
                    log.exception("projecting_failed")
                else:
                    log.warning("projecting_waits", error=f"{type(error).__name__}: {error}"[:200])
