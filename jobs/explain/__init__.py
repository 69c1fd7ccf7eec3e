"""Derive what a user has from the facts, step by step (S37).

The user is folded anew, and every step that bears on the question is told: the events of a
metric, the periods of a streak, the entries of a ledger, what completed an achievement, the values
that made a score and who is ranked before it. What operators did stands among the steps, with who
and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from jobs.explain.case import open_case
from jobs.explain.derivations import DERIVATIONS
from jobs.explain.ranks import derive_score, derive_standings
from models.rulebooks import Rulebooks
from models.rules.rulebook import Rules
from models.rules.timelines import EVER
from streakline.contract import nearest

SECTIONS = (*DERIVATIONS, "leaderboard")


class Unexplained(LookupError):
    """There is nothing of that name to explain; the message says what there is."""


def explain(
    engine: Engine, user_id: str, what: str, now: datetime, as_of: datetime | None = None
) -> dict[str, Any] | None:
    """Return the derivation of `what`, or None for a user never seen. Raises Unexplained.

    `what` is `points.xp`, `streak.daily`, `metric.lessons`, `achievement.scholar`, or
    `leaderboard.weekly`, of one run with a `/` and its name; the section may be left out where the
    name is in one alone. `as_of` an instant in the past a score has no rank: what others had then
    is not kept. `since` is where the steps begin, where that is not the beginning. Raises
    LedgerClosed for an instant before it.
    """
    with engine.connect() as connection:
        rules = Rulebooks().current(connection)
        section, name, run = _read(rules, what)
        case = open_case(connection, rules, user_id, as_of or now)
        if case is None:
            return None
        if section != "leaderboard":
            derived = DERIVATIONS[section](case, name)
        else:
            rule = next(one for one in rules.latest.boards if one.name == name)
            derived = derive_score(case, rule, run)
            if as_of is None:
                derived |= derive_standings(connection, case, rule, derived["run"])
    since = {} if case.since == EVER else {"since": case.since}
    what = f"{section}.{name}"
    return {"user_id": user_id, "what": what, "as_of": case.now, **since, **derived}


def _read(rules: Rules, what: str) -> tuple[str, str, str | None]:
    """Find what is asked for. Raises Unexplained."""
    path, _, run = what.partition("/")
    section, _, name = path.rpartition(".")
    section = {"metrics": "metric", "streaks": "streak"}.get(section, section.rstrip("s"))
    section = "points" if section == "point" else section
    names = _names(rules)
    wanted = [section] if section else list(SECTIONS)
    found = [one for one in wanted if name in names.get(one, ())]
    if len(found) == 1:
        return found[0], name, run or None
    if found:
        choices = " or ".join(f"{one}.{name}" for one in found)
        raise Unexplained(f"{name!r} is several things; say {choices}")
    known = [f"{one}.{other}" for one in SECTIONS for other in names[one]]
    raise Unexplained(f"there is no {what!r}{nearest(what, known)}; there are: {', '.join(known)}")


def _names(rules: Rules) -> Mapping[str, list[str]]:
    latest = rules.latest
    return {
        "metric": list(latest.metrics),
        "streak": list(latest.streaks),
        "points": list(latest.points),
        "achievement": list(dict.fromkeys(rule.key for rule in latest.achievements)),
        "leaderboard": [rule.name for rule in latest.boards],
    }
