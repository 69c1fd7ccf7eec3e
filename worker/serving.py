"""The long-running processes: a worker, and a scheduler, each until SIGTERM or SIGINT.

A worker that is told to stop finishes what it runs and gives back what waits in its memory.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from threading import Event
from types import FrameType

import structlog
from dramatiq import Worker
from dramatiq.brokers.redis import RedisBroker
from redis import RedisError

from worker.checks import TO_WORK, run_checks
from worker.clock import utc_now
from worker.gauges import StatusCollector
from worker.listening import listening
from worker.mailing.page import UnsubscribePage
from worker.metrics import REGISTRY
from worker.monitor import Answer, serving_monitor
from worker.projecting import Projector
from worker.runtime import Runtime
from worker.scheduler import build_scheduler, is_ringing

IDLE_MILLISECONDS_MAX = 100
"""How long an idle worker waits before it looks for messages again."""
STOP_MILLISECONDS_MAX = 20_000
"""Below the grace of the supervisor and of common platforms (30 s)."""
HEARTBEAT_SECONDS = 5.0
GARBAGE_OBJECTS = 500_000
"""Several times what a batch has at a time: 1,000 events of a whole app's rules, some 110,000."""
MALLOC_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""
MALLOC_ARENAS = 2
PREFETCH_PER_THREAD = 1
"""Messages that a worker holds for each thread: what more it took, an idle one could not have."""

log = structlog.get_logger(__name__)


def run_worker(runtime: Runtime, queues: Collection[str], threads: int) -> None:
    """Process messages of these queues until the process is told to stop."""
    stopping = _stop_on_signals()
    worker = Worker(
        runtime.broker,
        queues=set(queues),
        worker_threads=threads,
        worker_timeout=IDLE_MILLISECONDS_MAX,
    )
    worker.queue_prefetch = threads * PREFETCH_PER_THREAD
    collect_rarely()
    _share_memory()
    runtime.projector.start()
    worker.start()
    with _monitored(runtime, lambda: _is_working(worker, runtime.projector)):
        log.info(
            "worker_started",
            queues=sorted(queues),
            threads=threads,
            pid=os.getpid(),
            monitor_port=runtime.settings.monitor_port,
        )
        while not stopping.wait(HEARTBEAT_SECONDS):
            _beat(runtime)
    worker.stop(timeout=STOP_MILLISECONDS_MAX)
    runtime.projector.stop()
    log.info("worker_stopped", pid=os.getpid())


def run_scheduler(runtime: Runtime) -> None:
    """Ring the ticks until the process is told to stop."""
    stopping = _stop_on_signals()
    REGISTRY.register(StatusCollector(runtime))
    scheduler = build_scheduler(runtime.broker, utc_now)
    scheduler.start()
    with _monitored(runtime, lambda: is_ringing(scheduler, utc_now())):
        log.info("scheduler_started", pid=os.getpid(), monitor_port=runtime.settings.monitor_port)
        stopping.wait()
    scheduler.shutdown()
    log.info("scheduler_stopped", pid=os.getpid())


def run_web(runtime: Runtime, host: str, port: int) -> None:
    """Answer the links that unsubscribe until the process is told to stop. Raises ListenError."""
    stopping = _stop_on_signals()
    page = UnsubscribePage(runtime.engine, runtime.mailer.links(), runtime.program)
    remedy = "give it another one: STREAKLINE_WEB_PORT, or --port"
    with _monitored(runtime, lambda: True), listening(page, host, port, remedy=remedy) as listened:
        log.info("web_started", pid=os.getpid(), host=host, port=listened)
        stopping.wait()
    log.info("web_stopped", pid=os.getpid())


def _monitored(runtime: Runtime, works: Callable[[], bool]) -> AbstractContextManager[None]:
    def health() -> Answer:
        return works(), {"pid": os.getpid()}

    def ready() -> Answer:
        findings = run_checks(runtime, TO_WORK)
        return all(one.ok for one in findings), {one.check: one.detail for one in findings}

    settings = runtime.settings
    return serving_monitor(
        settings.monitor_host,
        settings.monitor_port,
        registry=REGISTRY,
        health=health,
        ready=ready,
    )


def _is_working(worker: Worker, projector: Projector) -> bool:
    """Tell whether every thread runs that messages need."""
    threads = [*worker.consumers.values(), *worker.workers]
    return bool(threads) and projector.is_alive() and all(one.is_alive() for one in threads)


def collect_rarely() -> None:
    """Let the garbage collector look through objects less often than Python's default of each 700.

    A batch has a hundred for each event and makes no cycles: to look through them at each 700 cost
    a fifth of its time, and at each 100,000 a twentieth.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


def _share_memory() -> None:
    """Let threads share what others have freed: each batch is applied by another one of them.

    glibc gives threads arenas of their own, and each keeps what its largest batch took: a worker of
    64 threads held twice the memory. Other C libraries do not know the option, nor need it.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(MALLOC_ARENA_MAX, MALLOC_ARENAS)


def _beat(runtime: Runtime) -> None:
    """Tell Redis that this worker lives: with its hands full it might not ask for messages."""
    if isinstance(runtime.broker, RedisBroker):
        with suppress(RedisError, OSError):  # the next beat tells it as well
            runtime.broker.do_qsize("")


def _stop_on_signals() -> Event:
    stopping = Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
