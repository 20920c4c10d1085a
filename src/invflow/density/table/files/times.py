"""Dates and times in text: their format, and both directions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
from pandas.tseries.api import guess_datetime_format

#: Formats of times of the day.
TIMES = ("%H:%M:%S", "%H:%M", "%H.%M.%S", "%I:%M:%S %p", "%I:%M %p")
#: Dates of digits with years of two or four digits, and what may follow.
_DAY = re.compile(r"\d{1,2}([/.-])\d{1,2}\1(\d{2}|\d{4})( .*)?")
_AFTER = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
#: Number of values that decide which formats are tried on all of them.
ENOUGH = 100
#: The most characters of a date.
LONGEST = 40


def formats(series: Any) -> list[str]:
    """Return the formats of dates or times that fit all values of a column of text.

    There are two where the day cannot be told from the month.

    Args:
        series: stripped text, missing where empty.

    Example:
        >>> formats(pd.Series(["01/02/2004", "13/02/2004"]))
        ['%d/%m/%Y']
        >>> formats(pd.Series(["01/02/2004"])), formats(pd.Series(["May"]))
        (['%m/%d/%Y', '%d/%m/%Y'], [])
    """
    there = series.dropna().unique()
    if not len(there) or len(there[0]) > LONGEST or not there[0][:1].isalnum():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the first day may be a month
        guessed = [guess_datetime_format(there[0], dayfirst=each) for each in (False, True)]
    if (guessed[0] or "").startswith("%Y"):
        guessed.pop()  # nobody writes the day after the year
    dates = [form for form in guessed if form and "%Y" in form and ("%m" in form or "%b" in form)]
    if there[0].endswith("Z"):  # as the zone of all
        dates = [form.replace("%z", "Z") for form in dates]
    some, every = pd.Series(there[:ENOUGH]), pd.Series(there)
    known = [
        form for form in dict.fromkeys([*dates, *_days(there[0]), *TIMES]) if _fits(some, form)
    ]
    return [form for form in known if _fits(every, form)]


def _days(text: str) -> Iterator[str]:
    """Give formats that a date of digits may have, the day or the month first."""
    found = _DAY.fullmatch(text)
    if found:
        mark, year, after = found.groups()
        for order in ("%m{0}%d{0}", "%d{0}%m{0}"):
            for time in _AFTER if after else _AFTER[:1]:
                yield order.format(mark) + ("%y" if len(year) == 2 else "%Y") + time


def _fits(values: Any, form: str) -> bool:
    try:
        pd.to_datetime(values, format=form)
    except ValueError:
        return False
    return True


def parsed(series: Any, form: str) -> Any:
    """Return the dates in a column of text, or times since midnight.

    Raises:
        ValueError: if a value has another format.

    Example:
        >>> parsed(pd.Series(["18.30.00"]), "%H.%M.%S").dt.total_seconds().tolist()
        [66600.0]
    """
    found = pd.to_datetime(series, format=form)
    return found if "%d" in form or "%Y" in form else found - found.dt.normalize()


def written(series: Any, form: str) -> Any:
    """Return dates, or times since midnight, as text."""
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        series = pd.Timestamp(0) + series
    elif not pd.api.types.is_datetime64_any_dtype(series.dtype):
        return series
    return series.dt.strftime(form)
