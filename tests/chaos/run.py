"""One run: servers, processes and producers, faults from a seed, and then the reckoning.

Everything of a run lies in a directory of its own, which goes when all is well: the servers' data,
the processes' logs, what was accepted, the faults as they came, and what differs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

from sqlalchemy import Engine, func, select

from jobs.read_status import read_progress
from models import tables
from models.rankings import Rankings
from models.statements.notices import READER
from models.warehouse.engine import Warehouse
from streakline.contract import NAMESPACE
from tests.applying import opened, read_table
from tests.chaos.comparing import (
    Expectation,
    compare_boards,
    compare_emails,
    compare_ledger,
    compare_users,
    compare_warehouse_rows,
    shortened,
)
from tests.chaos.crew import Crew, running_crew
from tests.chaos.faults import Fault, Kind, bring_about, draw_faults
from tests.chaos.producing import Journal, Producers, open_journal, tell_users
from tests.chaos.servers import BrokerKind, Servers, running_servers
from tests.forking import forker
from worker.settings import embedded_warehouse

PROGRAM = Path(__file__).with_name("program.toml")
READY_SECONDS_MAX = 120.0
SETTLED_SECONDS_MAX = 300.0
"""A dead worker's messages come back after 40 s; what failed is tried again within 60 s."""
POLL_SECONDS = 0.5
COMMAND_SECONDS_MAX = 180

_COLUMNS = (
    "day", "seed", "broker", "lasted", "result", "killed", "other faults", "accepted", "applied",
    "repeats", "conflicts", "rubbish", "sent again", "emails", "final runs", "settled after",
)  # fmt: skip
LOG_HEAD = f"""# Chaos: the runs so far

<!-- Rows are added by `python -m tests.chaos --log docs/chaos-runs.md`. -->

What a run is, and what is compared after it, is on [its own page](chaos.md).

| {" | ".join(_COLUMNS)} |
|{"---|" * len(_COLUMNS)}
"""


class NotSettled(AssertionError):
    """Not everything that was accepted is applied, projected and loaded in time."""


@dataclass(kw_only=True)
class Outcome:
    """What a run came to: one line of the log."""

    seed: int
    broker: BrokerKind
    seconds: float
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    deaths: dict[str, int] = field(default_factory=dict)
    """Of processes that nobody had killed."""
    accepted: int = 0
    applied: int = 0
    repeats: int = 0
    conflicts: int = 0
    unconfirmed: int = 0
    rubbish: int = 0
    emails: Counter[str] = field(default_factory=Counter)
    final_runs: int = 0
    settled_seconds: float = 0.0
    differences: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Tell whether nothing differs."""
        return not self.differences

    def as_line(self) -> str:
        """Return the outcome as a line for people."""
        return (
            f"seed {self.seed} on {self.broker}: {'ok' if self.is_good else 'FAILED'}"
            f" | kills {_counted(self.kills)} | faults {_counted(self.faults)}"
            f" | deaths {_counted(self.deaths)}"
            f" | events {self.accepted} accepted, {self.applied} applied,"
            f" {self.repeats} repeats, {self.conflicts} conflicts,"
            f" {self.unconfirmed} unconfirmed, {self.rubbish} rubbish"
            f" | emails {_counted(self.emails)} | {self.final_runs} runs final"
            f" | settled in {self.settled_seconds:.0f} s"
        )

    def as_row(self) -> str:
        """Return the outcome as a row under LOG_HEAD."""
        cells = (
            f"{datetime.now(UTC):%Y-%m-%d}",
            str(self.seed),
            self.broker,
            f"{self.seconds:.0f} s",
            "ok" if self.is_good else f"**{len(self.differences)} differences**",
            _counted(self.kills),
            _counted(self.faults),
            f"{self.accepted:,}",
            f"{self.applied:,}",
            f"{self.repeats:,}",
            str(self.conflicts),
            str(self.rubbish),
            f"{self.unconfirmed:,}",
            _counted(self.emails),
            str(self.final_runs),
            f"{self.settled_seconds:.0f} s",
        )
        return f"| {' | '.join(cells)} |\n"


def _counted(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


@contextmanager
def prepared(
    directory: Path, broker: BrokerKind = BrokerKind.VALKEY
) -> Iterator[tuple[Servers, Crew, Engine]]:
    """Yield running servers and processes, with the program in force and all users told of."""
    logs = directory / "logs"
    logs.mkdir(parents=True)
    with ExitStack() as stack:
        servers = stack.enter_context(running_servers(directory / "home", broker))
        environment = os.environ | servers.environment() | {"STREAKLINE_PROGRAM": str(PROGRAM)}
        for words in (("migrate",), ("program", "apply")):
            forker().run(words, environment, COMMAND_SECONDS_MAX).check_returncode()
        engine = stack.enter_context(opened(servers.database_url))
        crew = stack.enter_context(running_crew(environment, logs))
        tell_users(environment)
        wait_until_settled(servers, engine, READY_SECONDS_MAX)
        yield servers, crew, engine


def run_seeds(
    seeds: Iterable[tuple[int, BrokerKind]], seconds: float, *, parallel: int
) -> Iterator[tuple[Outcome, Path | None]]:
    """Run once for each seed, some at a time; yield what each came to when it ends.

    A run that failed leaves its directory, which is yielded with it.
    """
    with ProcessPoolExecutor(
        parallel, mp_context=get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        runs = [pool.submit(_try_run, seed, broker, seconds) for seed, broker in seeds]
        for done in as_completed(runs):
            yield done.result()


def _try_run(seed: int, broker: BrokerKind, seconds: float) -> tuple[Outcome, Path | None]:
    directory = Path(tempfile.mkdtemp(prefix=f"streakline-chaos-{seed}-"))
    try:
        outcome = run(seed, broker, seconds, directory / "run")
    except Exception:
        outcome = Outcome(
            seed=seed, broker=broker, seconds=seconds, differences=[traceback.format_exc()]
        )
    if not outcome.is_good:
        return outcome, directory
    shutil.rmtree(directory, ignore_errors=True)
    return outcome, None


def run(seed: int, broker: BrokerKind, seconds: float, directory: Path) -> Outcome:
    """Let a run happen and return what it came to."""
    faults = draw_faults(seed, seconds, broker)
    outcome = Outcome(seed=seed, broker=broker, seconds=seconds)
    directory.mkdir(parents=True)
    (directory / "faults.txt").write_text("\n".join(map(str, faults)) + "\n")
    with prepared(directory, broker) as (servers, crew, engine):
        journal = open_journal(directory / "accepted.jsonl")
        producers = Producers(servers.environment(), journal, seed, seconds)
        producers.start()
        _bring_about(faults, servers, crew, seconds)
        producers.finish()
        assert journal.file is not None
        journal.file.close()
        began = datetime.now(UTC)
        try:
            settled_at = wait_until_settled(servers, engine)
        except NotSettled as error:
            settled_at = datetime.now(UTC)
            outcome.differences.append(str(error))
        outcome.settled_seconds = (settled_at - began).total_seconds()
        outcome.differences += _second_witness(servers)
        crew.dismiss()
        _reckon(outcome, servers, engine, journal, settled_at)
        _count(outcome, faults, crew, journal)
    (directory / "differences.txt").write_text("\n".join(outcome.differences))
    return outcome


def _bring_about(faults: Sequence[Fault], servers: Servers, crew: Crew, seconds: float) -> None:
    """Let all faults happen at their times, and heal everything at the end."""
    began, stopping, pause = time.monotonic(), Flag(), Flag()
    failed: list[Exception] = []

    def happen(fault: Fault) -> None:
        try:
            bring_about(fault, servers, crew, stopping)
        except Exception as error:
            failed.append(error)

    threads = []
    for fault in faults:
        pause.wait(max(0.0, began + fault.at - time.monotonic()))
        thread = Thread(target=happen, args=(fault,), daemon=True)
        thread.start()
        threads.append(thread)
    pause.wait(max(0.0, began + seconds - time.monotonic()))
    stopping.set()
    for thread in threads:
        thread.join()
    if failed:
        raise ExceptionGroup("faults could not be brought about", failed)
    servers.heal()


def _unsettled(servers: Servers, engine: Engine) -> dict[str, Any]:
    """Return what is not done yet: messages, projections, loads, emails, runs that are over."""
    now = datetime.now(UTC)
    left: dict[str, Any] = {**servers.count_messages()}
    progress = read_progress(engine, now)
    due = select(func.count()).where(
        tables.runs.c.finalized_at.is_(None),
        tables.runs.c.final_at < now - timedelta(seconds=1),
    )
    told = select(tables.cursors.c.position).where(tables.cursors.c.reader == READER)
    untold = select(func.count()).where(
        tables.notices.c.txid >= func.coalesce(told.scalar_subquery(), 0)
    )
    with engine.connect() as connection:
        left["runs"] = connection.execute(due).scalar_one()
        left["untold"] = connection.execute(untold).scalar_one()
    left |= {
        "rankings": progress.rankings_waiting,
        "warehouse": sum(progress.warehouse.rows.values()),
        "emails": progress.emails_due,
    }
    return {name: count for name, count in left.items() if count}


def wait_until_settled(
    servers: Servers, engine: Engine, seconds_max: float = SETTLED_SECONDS_MAX
) -> datetime:
    """Wait until everything accepted is applied, projected, loaded, told and sent.

    Return the instant at which it was. Raises NotSettled, which says what is not.
    """
    deadline, pause = time.monotonic() + seconds_max, Flag()
    while True:
        looked_at = datetime.now(UTC)
        left = _unsettled(servers, engine)
        if not left:
            return looked_at
        if time.monotonic() > deadline:
            raise NotSettled(f"not settled within {seconds_max} s: {left}")
        pause.wait(POLL_SECONDS)


def _second_witness(servers: Servers) -> Iterator[str]:
    """Yield what `streakline verify` finds: everyone folded from nothing, boards, the warehouse."""
    environment = os.environ | servers.environment()
    done = forker().run(("verify", "--json"), environment, COMMAND_SECONDS_MAX)
    if done.returncode != 0:
        yield f"verify: {done.stdout[-3000:]} {done.stderr[-3000:]}"


def _reckon(
    outcome: Outcome, servers: Servers, engine: Engine, journal: Journal, settled_at: datetime
) -> None:
    """Compare every store with an independent replay of what was accepted."""
    events, differences = compare_ledger(engine, journal)
    expected = Expectation(events, datetime.now(UTC))
    outcome.applied = len(events)
    with servers.redis(1) as redis:
        rankings = Rankings(redis, NAMESPACE)
        differences += compare_users(engine, rankings, expected)
        differences += compare_boards(engine, rankings, expected, journal)
    warehouse = Warehouse(embedded_warehouse(servers.home))
    try:
        differences += compare_warehouse_rows(warehouse, expected)
    finally:
        warehouse.close()
    outcome.emails, wrong = compare_emails(engine, servers.mail.received, expected, settled_at)
    outcome.final_runs = sum(bool(row["finalized_at"]) for row in read_table(engine, tables.runs))
    outcome.differences += shortened([*differences, *wrong])


def _count(outcome: Outcome, faults: Sequence[Fault], crew: Crew, journal: Journal) -> None:
    outcome.faults = Counter(fault.kind.value for fault in faults if fault.kind is not Kind.KILL)
    outcome.kills = Counter(
        fault.target.partition(".")[0] for fault in faults if fault.kind is Kind.KILL
    )
    outcome.deaths = crew.died_by_themselves()
    outcome.accepted = len(journal.contents)
    outcome.repeats = journal.repeats
    outcome.conflicts = sum(len(each) - 1 for each in journal.contents.values())
    outcome.unconfirmed = journal.unconfirmed
    outcome.rubbish = journal.rubbish
