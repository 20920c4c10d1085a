"""Dates in parts: week, day of the week, hour and time within the hour, which are numbers of ticks.

A number alone does not show that Sundays are like Sundays. The parts do, and together they are the
date: the probability of a date is that of its parts.
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
#: The shortest span of time, in seconds, in which the hour and the day of the week recur.
SHORTEST = {"hour": 3 * DAY, "weekday": 28 * DAY}
#: The last days of months are 28 to 31.
MONTH_ENDS = 4
PARTS = ("week", "weekday", "day", "hour", "time")


@dataclass(frozen=True)
class Part:
    """A part of a column of dates.

    Attributes:
        of: the column of the table.
        name: one of `PARTS`: the week since 1970, the day of the week from Monday on, the day since
            1970, the hour of the day, or the step within the hour.
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
            [1, 0, 4, 5, 1]
        """
        hour, day = HOUR * TICKS[self.unit], DAY * TICKS[self.unit]
        days = np.floor(ticks / day)
        match self.name:
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
    days = parts["day"] if "day" in parts else 7 * parts["week"] + parts["weekday"] - THURSDAY
    ticks = days * DAY * scale
    if "hour" in parts:
        ticks = ticks + parts["hour"] * HOUR * scale
    if "time" in parts:
        ticks = ticks + parts["time"] * part.step
    rest = part.origin % ((HOUR if "hour" in parts else DAY) * scale)
    return ticks + rest % part.step


def parts(grid: Grid, unit: str, span: float, seen: Mapping[str, Collection[int]]) -> list[str]:
    """Return the names of the parts that say more than the number alone; none if none does.

    Args:
        grid: of the dates.
        unit: of its ticks.
        span: from the first to the last, in ticks.
        seen: the values of "hour", "weekday" and "monthday" that occur.
    """
    scale = TICKS[unit]
    hour, day = HOUR * scale, DAY * scale
    whole = day % grid.step == 0 and (grid.step >= hour or hour % grid.step == 0)
    daily = whole and grid.step < day and span >= SHORTEST["hour"] * scale and len(seen["hour"]) > 1
    # The days of the week of months' ends are chance.
    weekly = whole and len(seen["monthday"]) > MONTH_ENDS and len(seen["weekday"]) > 1
    weekly = weekly and span >= SHORTEST["weekday"] * scale
    if not daily and (not weekly or grid.step < day):
        return []
    found = ["week", "weekday"] if weekly else ["day"]
    return [*found, *(["hour"] if daily else []), *(["time"] if grid.step < hour else [])]
