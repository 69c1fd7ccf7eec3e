"""A user's score in a run of a leaderboard, and how the rank comes about (S44)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from jobs.explain.case import Case, Step, order_steps
from jobs.explain.derivations import DERIVATIONS
from models.rules.boards import BoardRule, score_of
from models.rules.effects import ScoreKey
from models.rules.rankings import ALL, Place, Score, place
from models.rules.segments import read_segment
from models.scores import read_board
from models.statements import standings as statements
from models.statements.ledger import FactKind

AHEAD = 3
"""Neighbours that are named: those whom the user has to overtake next."""


def derive_score(case: Case, rule: BoardRule, run: str | None) -> dict[str, Any]:
    """Return how a score came about, of the latest run that the user has one in without `run`."""
    orders = order_steps(case, FactKind.SUSPENSION)
    about = {*rule.segment_by, *rule.where_user}
    orders += [
        one for one in order_steps(case, FactKind.TOLD) if about & one.get("attributes", {}).keys()
    ]
    if rule.follows_totals:
        derived = DERIVATIONS[rule.kind.value](case, rule.subject)
        steps = [*derived["steps"], *orders]
        return {"run": ALL, **_board(rule), **derived, "steps": _sorted(steps)}
    assert case.effects.scored is not None
    scored = [one for one in case.effects.scored if one.board == rule.id]
    runs = list(dict.fromkeys(one.run for one in scored))
    wanted = run or (runs[-1] if runs else None)
    of_run = [one for one in scored if one.run == wanted]
    steps = [
        {"occurred_at": one.occurred_at, "value": one.value, "score": one.score} for one in of_run
    ]
    return {
        "run": wanted,
        "runs": runs,
        **_board(rule),
        "value": of_run[-1].score if of_run else None,
        "steps": _sorted([*steps, *orders]),
    }


def derive_standings(
    connection: Connection, case: Case, rule: BoardRule, run: str | None
) -> dict[str, Any]:
    """Return how the user's rank comes about on each board of a run: who is before, and why.

    Of a run that is final the record says so, of another one the scores in Postgres.
    """
    score = _score(case, rule, run) if run is not None else None
    if run is None or score is None:
        return {"final": False, "standings": []}
    final = statements.find_final(connection, (rule.name, rule.since, run))
    if final is not None:
        found: Mapping[str, Place] = statements.find_places(
            connection, final.run_id, case.user_id, AHEAD
        )
    else:
        found = _find_places(connection, case, rule, run, score)
    return {
        "final": final is not None,
        "standings": [_shape(segment, one) for segment, one in found.items()],
    }


def _find_places(
    connection: Connection, case: Case, rule: BoardRule, run: str, score: Score
) -> Mapping[str, Place]:
    return {
        segment: place(
            case.user_id,
            score,
            read_board(connection, case.rules, rule, rule.board(run, segment)),
            ascending=rule.ascending,
            neighbours=AHEAD,
        )
        for segment in rule.segments(case.state.told.now(), case.state.suspended)
    }


def _score(case: Case, rule: BoardRule, run: str) -> Score | None:
    if run == ALL:
        return score_of(rule, case.state, ALL)
    decided = case.effects.scores.get(ScoreKey(rule.id, run))
    return Score(decided.score.score, decided.score.reached_at) if decided else None


def _shape(segment: str, found: Place) -> dict[str, Any]:
    return {
        "segment": read_segment(segment),
        "rank": found.own.rank,
        "score": found.own.score,
        "reached_at": found.own.reached_at,
        "participants": found.participants,
        "better": found.better,
        "earlier": found.earlier,
        "ahead": [asdict(one) for one in found.ahead],
    }


def _board(rule: BoardRule) -> dict[str, Any]:
    return {
        "ranked_by": f"{rule.kind.value}.{rule.subject}",
        "aggregate": rule.aggregate.value,
        "order": "asc" if rule.ascending else "desc",
    }


def _sorted(steps: list[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: step.get("occurred_at") or step["given_at"])
