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
#: Signs before or after numbers; a unit after them is a word behind a space.
_SIGNS = "$€£¥₹₩%‰° "
_DRESSED = re.compile(
    rf"(?P<open>\(?)(?P<sign>[+-]?)(?P<before>[{_SIGNS}]*)(?P<inner>[+-]?)"
    rf"(?P<number>[\d.,][^{_SIGNS}()]*(?:[ '\u00a0\u202f]\d{{3}}[^{_SIGNS}()]*)*)"
    rf"(?P<after>[{_SIGNS}]*|(?: [^\W\d]{{1,12}}))(?P<close>\)?)"
)


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


def dress(text: str) -> tuple[str, str]:
    """Return what stands before and after a number, but for its sign: "$", " %", " kg" or nothing.

    Example:
        >>> dress("5 %"), dress("-$5"), dress("5.2 kg"), dress("fast")
        (('', ' %'), ('$', ''), ('', ' kg'), ('', ''))
    """
    found = _DRESSED.fullmatch(text)
    return (found["before"], found["after"]) if found else ("", "")


def bare(text: str) -> str:
    """Return a number without what stands before and after it, negative if it is in brackets.

    Example:
        >>> bare("-$5"), bare("($1,200)"), bare("5.2 kg"), bare("fast")
        ('-5', '-1,200', '5.2', 'fast')
    """
    found = _DRESSED.fullmatch(text)
    if not found:
        return text
    negative = bool(found["open"])
    if negative != bool(found["close"]) or (negative and (found["sign"] or found["inner"])):
        return text
    return ("-" if negative else found["sign"] or found["inner"]) + found["number"]


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
    for cell in map(bare, cells):
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

    All of them may have the same sign or unit before or after them.

    Args:
        series: stripped text, missing where empty.
        decimal: the decimal mark.
        thousands: the mark between thousands, "" for none.

    Example:
        >>> import pandas as pd
        >>> parsed(pd.Series(["1.234,5", "-2"]), ",", ".").tolist()
        [1234.5, -2.0]
        >>> parsed(pd.Series(["5 %", "12 %"]), ".", "").tolist()
        [5, 12]
    """
    there = series.dropna()
    plain = _plain(there, decimal, thousands)
    if plain is None:
        plain = _plain(_undressed(there), decimal, thousands)
    if plain is None:
        return None
    try:
        numbers: Any = plain.cast(pa.int64()).to_pandas()
    except pa.ArrowInvalid:
        numbers = plain.cast(pa.float64()).to_pandas()
    whole_with_gaps = numbers.dtype == "int64" and len(there) < len(series)
    numbers = numbers.astype("Int64") if whole_with_gaps else numbers
    return numbers.set_axis(there.index).reindex(series.index)


def _plain(texts: Any, decimal: str, thousands: str) -> Any:
    """Return numbers with points and without thousands, as Arrow reads them; None for others."""
    mark = re.escape(decimal)
    if thousands:
        between = re.escape(thousands)
        grouped = texts.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}(?:{between}\d{{3}})+(?:{mark}\d+)?")
        texts = texts.where(~grouped, texts.str.replace(thousands, "", regex=False))
    if not len(texts) or not texts.str.fullmatch(_NUMBER[decimal].pattern).all():
        return None
    if texts.str.fullmatch(_CODE.pattern).any():
        return None
    return pa.array(texts.str.replace(decimal, ".", regex=False).str.lstrip("+"))


def _undressed(texts: Any) -> Any:
    """Return numbers without the signs or units that all of them have, and others as they are."""
    # What has letters or several words tells at once that there are none.
    if not len(texts) or _DRESSED.fullmatch(texts.iloc[0]) is None:
        return texts
    each = texts.unique()
    if len(set(map(dress, each))) > 1:
        return texts
    return texts.map(dict(zip(each, map(bare, each), strict=True)))
