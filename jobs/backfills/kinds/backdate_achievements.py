"""Give achievements to those who meet them already: who lacks one is folded anew (S36).

A new version of a program does so by itself, in time; this is for doing it now, watched, and for
rehearsing it: a dry run tells who would have which. It is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from jobs.backfills.kind import Chunk, Context, NotPossible, Work, only
from jobs.backfills.kinds.recompute_users import ROWS_MAX, fold_anew
from models.statements import users as statements
from models.statements.backfills import Backfill


class BackdateAchievements:
    """`{"achievements": ["scholar"]}`, or `{}` for all of the program in force."""

    name = "backdate-achievements"
    unit = "users"
    rows_max = ROWS_MAX

    def read(self, context: Context, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check that the program has them."""
        only(parameters, "achievements")
        with context.engine.connect() as connection:
            known = sorted(context.rulebooks.program(connection).achievements)
        wanted = sorted(set(parameters.get("achievements") or known))
        unknown = [key for key in wanted if key not in known]
        if unknown or not wanted:
            named = f"no achievement {unknown[0]!r}" if unknown else "no achievement"
            raise NotPossible(f"there is {named}; there are {', '.join(known) or 'none'}")
        return {"achievements": wanted}

    def count(self, context: Context, parameters: Mapping[str, Any]) -> int:
        """Count who does not have one of them."""
        with context.engine.connect() as connection:
            return statements.count_lacking(connection, parameters["achievements"])

    def run(self, work: Work) -> Chunk:
        """Fold the next of them anew."""
        user_ids = statements.read_next_lacking(
            work.connection,
            work.parameters["achievements"],
            work.cursor.get("after", ""),
            work.rows_max,
        )
        return fold_anew(work, user_ids)

    def forget(self, _connection: Connection, _backfill: Backfill) -> None:
        """It holds nothing."""
