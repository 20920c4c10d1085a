"""How the values of a column are spelled in text, and numbers spelled that way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.dialect import Spelling
from invflow.density.table.files.numerals import bare, dress, is_grouped, is_number
from invflow.density.table.numbers import stored
from invflow.density.table.samples import Floats

#: What is read as missing in every column.
EMPTY = ("", "nan", "NaN")
#: From this many significant digits on, numbers are as exact as floats can be.
EXACT_DIGITS = 15


def spelled(
    cells: Sequence[str], decimal: str, thousands: str, markers: Collection[str] = ()
) -> Spelling:
    """Return how the values of a column are written.

    Args:
        cells: as they stand in the file, with quotation marks.
        decimal: the decimal mark.
        thousands: the mark between thousands, "" for none.
        markers: of missing values.

    Example:
        >>> found = spelled(['"$1,200.50"', '"$3.00"', ""], ".", ",")
        >>> found.before, found.least, found.grouped, found.quoted
        ('$', 2, True, True)
    """
    contents = {cell: _content(cell) for cell in cells}
    missing = {text for text in contents.values() if _is_missing(text, decimal, markers)}
    gaps = [cell for cell in cells if contents[cell] in missing]
    gap = Counter(gaps).most_common(1)[0][0].strip() if gaps else ""
    there = [cell for cell in cells if contents[cell] not in missing]
    quoted = bool(there) and all(cell.strip().startswith('"') for cell in there)
    texts = [contents[cell] for cell in there]
    numbers = [bare(text) for text in texts]
    alike = len(dressed := set(map(dress, texts))) == 1
    if not alike or not all(is_number(each, decimal) or is_grouped(each) for each in numbers):
        return Spelling(quoted=quoted, gap=gap)
    before, after = dressed.pop()
    grouped = bool(thousands) and any(thousands in each for each in numbers)
    whole = [each.replace(thousands, "") if thousands else each for each in numbers]
    parts = [re.split("[eE]", each.lstrip("+-")) for each in whole]
    decimals = [mantissa.partition(decimal)[2] for mantissa, *_ in parts]
    counts = list(map(len, decimals))
    padded = any(each.endswith("0") for each in decimals)
    unmarked = any(decimal not in mantissa for mantissa, *_ in parts)
    digits = [re.sub(r"\D", "", mantissa).lstrip("0") for mantissa, *_ in parts]
    return Spelling(
        before=before,
        outside=bool(before) and any(text[len(before)] in "+-" for text in texts),
        after=after,
        least=min(counts) if padded else 0 if unmarked else 1,
        most=max(counts),
        digits=max(map(len, digits)),
        grouped=grouped,
        plus=any(each.startswith("+") for each in numbers),
        brackets=any(text.startswith("(") for text in texts),
        exponent=_exponent(whole),
        scientific=all("e" in each.lower() for each in whole),
        quoted=quoted,
        gap=gap,
    )


def _is_missing(text: str, decimal: str, markers: Collection[str]) -> bool:
    """Whether a cell is empty or a marker, which may be a number with other decimals."""
    if text in EMPTY or text in markers:
        return True
    values = {float(each) for each in markers if is_number(each)}
    return is_number(text, decimal) and float(text.replace(decimal, ".")) in values


def _content(cell: str) -> str:
    """Return a cell without quotation marks and spaces around it."""
    cell = cell.strip()
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"').strip() if whole else cell


def _exponent(numbers: Sequence[str]) -> str:
    """Return the exponent of one in the form that numbers have; "" if none has an exponent."""
    found = [each for text in numbers if (each := re.search(r"([eE])([+-]?)(\d+)$", text))]
    if not found:
        return ""
    sign = "" if any(not each[2] for each in found) else "+"
    return found[0][1] + sign + "0" * min(len(each[3]) for each in found)


def rounded(rows: pd.DataFrame, spelling: Mapping[str, Spelling]) -> pd.DataFrame:
    """Return drawn rows whose numbers have at most as many digits as those of the table.

    Args:
        rows: draws.
        spelling: of the table, by column.

    Example:
        >>> drawn = pd.DataFrame({"a": [1.2345, 1234.5678]})
        >>> rounded(drawn, {"a": Spelling(most=3, digits=5)})["a"].tolist()
        [1.234, 1234.6]
    """
    columns = {i: rows.iloc[:, i] for i in range(rows.shape[1])}
    for i, name in enumerate(rows.columns):
        if str(name) in spelling and pd.api.types.is_float_dtype(columns[i].dtype):
            columns[i] = _rounded(columns[i], spelling[str(name)])
    return pd.DataFrame(columns, index=rows.index).set_axis(rows.columns, axis=1)


def _rounded(series: Any, spelling: Spelling) -> Any:
    most, digits = spelling.most, spelling.digits
    if most is None or digits is None or digits > EXACT_DIGITS:
        return series
    values: Floats = series.to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(divide="ignore"):
        size = np.nan_to_num(np.floor(np.log10(np.abs(values))), neginf=0.0)
    places = digits - 1 - size
    if not spelling.scientific:
        places = np.clip(places, 0, most)
    found = values.copy()
    for each in np.unique(places).astype(int).tolist():
        own = places == each
        found[own] = np.round(values[own], each) + 0.0  # no negative zeros
    return pd.Series(found, series.index).astype(series.dtype)


def numbers(series: Any, spelling: Spelling, decimal: str, thousands: str) -> list[str | None]:
    """Return numbers as text, exactly; None where they are missing.

    Example:
        >>> price = Spelling(before="$", least=2, most=2, grouped=True)
        >>> numbers(pd.Series([1200.5, -3]), price, ".", ",")
        ['$1,200.50', '-$3.00']
    """
    steps: list[Callable[[str], str]] = [partial(_plain, spelling=spelling)]
    if spelling.grouped:
        steps.append(_grouped)
    marks = str.maketrans({",": thousands if spelling.grouped else ",", ".": decimal})
    steps.append(lambda text: text.translate(marks))
    if spelling.before or spelling.after or spelling.plus or spelling.brackets:
        steps.append(partial(_dressed, spelling=spelling))
    texts = _shortest(series)
    for step in steps:
        texts = [None if text is None else step(text) for text in texts]
    return texts


def _shortest(series: Any) -> list[str | None]:
    """Return numbers as the shortest text that gives them back."""
    gaps = series.isna().to_numpy()
    if not pd.api.types.is_float_dtype(series.dtype):
        return [None if gap else str(each) for each, gap in zip(series, gaps, strict=True)]
    values = series.to_numpy(dtype=stored(series.dtype), na_value=np.nan)
    # Python's floats are faster, but have other digits than shorter ones.
    each = map(repr, values.tolist()) if values.dtype == np.float64 else map(str, values)
    return [None if gap else text for text, gap in zip(each, gaps, strict=True)]


def _plain(text: str, spelling: Spelling) -> str:
    """Return a number with the decimals and the exponent of its column."""
    if spelling.scientific or ("e" in text and spelling.exponent):
        return _scientific(text, spelling)
    if "e" in text:
        text = format(Decimal(text), "f")
    whole, mark, decimals = text.partition(".")
    if not decimals.strip("0"):
        decimals = ""
    decimals = decimals.ljust(spelling.least if mark else 0, "0")
    return f"{whole}.{decimals}" if decimals else whole


def _scientific(text: str, spelling: Spelling) -> str:
    """Return a number with an exponent."""
    digits = Decimal(text).normalize().as_tuple().digits
    places = max(spelling.least, len(digits) - 1)
    mantissa, _, power = f"{float(text):.{places}e}".partition("e")
    head = spelling.exponent.rstrip("0")
    sign = "-" if power.startswith("-") else head[1:]
    return (
        f"{mantissa}{head[0]}{sign}{power.lstrip('+-').zfill(len(spelling.exponent) - len(head))}"
    )


def _grouped(text: str) -> str:
    """Return a number with commas between thousands."""
    whole, mark, decimals = text.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}{mark}{decimals}" if whole[-1:].isdigit() else text


def _dressed(text: str, spelling: Spelling) -> str:
    """Return a number with signs."""
    negative, bare = text.startswith("-"), text.lstrip("-")
    if negative and spelling.brackets:
        return f"({spelling.before}{bare}{spelling.after})"
    sign = "-" if negative else "+" if spelling.plus and bare.strip("0.,") else ""
    first = (spelling.before, sign) if spelling.outside else (sign, spelling.before)
    return "".join([*first, bare, spelling.after])
