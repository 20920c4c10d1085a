"""Dates and times in text: their format, and both directions.

Formats are those of `strftime`, with finer directives for what it does not tell: %-d, %-m, %-H and
%-I without a zero in front, %P for am and pm in small letters, %^b for JAN, %:z for +01:00, and %3f
for a fraction of a second with three digits.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import pairwise, product
from operator import add
from typing import Any

import pandas as pd
from pandas.tseries.api import guess_datetime_format

from invflow.density.table.dates import MIDNIGHT, TIME, dtype_of, is_time, spans

#: Formats of times of the day.
TIMES = ("%H:%M:%S", "%H:%M", "%H.%M.%S", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p")
#: Dates of digits with years of two or four digits, and what may follow.
_DAY = re.compile(r"\d{1,2}([/.-])\d{1,2}\1(\d{2}|\d{4})( .*)?")
_AFTER = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
#: Dates with the name of a month, and what may stand before them.
_NAMED = (
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
    *("%b %Y", "%b-%Y", "%b-%y", "%B %Y"),
)
_BEFORE = ("", "%a ", "%a, ", "%A ", "%A, ")
#: Number of values that decide which formats are tried on all of them.
ENOUGH = 100
#: The most characters of a date.
LONGEST = 40
#: Finer directives for each of those of `strftime`.
_FINER = {
    **{f"%{each}": [f"%-{each}"] for each in "dmHI"},
    "%p": ["%P"],
    "%b": ["%^b"],
    "%z": ["%:z"],
    "%f": [f"%{digits}f" for digits in range(1, 6)],
}
_PLAIN = {finer: plain for plain, each in _FINER.items() for finer in each}
_DIRECTIVE = re.compile("|".join(map(re.escape, _PLAIN)) + "|%.")


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
    tried = dict.fromkeys([*dates, *_days(there[0]), *TIMES, *_named(there[0])])
    known = [form for form in tried if _fits(some, form)]
    return [form for form in known if _fits(every, form)]


def _days(text: str) -> Iterator[str]:
    """Give formats that a date of digits may have, the day or the month first."""
    found = _DAY.fullmatch(text)
    if found:
        mark, year, after = found.groups()
        for order in ("%m{0}%d{0}", "%d{0}%m{0}"):
            for time in _AFTER if after else _AFTER[:1]:
                yield order.format(mark) + ("%y" if len(year) == 2 else "%Y") + time


def _named(text: str) -> Iterator[str]:
    """Give formats that a date with the name of a month may have."""
    if any(map(str.isalpha, text)) and any(map(str.isdigit, text)):
        yield from ("".join(each) for each in product(_BEFORE, _NAMED))


def _fits(values: Any, form: str) -> bool:
    try:
        pd.to_datetime(values, format=form)
    except ValueError:
        return False
    return True


def plain(form: str) -> str:
    """Return a format without finer directives, which matter only when dates are written.

    Example:
        >>> plain("%-d.%-m.%Y"), plain("%H:%M:%S.%3f")
        ('%d.%m.%Y', '%H:%M:%S.%f')
    """
    return _DIRECTIVE.sub(lambda found: _PLAIN.get(found[0], found[0]), form)


def finest(series: Any, form: str) -> str:
    """Return a format with the finer directives that give back most values of a column as they are.

    Args:
        series: stripped text of that format, missing where empty.
        form: which may have finer directives already, and keeps these.

    Example:
        >>> finest(pd.Series(["1/2/2004", "13/12/2004"]), "%d/%m/%Y")
        '%-d/%-m/%Y'
    """
    there = pd.Series(series.dropna().unique()[:ENOUGH])
    dates = _stamps(parsed(there, form))
    best, most = form, -1
    pieces = _pieces(form)
    texts = {piece: [piece, *_FINER.get(piece, [])] for piece in pieces}
    known = {each: _piece(dates, each) for every in texts.values() for each in every}
    for chosen in product(*texts.values()):
        written = dict(zip(texts, chosen, strict=True))
        same = int((_joined(known[written[each]] for each in pieces) == there).sum())
        if same > most:
            best, most = "".join(written[each] for each in pieces), same
    return best


def parsed(series: Any, form: str) -> Any:
    """Return the dates in a column of text, or the times of the day.

    Raises:
        ValueError: if a value has another format.

    Example:
        >>> parsed(pd.Series(["18.30.00"]), "%H.%M.%S").tolist()
        [datetime.time(18, 30)]
    """
    form = plain(form)
    found = pd.to_datetime(series, format=form)
    return found if "%d" in form or "%Y" in form or "%y" in form else found.dt.time


def written(series: Any, form: str) -> Any:
    """Return dates or times of the day as text; other columns as they are.

    Example:
        >>> written(pd.Series(pd.to_datetime(["2004-03-01 08:05"])), "%-d %B, %-I:%M %P").tolist()
        ['1 March, 8:05 am']
    """
    if not is_time(series):
        return series
    places, values = pd.factorize(series)
    dates = _stamps(pd.Series(values))
    texts = _joined(_piece(dates, each) for each in _pieces(form))
    known = pd.Series([*texts, None], dtype="str")
    return known.iloc[places].set_axis(series.index)


def _stamps(series: Any) -> Any:
    """Return dates, for times of the day those of some day."""
    return MIDNIGHT + spans(series) if dtype_of(series) == TIME else series


def _pieces(form: str) -> list[str]:
    """Return the directives of a format, and what stands between them."""
    cuts = [0, *(end for found in _DIRECTIVE.finditer(form) for end in found.span()), len(form)]
    return [form[a:b] for a, b in pairwise(cuts) if a < b]


def _joined(pieces: Iterable[Any]) -> Any:
    return reduce(add, pieces)


def _piece(dates: Any, piece: str) -> Any:
    """Return a piece of a format, as text for each date."""
    text = dates.dt.strftime(_PLAIN.get(piece, piece))
    match _PLAIN.get(piece):
        case None:
            return text
        case "%p":
            return text.str.lower()
        case "%b":
            return text.str.upper()
        case "%z":
            return text.str[:3] + ":" + text.str[3:]
        case "%f":
            return text.str[: int(piece[1])]
        case _:
            return text.str.replace("^0", "", regex=True)
