"""Runs of leaderboards are opened ahead, and become final: their standings are written for good.

A run whose time has come is finalised once, in one transaction, from what Postgres holds. Nobody
waits for that: events go on, and one that comes for the run afterwards changes totals and its
score, but no place in the record.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.boards import BoardRule
from models.rules.calendar import local_date
from models.rules.mailing import EmailKind
from models.rules.rulebook import Rules
from models.rules.runs import RunPeriod, next_run, run_at
from models.statements import boards as board_statements
from models.statements import standings as statements
from models.statements.boards import RunName, StoredRun

WINNERS = 3
"""Places, on each board of a run, that are told of."""
EVERYONE = 2**31 - 1
"""More than any rank: the largest that the column holds."""


class NotOver(ValueError):
    """A run that is still open cannot become final; the message says when it closes."""


def open_runs(engine: Engine, rulebooks: Rulebooks, now: datetime) -> int:
    """Open the present run of each leaderboard and the one after it; return how many that are.

    Raises NoProgram.
    """
    with engine.begin() as connection:
        rules = rulebooks.current(connection)
        wanted = {}
        for rule in rules.latest.boards:
            if rule.runs.period is not RunPeriod.ALL:
                run = run_at(rule.runs, now, local_date(now, rule.runs.tz or "UTC"))
                for one in (run, next_run(rule.runs, run)):
                    assert one.ends is not None
                    wanted[rule.name, rule.since, one.name] = one.ends
        if wanted:
            board_statements.number_runs(connection, wanted, now)
    return len(wanted)


def finalize_due_runs(
    engine: Engine, rulebooks: Rulebooks, rankings: Rankings, now: datetime
) -> int:
    """Finalise the runs whose time has come by `now`; return how many those were.

    What was sent before `now` should have been applied: it may belong to such a run.

    A run waits until time has been followed for everyone up to its close: awards that fall into it
    may be due. Raises NoProgram, and what redis-py raises.
    """
    done = 0
    while True:
        with engine.begin() as connection:
            rules = rulebooks.current(connection)
            run = statements.lock_due_run(connection, now)
            if run is None or statements.is_anyone_due(connection, run.closes_at):
                return done
            _finalize(connection, rules, rankings, run, now)
        done += 1


def finalize_run(
    engine: Engine, rulebooks: Rulebooks, rankings: Rankings, name: RunName, now: datetime
) -> bool:
    """Write the record of a run that is over anew, as of now; tell whether there is such a run.

    Raises NotOver, NoProgram, and what redis-py raises.
    """
    with engine.begin() as connection:
        rules = rulebooks.current(connection)
        run = statements.lock_run(connection, name)
        if run is None:
            return False
        if now < run.closes_at:
            raise NotOver(f"run {run.run} closes at {run.closes_at:%Y-%m-%d %H:%M:%S} UTC")
        _finalize(connection, rules, rankings, run, now)
    return True


def _told(rules: Rules, rule: BoardRule) -> int:
    """Return up to which rank of all who took part emails tell of a run."""
    tops = [
        EVERYONE if email.top is None else email.top
        for email in rules.latest.mailing.rules
        if email.kind is EmailKind.LEADERBOARD_FINISHED and email.subject == rule.name
    ]
    return max(tops, default=0)


def _finalize(
    connection: Connection, rules: Rules, rankings: Rankings, run: StoredRun, now: datetime
) -> None:
    rule = _definition(rules, run)
    segments = statements.write_final(
        connection,
        run,
        segment_by=rule.segment_by,
        where=rule.where_user,
        ascending=rule.ascending,
        winners=WINNERS,
        told=_told(rules, rule),
        now=now,
    )
    # Whoever reads from now on reads the record; who is reading meanwhile still has the keys.
    boards = [rule.board(run.run, segment) for segment in segments]
    board_statements.forget_projected(connection, boards)
    rankings.expire(boards)


def _definition(rules: Rules, run: StoredRun) -> BoardRule:
    """Return the leaderboard as it was when it came in: it may be another one since, or gone."""
    boards = rules.of(run.since).boards
    return next(rule for rule in boards if (rule.name, rule.since) == (run.leaderboard, run.since))
