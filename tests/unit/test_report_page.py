"""The page of the report: one file, nothing in it that an app's names could break out of."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from plotly import graph_objects  # type: ignore[import-untyped] # has no types

from models.warehouse.queries import QUESTIONS
from worker.reporting.answers import read_answers
from worker.reporting.charts import REST, SERIES_MAX, Chart, draw_charts
from worker.reporting.page import render_page
from worker.reporting.summary import summarize

NASTY = "</script><script>alert(1)</script>\"'&<b>\u2028"
ROWS: dict[str, list[list[Any]]] = {
    "totals": [[1200, 34567, "2026-01-02", "2026-11-22", 40, 123, 5, 7, 90]],
    "active_users": [
        ["2026-11-21", 0, 0, 0, None],
        ["2026-11-22", 300, 600, 900, "0.3333"],
    ],
    "retention": [
        [f"2026-10-{day:02}", after, 10, 10 if after == 0 else 4, "1" if after == 0 else "0.4"]
        for day in (5, 12, 19, 26)
        for after in (0, 1)
    ],
    "streak_lengths": [
        ["daily", 1, 6, 10, 10, "1"],
        ["daily", 4, 4, 4, 10, "0.4"],
        [NASTY, 40, 1, 1, 1, "1"],
    ],
    "freezes": [["2026-11-22", NASTY, 1, 2]],
    "points": [
        ["2026-11-22", "xp", f"trigger-{number:02}", number + 1, f"{(number + 1) * 10}"]
        for number in range(SERIES_MAX + 3)
    ],
    "achievements": [[NASTY, 4, 1200, "0.0033"]],
    "metrics": [
        ["2026-11-22", NASTY, 3, "4.5"],
        ["2026-11-22", "lessons", 2, "2"],
    ],
    "control_days": [
        ["2026-11-22", "control", 50, 5, "0.1"],
        ["2026-11-22", "emails", 1000, 200, "0.2"],
    ],
    "control_retention": [[1, "control", 50, 5, "0.1"], [1, "emails", 1000, 200, "0.2"]],
}


@pytest.fixture
def report() -> dict[str, Any]:
    return {
        "until": "2026-11-22",
        "questions": [
            {
                "name": one.name,
                "title": one.title,
                "definition": one.definition,
                "columns": [*one.columns, *one.shares],
                "rows": ROWS[one.name],
            }
            for one in QUESTIONS
        ],
    }


def charts(report: dict[str, Any], name: str) -> list[Chart]:
    return draw_charts(read_answers(report)[name])


def test_nothing_that_an_app_has_named_is_markup(report: dict[str, Any]) -> None:
    page = render_page(report, app_name=NASTY)
    assert page.count("<script") == page.count("</script>") == 3, "figures, plotly.js, our own"
    assert "alert(1)</script>" not in page
    assert "<b>" not in page.partition("<script>")[0]
    found = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    figures = json.loads(found[1])
    assert figures["achievements-0"]["data"][0]["y"] == [NASTY]


def test_it_loads_nothing_and_is_kept_from_it(report: dict[str, Any]) -> None:
    page = render_page(report, app_name="Page")
    ours = page.replace(page[page.index("<script>") : page.rindex("<script>")], "")
    assert not re.search(r"(src|href)=\"(?!#)|@import|url\(|https?:", ours)
    assert "default-src 'none'" in page


def test_every_figure_stands_with_its_title_definition_and_table(report: dict[str, Any]) -> None:
    page = unescape(render_page(report, app_name="Page"))
    for question in QUESTIONS:
        assert f'<section id="{question.name}">' in page
        assert question.title in page
        assert question.definition in page
    assert page.count("<details>") == len(QUESTIONS)
    assert '<td class="number">33.3 %</td>' in page
    assert "22 November 2026" in page


def test_every_chart_is_one_that_plotly_knows(report: dict[str, Any]) -> None:
    drawn = [chart for answer in read_answers(report).values() for chart in draw_charts(answer)]
    assert len(drawn) == 13
    for chart in drawn:
        graph_objects.Figure(chart.figure)  # raises for a property that does not exist


def test_series_over_the_limit_are_one_and_nothing_is_lost(report: dict[str, Any]) -> None:
    [chart] = charts(report, "points")
    assert len(chart.data) == SERIES_MAX
    assert chart.data[-1]["name"] == REST
    total = sum(value for one in chart.data for value in one["y"])
    assert total == sum(float(row[-1]) for row in ROWS["points"])


def test_values_are_drawn_where_they_say_more_than_events(report: dict[str, Any]) -> None:
    assert [chart.data[0]["name"] for chart in charts(report, "metrics")[1:]] == [NASTY]


def test_the_figures_on_top(report: dict[str, Any]) -> None:
    tiles = {tile.label: tile.value for tile in summarize(read_answers(report))}
    assert tiles == {
        "Users": "1,200",
        "Events": "34,567",
        "Active on the day": "300",
        "Active in 7 days": "600",
        "Active in 30 days": "900",
        "Stickiness": "33.3 %",
        "Back 1 week later": "40.0 %",
        "Longest ended chain": "123 periods",
        "Freezes used": "5",
        "Achievements": "90",
        "Survival, daily": "1 period",
        f"Survival, {NASTY}": "40 periods",
    }


def test_a_report_of_nothing_says_what_to_do() -> None:
    page = render_page({"until": None, "questions": []}, app_name="Page")
    assert "streakline status" in page
    assert "<script" not in page


def test_answers_without_rows_have_no_chart(report: dict[str, Any]) -> None:
    for question in report["questions"]:
        question["rows"] = []
    page = render_page(report, app_name="Page")
    assert page.count("Nothing to show") == len(QUESTIONS)
    assert "data-figure" not in page
