"""Detecting the dialect of a text file from its first lines."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from invflow.density.table.dialect import SEPARATORS, Dialect
from invflow.density.table.files.markers import is_marker
from invflow.density.table.files.numerals import is_code, is_grouped, is_number, marks
from invflow.density.table.labels import numbered_names

#: Number of lines that are looked at.
LINES = 1000
#: Signs at the beginning of a line that is a comment.
COMMENTS = ("#", "%")
#: The most characters of a unit.
LONGEST_UNIT = 12
Row = Sequence[str]


def sniff(head: str, asked: Dialect, usual: str = ",") -> Dialect:
    r"""Return the dialect of a text file, but for its dates, its index, its layout and spelling.

    Args:
        head: its first lines, whole.
        asked: what is known already, and is kept.
        usual: the separator if the text has none.

    Raises:
        ValueError: if it has no lines, or the decimal mark cannot be told from thousands.

    Example:
        >>> found = sniff("a;b\n1,5;2\n2,5;3\n", Dialect())
        >>> found.separator, found.decimal, found.header
        (';', ',', True)
    """
    top = lines(head)[:LINES]
    skip = _comments(top) if asked.skip is None else asked.skip
    body = "".join(top[skip:])
    separator = asked.separator or _separator(body, usual)
    rows = fields(body, separator)
    if asked.skip is None and skip and _is_header(top[skip - 1], rows, separator):
        skip, rows = skip - 1, [*fields(top[skip - 1], separator), *rows]
    elif asked.skip is None:
        titles = _titles(rows)
        skip, rows = skip + lines_of(body, separator, titles), rows[titles:]
    if not rows:
        raise ValueError("there are no columns: all lines are empty, or comments")
    decimal, thousands = marks(chain.from_iterable(rows), asked.decimal, asked.thousands, separator)
    header = _has_header(rows, decimal) if asked.header is None else asked.header
    units = asked.units
    if units is None:
        units = header and _has_units(rows[1:], decimal)
    columns = _columns(rows[header + units :])
    codes = asked.codes
    names = rows[0] if header else numbered_names(len(columns))
    if codes is None:
        codes = tuple(
            name for name, column in zip(names, columns, strict=False) if _are_codes(column)
        )
    return replace(
        asked,
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        header=header,
        skip=skip,
        units=units,
        codes=codes,
    )


def fields(text: str, separator: str) -> list[list[str]]:
    """Return the stripped fields of lines that are not empty."""
    rows = csv.reader(lines(text), delimiter=separator)
    return [[cell.strip() for cell in row] for row in rows if row]


def lines(text: str) -> list[str]:
    """Return the lines of a text, with their ends."""
    return io.StringIO(text, newline="").readlines()


def lines_of(text: str, separator: str, rows: int) -> int:
    """Return the number of lines of the first rows, which quoted fields may make longer."""
    found = csv.reader(lines(text), delimiter=separator)
    while rows:
        rows -= bool(next(found))
    return found.line_num


def _comments(top: Sequence[str]) -> int:
    """Return the number of lines at the top that are comments, and of empty lines among them."""
    last = 0
    for number, line in enumerate(top, 1):
        if line.startswith(COMMENTS):
            last = number
        elif line.strip():
            break
    return last


def _separator(text: str, usual: str) -> str:
    """Return the separator that splits lines into the same number of sensible fields."""
    there = [mark for mark in SEPARATORS if mark in text]
    if len(there) < 2:
        return there[0] if there else usual
    return max(there, key=lambda mark: (_sense(fields(text, mark), mark), mark == usual))


def _sense(rows: Sequence[Row], separator: str) -> float:
    """Return the fraction of regular rows times that of fields that are whole values."""
    count, common = Counter(map(len, rows)).most_common(1)[0]
    if count < 2:
        return 0.0
    cells = list(chain.from_iterable(rows))
    others = [mark for mark in SEPARATORS if mark != separator]
    whole = sum(
        is_number(cell) or is_number(cell, ",") or not any(mark in cell for mark in others)
        for cell in cells
    )
    return common / len(rows) * whole / len(cells)


def _is_header(comment: str, rows: Sequence[Row], separator: str) -> bool:
    """Whether a line that begins like a comment has the names of columns."""
    width = len(fields(comment, separator)[0])
    return width > 1 and bool(rows) and width == len(rows[0])


def _titles(rows: Sequence[Row]) -> int:
    """Return the number of titles above a table: lines with one field, or half of the usual."""
    common = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    titled = (
        len(row) < common and (not any(row[1:]) or sum(map(bool, row)) <= common // 2)
        for row in rows
    )
    return next((i for i, title in enumerate(titled) if not title), 0)


def _has_header(rows: Sequence[Row], decimal: str) -> bool:
    """Whether the first line has names: text above numbers, and no value that comes below."""
    first, *below = rows
    numbers = [cell for cell in first if is_number(cell, decimal)]
    named = len(numbers) < len(first)
    if not below:
        return named
    votes = 0
    for cell, column in zip(first, _columns(below), strict=False):
        there = list(filter(None, column))
        numeric = sum(is_number(each, decimal) for each in there) > len(there) / 2
        if not cell or not there:
            continue
        if numeric:
            votes += -1 if is_number(cell, decimal) else 1
        elif cell in there:
            votes -= 1
    return votes > 0 or (votes == 0 and not numbers) or (named and _are_years(numbers))


def _are_years(numbers: Sequence[str]) -> bool:
    """Whether these are names of columns that count years."""
    values = [int(each) if each.isdigit() else 0 for each in numbers]
    ascending = values == list(range(values[0], values[0] + len(values))) if values else False
    return ascending and 1800 < values[0] < 2200


def _are_codes(cells: Sequence[str]) -> bool:
    """Whether digits are text, as some begin with a zero."""
    there = [cell for cell in cells if cell and not is_marker(cell)]
    return any(map(is_code, there)) and all(map(str.isdigit, there))


def _has_units(rows: Sequence[Row], decimal: str) -> bool:
    """Whether the first of these rows has units: short words above columns of numbers."""
    if len(rows) < 3:
        return False
    first, *below = rows
    if any(is_number(cell, decimal) or is_grouped(cell) for cell in first):
        return False
    above = [
        cell
        for cell, column in zip(first, _columns(below), strict=False)
        if cell not in column and all(is_number(each, decimal) for each in column if each)
        if any(column)
    ]
    named = [cell for cell in above if cell]
    return (
        bool(named)
        and len(named) > len(above) / 2
        and all(len(cell) <= LONGEST_UNIT and not is_marker(cell) for cell in named)
    )


def _columns(rows: Sequence[Row]) -> list[list[str]]:
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    return [[row[i] for row in rows if len(row) > i] for i in range(width)]
