"""Dates in parts, and put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density.table import Columns, Frame, arrays, survey
from invflow.density.table.calendar import SEASONS, Part, joined

COUNT = 400
YEARLY = ("year", "season", "week of season", "weekday")
SOURCE = np.random.default_rng(0)


def look(start: str, freq: str, periods: int = 100_000, **options: Any) -> tuple[Any, Columns]:
    times = pd.Series(pd.date_range(start, periods=periods, freq=freq))
    chosen = times.sample(COUNT, random_state=0, replace=periods < COUNT).reset_index(drop=True)
    table = pd.DataFrame({"t": chosen, "x": SOURCE.normal(size=COUNT)})
    table.loc[3, "t"] = pd.NaT
    return table, survey(Frame(table), missing="marginalise", **options)


@pytest.mark.parametrize(
    ("start", "freq", "periods", "parts"),
    [
        ("1960-02-03", "D", 5000, ["year", "season", "week of season", "weekday"]),
        ("1999-02-03 12:00", "D", 5000, ["year", "season", "week of season", "weekday"]),
        ("2024-01-01", "D", 700, ["week", "weekday"]),
        ("2024-01-01", "B", 500, ["week", "weekday"]),
        ("2020-01-01 00:30", "6h", 5000, ["year", "season", "week of season", "weekday", "hour"]),
        ("2024-01-01 00:30", "h", 5000, ["week", "weekday", "hour"]),
        ("2024-01-01 00:02:30", "5min", 50_000, ["week", "weekday", "hour", "time"]),
        ("2024-01-01 03:00", "6h", 900, ["week", "weekday", "hour"]),
        ("2024-01-01", "s", 900_000, ["day", "hour", "time"]),
        ("2024-01-01 01:00", "15min", 900, ["day", "hour", "time"]),
        ("2024-01-01", "D", 15, []),
        ("2024-01-01", "7D", 500, []),
        ("2024-01-01", "13min", 50_000, []),
        ("2024-01-01", "13ms", 50_000, []),
        ("1950-01-01", "YS", 50, []),
        ("1950-01-31", "ME", 200, []),
    ],
)
def test_parts_that_say_something(start: str, freq: str, periods: int, parts: list[str]) -> None:
    table, columns = look(start, freq, periods)
    found = [column.part.name for column in columns.features if column.part is not None]
    assert found == parts
    codes = arrays.features(table, columns)
    assert np.isnan(codes[3, : max(len(parts), 1)]).all()
    pd.testing.assert_frame_equal(arrays.frame(codes, table, columns), table)
    assert Columns.from_dict(columns.to_dict()) == columns


def test_years_and_weeks_are_those_of_the_calendar() -> None:
    days = pd.Series(pd.date_range("1938-12-20", "2042-01-20"))
    calendar = days.dt.isocalendar()
    ticks = days.astype("datetime64[s]").astype("int64").to_numpy().astype(float)
    parts = {name: Part("t", name, 86_400.0, 0.0, "s").numbers(ticks) for name in YEARLY}
    np.testing.assert_array_equal(parts["year"], calendar["year"])
    week = 4 * parts["season"] + parts["week of season"]
    np.testing.assert_array_equal(week + 1, calendar["week"])
    assert set(parts["season"]) == set(range(SEASONS))
    np.testing.assert_array_equal(joined(parts, Part("t", "year", 86_400.0, 0.0, "s")), ticks)


def test_days_of_the_week_have_their_names() -> None:
    table, columns = look("2024-01-01", "B", 500)
    weekday = columns.features[1]
    assert (weekday.name, weekday.of) == ("t (weekday)", "t")
    assert weekday.categories == ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    codes = arrays.features(table, columns)[:, 1]
    there = ~np.isnan(codes)
    named = np.array(weekday.categories)[codes[there].astype(int)]
    np.testing.assert_array_equal(named, table["t"].dropna().dt.day_name())
    sunday = pd.DataFrame({"t": pd.to_datetime(["2024-01-07"]), "x": [0.5]})
    assert arrays.features(sunday, columns)[0, 1] == 5


def test_a_date_declared_is_not_split() -> None:
    _, columns = look("2024-01-01", "D", 500, kinds={"t": "date"})
    assert [column.kind for column in columns.features] == ["date", "continuous"]
    with pytest.raises(ValueError, match=r"column 'a' is declared date but .*--dates 'a=FORMAT'"):
        survey(Frame(pd.DataFrame({"a": [1, 2]})), {"a": "date"})


@pytest.mark.parametrize(
    ("minutes", "last", "parts"),
    [(60, 23, ["hour"]), (10, 143, ["hour", "time"]), (7, 200, []), (60, 12, []), (60, 40, [])],
)
def test_times_of_the_day(minutes: int, last: int, parts: list[str]) -> None:
    steps = np.concatenate([[0, last], SOURCE.integers(0, last + 1, COUNT - 2)])
    times = pd.Series(pd.to_timedelta(steps * minutes, "min"))
    table = pd.DataFrame({"t": times, "x": SOURCE.normal(size=COUNT)})
    columns = survey(Frame(table))
    found = [column.part.name for column in columns.features if column.part is not None]
    assert found == parts
    if not parts:
        # Durations begin with zero.
        assert columns.features[0].low == 0
        assert columns.features[0].beyond > 0
    back = arrays.frame(arrays.features(table, columns), table, columns)
    pd.testing.assert_frame_equal(back, table)
