"""Put a new version of the program into force."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from models.program import Program
from models.rulebooks import build_rules, read_history
from models.statements import boards as board_statements
from models.statements import programs as statements
from models.statements.programs import StoredProgram

NEXT_INSTANT = timedelta(microseconds=1)
"""Postgres keeps instants to the microsecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramApplied:
    """The version in force, and whether it is a new one."""

    version: int
    is_new: bool


def apply_program(engine: Engine, program: Program, toml: str, now: datetime) -> ProgramApplied:
    """Store the program as the next version, unless it means what the latest one means.

    Workers judge by it from their next batch on. A leaderboard of all time that is new, or that
    changed, starts with what everyone's totals already are, as soon as that is projected. Where
    there are new achievements everyone is to be folded anew (S36): `recompute_users` does so, and
    whoever is touched before that is folded then.
    """
    with engine.begin() as connection:
        statements.lock_programs(connection)
        stored = statements.read_programs(connection)
        latest = stored[-1].version if stored else 0
        # A version begins after the one before it, whatever the clock says that brings it.
        applied_at = max([now, *(one.applied_at + NEXT_INSTANT for one in stored)])
        if stored and stored[-1].canonical == program.canonical_json():
            return ProgramApplied(version=latest, is_new=False)
        statements.add_program(
            connection,
            StoredProgram(
                version=latest + 1,
                toml=toml,
                canonical=program.canonical_json(),
                applied_at=applied_at,
            ),
        )
        rules = build_rules(read_history(connection))
        if any(rule.follows_totals for rule in rules.latest.boards if rule.since > latest):
            board_statements.touch_everyone(connection)
    return ProgramApplied(version=latest + 1, is_new=True)
