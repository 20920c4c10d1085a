"""Dates in parts: year, season, week, day of the week, hour and time within the hour.

A number alone does not show that Sundays are like Sundays, nor that Decembers are. The parts do,
and together they are the date: the probability of a date is that of its parts. Years are those of
ISO 8601, which have whole weeks; their seasons are of four weeks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from invflow.density.table.dates import TICKS
from invflow.density.table.grids import Grid
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats

DAY, HOUR = 86_400, 3_600
#: 1 January 1970 was a Thursday, and weeks begin on Monday.
THURSDAY = 3
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: The shortest span of time, in seconds, in which the hour, the weekday and the season recur.
SHORTEST = {"hour": 3 * DAY, "weekday": 28 * DAY, "season": 731 * DAY}
#: Weeks of a season, and the seasons of a year of 53 weeks.
SEASON, SEASONS = 4, 14
#: Durations within a day that reach this far apart, in seconds, are times of the day.
TIMES_OF_DAY = 20 * HOUR
#: The last days of months are 28 to 31.
MONTH_ENDS = 4
PARTS = ("year", "season", "week of season", "week", "weekday", "day", "hour", "time")


@dataclass(frozen=True)
class Part:
    """A part of a column of dates.

    Attributes:
        of: the column of the table.
        name: one of `PARTS`: the year, the season in it from zero, the week in this from zero, the
            week since 1970, the day of the week from Monday on, the day since 1970, the hour of the
            day, or the step within the hour.
        step: of the dates, in ticks.
        origin: of the dates, in ticks.
        unit: of the ticks.
    """

    of: Label
    name: str
    step: float
    origin: float
    unit: str

    def numbers(self, ticks: Floats) -> Floats:
        """Return the part of times; also their "monthday", the day of the month from zero.

        Example:
            >>> ticks = np.array([86_400.0 * 4 + 3_600 * 5 + 600])
            >>> parts = {name: Part("a", name, 600.0, 0.0, "s") for name in PARTS}
            >>> [int(parts[name].numbers(ticks)[0]) for name in PARTS]
            [1970, 0, 1, 1, 0, 4, 5, 1]
        """
        hour, day = HOUR * TICKS[self.unit], DAY * TICKS[self.unit]
        days = np.floor(ticks / day)
        match self.name:
            case "year":
                return _year_and_week(days)[0]
            case "season":
                return np.floor(_year_and_week(days)[1] / SEASON)
            case "week of season":
                return _year_and_week(days)[1] % SEASON
            case "day":
                return days
            case "week":
                return np.floor((days + THURSDAY) / 7)
            case "weekday":
                return (days + THURSDAY) % 7
            case "monthday":
                dates = days.astype("datetime64[D]")
                return (dates - dates.astype("datetime64[M]")).astype(np.float64)
            case "hour":
                return np.floor((ticks - day * days) / hour)
            case _:
                return np.floor((ticks % hour) / self.step)


def joined(parts: Mapping[str, Floats], part: Part) -> Floats:
    """Return the times with these parts, in ticks: the inverse of `Part.numbers`.

    Args:
        parts: numbers by name of the part.
        part: any of them.
    """
    scale = TICKS[part.unit]
    lengths = {"day": DAY * scale, "hour": HOUR * scale, "time": part.step}
    ticks = np.zeros(1)
    for name in parts.keys() & lengths.keys():
        ticks = ticks + parts[name] * lengths[name]
    if "week" in parts:
        ticks = ticks + (7 * parts["week"] + parts["weekday"] - THURSDAY) * DAY * scale
    if "year" in parts:
        weeks = SEASON * parts["season"] + parts["week of season"]
        days = _first_monday(parts["year"]) + 7 * weeks + parts["weekday"]
        ticks = ticks + days * DAY * scale
    rest = part.origin % ((HOUR if "hour" in parts else DAY) * scale)
    return ticks + rest % part.step


def parts(
    grid: Grid, unit: str, ends: tuple[float, float], seen: Mapping[str, Collection[int]]
) -> list[str]:
    """Return the names of the parts that say more than the number alone; none if none does.

    Args:
        grid: of the dates.
        unit: of its ticks.
        ends: the first and the last, in ticks.
        seen: the values of "hour", "weekday", "monthday" and "season" that occur.
    """
    scale, span = TICKS[unit], ends[1] - ends[0]
    daily = _recurs(grid, unit, "hour") and span >= SHORTEST["hour"] * scale
    # The days of the week of months' ends are chance.
    weekly = _recurs(grid, unit, "weekday") and len(seen["monthday"]) > MONTH_ENDS
    weekly = weekly and span >= SHORTEST["weekday"] * scale and len(seen["weekday"]) > 1
    daily = daily and len(seen["hour"]) > 1
    if not daily and (not weekly or grid.step < DAY * scale):
        return []
    yearly = weekly and span >= SHORTEST["season"] * scale and len(seen["season"]) > 1
    weeks = ["year", "season", "week of season"] if yearly else ["week"]
    found = [*weeks, "weekday"] if weekly else ["day"]
    return [*found, *(hours(grid, unit) if daily else [])]


def hours(grid: Grid, unit: str) -> list[str]:
    """Return the names of the parts of the time of day."""
    return ["hour", *(["time"] if grid.step < HOUR * TICKS[unit] else [])]


def are_times_of_day(grid: Grid, unit: str, ends: tuple[float, float]) -> bool:
    """Whether durations, the shortest and the longest of which are given, are times of the day."""
    scale, span = TICKS[unit], ends[1] - ends[0]
    within = ends[0] >= 0 and ends[1] < DAY * scale and span >= TIMES_OF_DAY * scale
    return within and _recurs(grid, unit, "hour")


def _recurs(grid: Grid, unit: str, name: str) -> bool:
    """Whether the steps of dates fit into days, and for the "hour" are shorter."""
    hour, day = HOUR * TICKS[unit], DAY * TICKS[unit]
    whole = day % grid.step == 0 and (grid.step >= hour or hour % grid.step == 0)
    return whole and (name != "hour" or grid.step < day)


def _first_monday(years: Floats) -> Floats:
    """Return the Mondays of the first weeks of years, those with 4 January, as days since 1970."""
    known = ~np.isnan(years)
    months = ((np.where(known, years, 1970) - 1970) * 12).astype(np.int64).astype("datetime64[M]")
    fourth = months.astype("datetime64[D]").astype(np.float64) + 3
    return np.where(known, fourth - (fourth + THURSDAY) % 7, np.nan)


def _year_and_week(days: Floats) -> tuple[Floats, Floats]:
    """Return the years of days, and the weeks in these from zero; NaN where missing."""
    thursdays = days - (days + THURSDAY) % 7 + THURSDAY
    known = ~np.isnan(days)
    dates = np.where(known, thursdays, 0).astype(np.int64).astype("datetime64[D]")
    years = np.where(known, 1970 + dates.astype("datetime64[Y]").astype(np.float64), np.nan)
    return years, np.floor((thursdays - _first_monday(years)) / 7)
