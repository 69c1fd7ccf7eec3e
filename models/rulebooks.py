"""From the versions of a program to the rulebook that judges events.

What this version of Streakline does not act upon yet (`models.program.pending_features` lists it)
is left out of the rulebook, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_DOWN, Decimal
from typing import Any

from sqlalchemy import Connection

from models.program import Program, load_program
from models.program.leaderboards import Leaderboard
from models.program.points import MetricTrigger
from models.rules.points import TriggerRule
from models.rules.rankings import ALL, Board, BoardName
from models.rules.rulebook import BoardRule, MetricRule, Rulebook
from models.rules.streaks import Mode, StreakRule
from models.statements import boards as board_statements
from models.statements import programs as program_statements
from streakline.contract import VALUE_MAX, VALUE_PLACES_MAX


class NoProgram(Exception):
    """No program was applied yet, so nothing can be judged: run `streakline program apply FILE`."""

    def __init__(self) -> None:
        super().__init__("no program is applied yet; run: streakline program apply FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramVersion:
    """A program and the number under which it came into force."""

    version: int
    program: Program


class Rulebooks:
    """Hands out the rulebook in force, and builds it anew only when the version changes."""

    def __init__(self) -> None:
        self._latest: Rulebook | None = None

    def current(self, connection: Connection) -> Rulebook:
        """Return the rulebook of the version in force. Raises NoProgram."""
        version = program_statements.read_version(connection)
        latest = self._latest
        if latest is None or latest.version != version:
            latest = build_rulebook(
                read_history(connection), board_statements.read_boards(connection)
            )
            self._latest = latest
        return latest


def read_history(connection: Connection) -> list[ProgramVersion]:
    """Return all versions of the program, oldest first."""
    return [
        ProgramVersion(
            version=stored.version,
            program=load_program(stored.toml, source=f"program version {stored.version}"),
        )
        for stored in program_statements.read_programs(connection)
    ]


def build_rulebook(history: Sequence[ProgramVersion], boards: Iterable[Board]) -> Rulebook:
    """Return the rulebook of the latest version; `history` ascends. Raises NoProgram."""
    if not history:
        raise NoProgram
    program = history[-1].program
    triggers = list(_triggers(history))
    return Rulebook(
        version=history[-1].version,
        tz=program.app.timezone,
        event_age_max=program.app.max_event_age,
        metrics={
            name: MetricRule(
                adds_up=metric.aggregate == "sum",
                allow_negative=metric.allow_negative,
                value_max=metric.max_value,
                total_max=_total_max(name, triggers),
            )
            for name, metric in program.metrics.items()
        },
        streaks=[
            StreakRule(name=name, mode=Mode(streak.mode), thresholds=streak.metrics)
            for name, streak in program.streaks.items()
            if streak.frequency == "daily"
        ],
        triggers=triggers,
        boards=list(_board_rules(history, boards)),
    )


def board_names(history: Sequence[ProgramVersion]) -> list[BoardName]:
    """Return the boards that the latest version wants to be there."""
    return [
        BoardName(
            leaderboard=name,
            run=ALL,
            segment=ALL,
            since=_since(history, _leaderboard_getter(name)),
            ascending=leaderboard.order == "asc",
        )
        for name, leaderboard in history[-1].program.leaderboards.items()
        if _is_acted_upon(leaderboard, history[-1].program)
    ]


def _total_max(metric: str, triggers: Sequence[TriggerRule]) -> Decimal:
    """Return the total beyond which a balance could leave the exact range, or the total itself.

    If no metric's total goes further than the range divided by all the points that a system gives
    for one of each metric, then neither does the sum of what the system's triggers have awarded.
    """
    most_points_for_one = Decimal(1)
    for system in {trigger.points for trigger in triggers if trigger.metric == metric}:
        rates = (trigger.award / trigger.every for trigger in triggers if trigger.points == system)
        most_points_for_one = max(most_points_for_one, sum(rates, start=Decimal(0)))
    places = Decimal(1).scaleb(-VALUE_PLACES_MAX)
    return (VALUE_MAX / most_points_for_one).quantize(places, ROUND_DOWN)


def _triggers(history: Sequence[ProgramVersion]) -> Iterator[TriggerRule]:
    for points, system in history[-1].program.points.items():
        for name, trigger in system.triggers.items():
            if isinstance(trigger, MetricTrigger) and not trigger.where.user:
                yield TriggerRule(
                    points=points,
                    name=name,
                    since=_since(history, _trigger_getter(points, name)),
                    metric=trigger.metric,
                    every=trigger.every,
                    award=trigger.points,
                    where=trigger.where.event,
                )


def boards_in_force(history: Sequence[ProgramVersion], boards: Iterable[Board]) -> list[Board]:
    """Return those of the boards that the latest version ranks by."""
    wanted = set(board_names(history))
    return [board for board in boards if BoardName(**_name_of(board)) in wanted]


def _board_rules(history: Sequence[ProgramVersion], boards: Iterable[Board]) -> Iterator[BoardRule]:
    program = history[-1].program
    for board in boards_in_force(history, boards):
        rank_by = program.leaderboards[board.leaderboard].rank_by
        yield BoardRule(board=board, metric=rank_by.metric, points=rank_by.points)


def _name_of(board: Board) -> dict[str, Any]:
    return {field.name: getattr(board, field.name) for field in fields(BoardName)}


def _is_acted_upon(leaderboard: Leaderboard, program: Program) -> bool:
    rank_by = leaderboard.rank_by
    return (
        leaderboard.period == "all"
        and leaderboard.aggregate == "sum"
        and not leaderboard.segment_by
        and not leaderboard.where.user
        and (
            rank_by.points is not None
            or (rank_by.metric is not None and program.metrics[rank_by.metric].aggregate == "sum")
        )
    )


def _leaderboard_getter(name: str) -> Callable[[Program], object]:
    """Look at what makes the scores: what it is called and how much is listed changes no board."""

    def get(program: Program) -> object:
        leaderboard = program.leaderboards.get(name)
        return leaderboard and leaderboard.model_copy(update={"name": None, "size": None})

    return get


def _trigger_getter(points: str, name: str) -> Callable[[Program], object]:
    def get(program: Program) -> object:
        system = program.points.get(points)
        return system and system.triggers.get(name)

    return get


def _since(history: Sequence[ProgramVersion], get: Callable[[Program], object]) -> int:
    """Return the version from which on a part of the program has been as it is in the latest."""
    wanted = get(history[-1].program)
    since = history[-1].version
    for earlier in reversed(history):
        if get(earlier.program) != wanted:
            break
        since = earlier.version
    return since
