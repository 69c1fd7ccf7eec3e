"""Questions about streaks: how long chains get, and what holds or ends them."""

from __future__ import annotations

from models.warehouse.queries.question import DAYS_SHOWN, STREAK_DAYS, Question

STREAK_LENGTHS = Question(
    name="streak_lengths",
    title="Streak lengths and survival",
    definition="Chains that have ended, by their length in active periods (chains), and how many"
    " of them reached at least that length (reached); survival is that divided by all of them"
    f" (ended). Only chains whose last active period lies within the last {STREAK_DAYS} days."
    " Chains that still run are not counted.",
    columns=("streak", "length", "chains", "reached", "ended"),
    shares={"survival": ("reached", "ended")},
    query="""
with lengths as (
    select streak, length, sum(chain_lengths.chains) as chains
    from chain_lengths
    where ended_on between {from_chain:Date32} and {until:Date32}
    group by streak, length
    having chains != 0
)
select
    streak,
    length,
    chains,
    sum(chains) over (partition by streak order by length desc) as reached,
    sum(chains) over (partition by streak) as ended
from lengths
order by streak, length
""",
)

FREEZES = Question(
    name="freezes",
    title="Freezes used and streaks lost",
    definition="Missed periods that a freeze held (freezes used) and chains that ended because"
    " nothing held them (streaks lost), by the date (UTC) on which the period closed, grace"
    " included. What a late event has put right is not in it. Resets by an operator are not losses."
    f" The last {DAYS_SHOWN} days.",
    columns=("date", "streak", "freezes_used", "streaks_lost"),
    query="""
select
    day as date,
    streak,
    sumIf(notice_days.notices, kind = 'freeze-used') as freezes_used,
    sumIf(notice_days.notices, kind = 'streak-lost') as streaks_lost
from notice_days
where day between {from_day:Date32} and {until:Date32} and kind in ('freeze-used', 'streak-lost')
group by date, streak
having freezes_used != 0 or streaks_lost != 0
order by date, streak
""",
)
