"""Projecting beside applying: a thread that brings Redis up to date whenever a batch touched it.

A message is done when its events are in Postgres, and need not wait for Redis. While one round is
written the next batches come in, so that under load a round projects many of them. What a crash or
an outage leaves behind is projected by the next wake-up, here or elsewhere, or by the sweep.
"""

from __future__ import annotations

from collections.abc import Callable
import time
from threading import Event, Thread

import structlog

from worker.outages import is_outage

STOP_SECONDS_MAX = 10.0

log = structlog.get_logger(__name__)


class Projector:
    """Calls `project` in a thread of its own; any number of wake-ups meanwhile make one call."""

    def __init__(self, project: Callable[[], object]) -> None:
        self.project = project
        self._woken = Event()
        self._stopping = False
        self._thread = Thread(target=self._run, name="projector", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Let it project what there is; returns at once."""
        self._woken.set()

    def stop(self) -> None:
        """Let it finish what it does, and what it was woken for; then end the thread."""
        self._stopping = True
        self._woken.set()
        self._thread.join(STOP_SECONDS_MAX)

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait()
            time.sleep(0.05)
            self._woken.clear()
            try:
                self.project()
            except Exception as error:
                if not is_outage(error):
                    log.exception("projecting_failed")
                else:
                    log.warning("projecting_waits", error=f"{type(error).__name__}: {error}"[:200])
