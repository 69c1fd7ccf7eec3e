"""The kinds of backfills, by name: each a small module, all run by the one engine."""

from __future__ import annotations

from jobs.backfills.kind import Kind
from jobs.backfills.kinds.backdate_achievements import BackdateAchievements
from jobs.backfills.kinds.import_events import ImportEvents
from jobs.backfills.kinds.rebuild_rankings import RebuildRankings
from jobs.backfills.kinds.recompute_users import RecomputeUsers
from jobs.backfills.kinds.reload_warehouse import ReloadWarehouse
from jobs.backfills.kinds.replay_dead import ReplayDead
from jobs.backfills.kinds.replay_rejected import ReplayRejected

_ALL: tuple[Kind, ...] = (
    ImportEvents(),
    RecomputeUsers(),
    BackdateAchievements(),
    RebuildRankings(),
    ReloadWarehouse(),
    ReplayRejected(),
    ReplayDead(),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
