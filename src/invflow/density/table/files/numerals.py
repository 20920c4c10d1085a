"""Numbers as text writes them: which marks are decimal, and which stand between thousands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

_EXPONENT = r"(?:[eE][+-]?\d+)?"
#: Numbers without thousands, and the words that are numbers, by decimal mark.
_NUMBER = {
    mark: re.compile(
        rf"[+-]?(?:\d+{re.escape(mark)}?\d*|{re.escape(mark)}\d+){_EXPONENT}"
        r"|(?i:[+-]?(?:inf|infinity|nan))"
    )
    for mark in ".,"
}
#: Digits in groups of three, between which one of these stands; the last is a thin space.
_GROUPED = re.compile("[+-]?[1-9]\\d{0,2}([,.' \u00a0\u202f])\\d{3}(\\1\\d{3})*([.,]\\d+)?")
#: Digits that numbers would lose: zeros at the front, and those beyond 64 bits.
_CODE = re.compile(r"0\d+|\d{20,}")
#: What decimal marks are called.
_NAMES = {",": "comma", ".": "point"}
#: Signs before or after numbers.
SIGNS = "$€£¥% "


def is_number(text: str, decimal: str = ".") -> bool:
    """Whether a text is a number.

    Example:
        >>> is_number("-1e3"), is_number("1,5"), is_number("1,5", ","), is_number("18.00.00")
        (True, False, True, False)
    """
    return _NUMBER[decimal].fullmatch(text) is not None


def is_grouped(text: str) -> bool:
    """Whether a text is a number with a mark between its thousands.

    Example:
        >>> is_grouped("1.234,5"), is_grouped("1.23")
        (True, False)
    """
    return _GROUPED.fullmatch(text) is not None


def is_code(text: str) -> bool:
    """Whether a number would lose some of these digits.

    Example:
        >>> is_code("0123"), is_code("0"), is_code("0.5")
        (True, False, False)
    """
    return _CODE.fullmatch(text) is not None


def signs(series: Any) -> tuple[str, str]:
    """Return what stands before and after the numbers of a column: "$", " %" or nothing.

    Args:
        series: stripped text, missing where empty.

    Example:
        >>> import pandas as pd
        >>> signs(pd.Series(["5 %", "12 %"])), signs(pd.Series(["$5", "€5"]))
        (('', ' %'), ('', ''))
    """
    there = series.dropna()
    first = there.iloc[0] if len(there) else ""
    before = first[: len(first) - len(first.lstrip(SIGNS))]
    after = first[len(first.rstrip(SIGNS)) :]
    same = there.str.startswith(before).all() and there.str.endswith(after).all()
    return (before, after) if same else ("", "")


def marks(
    cells: Iterable[str], decimal: str | None, thousands: str | None, separator: str = ","
) -> tuple[str, str]:
    """Return the decimal mark of numbers, and the mark between their thousands ("" for none).

    Args:
        cells: the fields of a file.
        decimal: the mark, if it is known.
        thousands: the mark, if it is known.
        separator: of the fields; semicolons often go with decimal commas.

    Raises:
        ValueError: if all numbers with a comma are like 1,234, where it may be either; or with a
            point, between semicolons.

    Example:
        >>> marks(["1,5", "x"], None, None), marks(["1,234.5"], None, None)
        ((',', ''), ('.', ','))
    """
    decimals, groups, either = Counter[str](), Counter[str](), dict[str, str]()
    for cell in (each.strip(SIGNS) for each in cells):
        grouped = _GROUPED.fullmatch(cell)
        if grouped is None:
            decimals.update(mark for mark in ",." if mark in cell and is_number(cell, mark))
            continue
        mark, more, rest = grouped.groups()
        if mark in ",." and not more and not rest:
            either[mark] = cell
        elif rest[:1] != mark if rest else True:
            groups[mark] += 1
            decimals.update(rest[:1] if rest else ())
    unknown = thousands is None
    if thousands is None:
        known = [mark for mark in groups if mark != decimal]
        thousands = max(known, key=groups.__getitem__, default="")
    if decimal is None:
        unclear = [mark for mark in ",." if mark in either and (mark == "," or separator == ";")]
        if unclear and not decimals and not thousands:
            mark = unclear[0]
            raise ValueError(
                f"numbers such as {either[mark]} may have a decimal {_NAMES[mark]}, or groups of "
                f'thousands: say --decimal "{mark}" or --thousands "{mark}"'
            )
        votes = {mark: decimals[mark] for mark in ".," if mark != thousands}
        decimal = max(votes, key=votes.__getitem__)
    if unknown and not thousands:
        thousands = next((mark for mark in either if mark != decimal), "")
    return decimal, thousands


def parsed(series: Any, decimal: str, thousands: str) -> Any:
    """Return the numbers in a column of text; None if a value is not one, or is a code.

    Args:
        series: stripped text, missing where empty.
        decimal: the decimal mark.
        thousands: the mark between thousands, "" for none.

    Example:
        >>> import pandas as pd
        >>> parsed(pd.Series(["1.234,5", "-2"]), ",", ".").tolist()
        [1234.5, -2.0]
    """
    there = series.dropna()
    mark = re.escape(decimal)
    if thousands:
        between = re.escape(thousands)
        grouped = there.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(?:{between}\d{{3}})+(?:{mark}\d+)?")
        there = there.where(~grouped, there.str.replace(thousands, "", regex=False))
    if not len(there) or not there.str.fullmatch(_NUMBER[decimal].pattern).all():
        return None
    if there.str.fullmatch(_CODE.pattern).any():
        return None
    plain = pa.array(there.str.replace(decimal, ".", regex=False).str.lstrip("+"))
    try:
        numbers: Any = plain.cast(pa.int64()).to_pandas()
    except pa.ArrowInvalid:
        numbers = plain.cast(pa.float64()).to_pandas()
    whole_with_gaps = numbers.dtype == "int64" and len(there) < len(series)
    numbers = numbers.astype("Int64") if whole_with_gaps else numbers
    return numbers.set_axis(there.index).reindex(series.index)
