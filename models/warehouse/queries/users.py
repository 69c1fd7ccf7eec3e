"""Questions about users: who is active, who stays, and what the control group does.

Sets of users are bitmaps of their numbers, one a local day, so that "who was active in these thirty
days" is the union of thirty bitmaps and not a look at events.
"""

from __future__ import annotations

from models.warehouse.queries.question import (
    DAYS_SHOWN,
    MONTH_DAYS,
    WEEK_DAYS,
    WEEKS_SHOWN,
    Question,
    ever,
    week_of,
)

_BEFORE = -1
"""Stands for all time before the first week that is shown."""


def _union(days: int) -> str:
    """Return how many users were active in so many days up to each: what a window would say.

    A window is added up anew for each day. Added up from the beginning and from the end of blocks
    of so many days, any of their unions is that of an end and of a beginning.
    """
    return (
        f"bitmapOrCardinality(beginnings_{days}, lagInFrame(ends_{days}, {days - 1})"
        f" over (order by local_date rows between {days - 1} preceding and current row))"
    )


def _blocks(days: int) -> str:
    block = f"partition by intDiv(toInt32(local_date), {days}) order by local_date"
    return (
        f"groupBitmapMergeState(users) over ({block}) as beginnings_{days},"
        f" groupBitmapMergeState(users) over ({block} desc) as ends_{days}"
    )


_WEEKS = f"""
seen as (
    select
        if(local_date < {{from_week:Date32}}, {_BEFORE}, {week_of("local_date")}) as week,
        groupBitmapMergeState(some.users) as users
    from {ever("from_week_month", "after_weeks")} as some
    group by week
),
weeks as (select week, users from seen where week != {_BEFORE}),
numbered as (
    select
        week,
        bitmapAndnot(
            seen.users,
            groupBitmapMergeState(seen.users)
                over (order by week rows between unbounded preceding and 1 preceding)
        ) as new
    from seen
),
cohorts as (
    select week, new as users from numbered where week != {_BEFORE} and bitmapCardinality(new) != 0
)"""
"""Who was active in each week, and who was for the first time."""
_CONTROL = """
(select groupBitmapState(number) from users where bucket < {control_buckets:UInt16}) as control"""


def _groups(users: str, active: str) -> str:
    """Return how many users of two bitmaps each group has; who is not in one is in the other."""
    return f"""[
        (
            'control',
            bitmapAndCardinality({users}, control),
            bitmapAndCardinality({active}, control)
        ),
        (
            'emails',
            bitmapAndnotCardinality({users}, control),
            bitmapAndnotCardinality({active}, control)
        )
    ]"""


ACTIVE_USERS = Question(
    name="active_users",
    title="Active users",
    definition="Users with at least one event on the local date (day), in the 7 days up to and with"
    " it (week), and in the 30 days up to and with it (month). Stickiness is day divided by month:"
    f" the share of a month's users who come on a day. The last {DAYS_SHOWN} days; the last one may"
    " not be over.",
    columns=("date", "day", "week", "month"),
    shares={"stickiness": ("day", "month")},
    query=f"""
with days as (
    select local_date, groupBitmapMergeState(users) as users
    from active_users
    where local_date between {{from_month:Date32}} and {{until:Date32}}
    group by local_date
    order by local_date with fill from {{from_month:Date32}} to {{until:Date32}} + 1
),
blocks as (select local_date, users, {_blocks(WEEK_DAYS)}, {_blocks(MONTH_DAYS)} from days),
counted as (
    select
        local_date,
        bitmapCardinality(users) as day,
        {_union(WEEK_DAYS)} as week,
        {_union(MONTH_DAYS)} as month
    from blocks
)
select local_date as date, day, week, month
from counted
where local_date >= {{from_day:Date32}}
order by date
""",
)

RETENTION = Question(
    name="retention",
    title="Retention",
    definition="Of the users whose first event fell into a week (a cohort), the share that had an"
    " event in the week so many weeks later. Weeks of local dates, beginning on the program's first"
    f" day of the week; the last {WEEKS_SHOWN} that are over.",
    columns=("cohort", "weeks_after", "users", "active"),
    shares={"share": ("active", "users")},
    query=f"""
with {_WEEKS},
pairs as (
    select week, users, toInt32(number) as later
    from cohorts cross join numbers({{weeks:UInt16}}) as shown
    where later >= week
)
select
    {{from_week:Date32}} + {WEEK_DAYS} * pairs.week as cohort,
    later - pairs.week as weeks_after,
    bitmapCardinality(pairs.users) as users,
    bitmapAndCardinality(pairs.users, weeks.users) as active
from pairs left join weeks on weeks.week = later
order by cohort, weeks_after
""",
)

CONTROL_DAYS = Question(
    name="control_days",
    title="Control group: active users",
    definition="Of the users who had had their first event by the end of a local date, the share"
    " that had one on it: among those who get emails, and in the control group, which gets none."
    " Who is in which group is drawn by user id. A small control group gives a rough measure. The"
    " last date may not be over.",
    columns=("date", "group", "users", "active"),
    shares={"share": ("active", "users")},
    query=f"""
with {_CONTROL},
seen as (
    select
        greatest(local_date, {{from_day:Date32}} - 1) as local_date,
        groupBitmapMergeState(some.users) as users
    from {ever("from_day_month", "after_until")} as some
    group by local_date
    order by local_date with fill from {{from_day:Date32}} - 1 to {{after_until:Date32}}
),
known as (
    select
        seen.local_date as local_date,
        seen.users as users,
        groupBitmapMergeState(seen.users) over (order by local_date) as ever
    from seen
)
select known.local_date as date, of_group.1 as group, of_group.2 as users, of_group.3 as active
from known array join {_groups("known.ever", "known.users")} as of_group
where date >= {{from_day:Date32}} and users != 0
order by date, group
""",
)

CONTROL_RETENTION = Question(
    name="control_retention",
    title="Control group: retention",
    definition="Of the users of a group, the share that had an event in the week so many weeks"
    " after the one of their first event: all cohorts of the retention above together, as far as"
    " that week is over.",
    columns=("weeks_after", "group", "users", "active"),
    shares={"share": ("active", "users")},
    query=f"""
with {_WEEKS}, {_CONTROL},
members as (
    select
        week,
        bitmapAnd(cohorts.users, control) as control_users,
        bitmapAndnot(cohorts.users, control) as email_users,
        bitmapCardinality(control_users) as control_size,
        bitmapCardinality(email_users) as email_size
    from cohorts
),
pairs as (
    select members.*, toInt32(number) as later
    from members cross join numbers({{weeks:UInt16}}) as shown
    where later > week
),
summed as (
    select
        later - pairs.week as weeks_after,
        [
            (
                'control',
                sum(control_size),
                sum(bitmapAndCardinality(control_users, weeks.users))
            ),
            (
                'emails',
                sum(email_size),
                sum(bitmapAndCardinality(email_users, weeks.users))
            )
        ] as of_groups
    from pairs left join weeks on weeks.week = later
    group by weeks_after
)
select weeks_after, of_group.1 as group, of_group.2 as users, of_group.3 as active
from summed array join of_groups as of_group
where users != 0
order by weeks_after, group
""",
)
