"""The figures on top of the page, each taken from an answer below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.reporting.answers import Answer, Row, pooled

WEEKS_LATER = (1, 4)
HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A figure, what it is called, and a note that says of what it is."""

    label: str
    value: str
    note: str = ""


def summarize(answers: Mapping[str, Answer]) -> list[Tile]:
    """Return the most telling figures; those that there is nothing to say of are left out."""
    return [
        *_everything(answers["totals"].rows),
        *_active(answers["active_users"].rows),
        *_kept(answers["retention"].rows),
        *_streaks(answers["totals"].rows),
        *_survival(answers["streak_lengths"].rows),
    ]


def _everything(rows: list[Row]) -> Iterator[Tile]:
    for row in rows:
        since = f"from {row['first_day']} to {row['last_day']}"
        yield Tile(label="Users", value=f"{row['users']:,}", note="who had an event")
        yield Tile(label="Events", value=f"{row['events']:,}", note=since)


def _active(rows: list[Row]) -> Iterator[Tile]:
    for row in rows[-1:]:
        yield Tile(label="Active on the day", value=f"{row['day']:,}", note=f"on {row['date']}")
        yield Tile(label="Active in 7 days", value=f"{row['week']:,}", note=f"up to {row['date']}")
        yield Tile(
            label="Active in 30 days", value=f"{row['month']:,}", note=f"up to {row['date']}"
        )
        if row["stickiness"] is not None:
            value = percent(float(row["stickiness"]))
            yield Tile(label="Stickiness", value=value, note="day divided by month")


def _kept(rows: list[Row]) -> Iterator[Tile]:
    curve = pooled(rows)
    for after in WEEKS_LATER:
        if after in curve:
            weeks = "1 week" if after == 1 else f"{after} weeks"
            note = "of the cohorts below"
            yield Tile(label=f"Back {weeks} later", value=percent(curve[after]), note=note)


def _streaks(rows: list[Row]) -> Iterator[Tile]:
    for row in rows:
        if row["chains_ended"]:
            longest = f"{row['longest_chain']:,} periods"
            yield Tile(label="Longest ended chain", value=longest, note="of all streaks")
        yield Tile(
            label="Freezes used",
            value=f"{row['freezes_used']:,}",
            note=f"streaks lost: {row['streaks_lost']:,}",
        )
        yield Tile(
            label="Achievements",
            value=f"{row['achievements']:,}",
            note="completed",
        )


def _survival(rows: list[Row]) -> Iterator[Tile]:
    """Yield, for each streak, the longest length that at least half of its chains reached."""
    halves: dict[str, int] = {}
    for row in rows:
        if float(row["survival"]) >= HALF:
            halves[row["streak"]] = max(halves.get(row["streak"], 0), row["length"])
    for streak, length in halves.items():
        periods = "1 period" if length == 1 else f"{length:,} periods"
        yield Tile(
            label=f"Survival, {streak}", value=periods, note="reached by half of the ended chains"
        )


def percent(share: float) -> str:
    """Return a share for people.

    >>> percent(0.1234)
    '12.3 %'
    """
    return f"{share * 100:.1f} %"
