"""How the lines of a text file are laid out, and how its columns are spelled."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from pandas.api.types import is_integer_dtype

from invflow.density.table.dialect import Dialect, Layout, Spelling
from invflow.density.table.files.sniff import COMMENTS, LINES, fields, lines, lines_of
from invflow.density.table.files.spelling import spelled
from invflow.density.table.labels import Label


def laid_out(
    head: str,
    dialect: Dialect,
    names: Sequence[str],
    na: Mapping[Label, Sequence[str]],
    index: pd.Index,
) -> Dialect:
    r"""Return a dialect with the layout of lines and the spelling of values.

    Args:
        head: the first lines of a file.
        dialect: of the file, complete but for these.
        names: of all columns, "" for those that have none.
        na: markers of missing values, by column.
        index: of the rows.

    Example:
        >>> known = Dialect(separator=";", decimal=",", thousands="", header=True, skip=0)
        >>> found = laid_out(
        ...     '"a"; b\r\n1,50; x\r\n', known, ["a", "b"], {"a": [], "b": []}, pd.RangeIndex(1)
        ... )
        >>> found.layout.end, found.layout.space, found.spelling["a"].most
        ('\r\n', ' ', 2)
    """
    separator = dialect.separator or ","
    numbered = len(index) and dialect.index is not None and is_integer_dtype(index.dtype)
    every = lines(head)
    skip = dialect.skip or 0
    body = every[skip:]
    above = lines_of("".join(body), separator, bool(dialect.header) + bool(dialect.units))
    rows = [cells for line in body[above:LINES] if (cells := _cells(line, separator))]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else len(names)
    rows = [row for row in rows if len(row) == width]
    first = _cells(body[0], separator) if dialect.header else []
    units = fields("".join(body[:above]), separator)[1:] if dialect.units else []
    layout = Layout(
        end="\r\n" if every[0].endswith("\r\n") else "\n",
        top=tuple(every[:skip]),
        before=_before(first, names),
        corner=not first or len(first) >= len(names) or names[0] != "",
        units=dict(zip(names, units[0], strict=False)) if units else {},
        space=" " if rows and all(_is_spaced(row) for row in rows) else "",
        quoted=bool(first) and all(cell.strip().startswith('"') for cell in first if cell.strip()),
        header_ends=_ends(first),
        line_ends=min([_ends(names), *map(_ends, rows)]),
        first=int(index[0]) if numbered else 1,
    )
    spelling: dict[str, Spelling] = {}
    for i, name in enumerate(names[:width]):
        column = [row[i] for row in rows]
        found = spelled(column, dialect.decimal or ".", dialect.thousands or "", na[name])
        unnamed = not name and name != dialect.index
        spelling[f"column {i + 1}" if unnamed else name] = found
    return replace(dialect, layout=layout, spelling=spelling)


def _cells(line: str, separator: str) -> list[str]:
    r"""Return the cells of a line as they stand there, with quotation marks and spaces.

    Example:
        >>> _cells('1, "a, b",\n', ",")
        ['1', ' "a, b"', '']
    """
    text = line.rstrip("\r\n")
    mark = re.escape(separator)
    found = re.findall(rf'(^|{mark})( *"(?:[^"]|"")*" *(?={mark}|$)|[^{mark}]*)', text)
    return [cell for _, cell in found] if text else []


def _is_spaced(row: Sequence[str]) -> bool:
    """Whether there are spaces behind all separators of a line."""
    return len(row) > 1 and all(cell.startswith(" ") for cell in row[1:])


def _before(first: Sequence[str], names: Sequence[str]) -> str:
    """Return the sign of a comment before the names of columns."""
    signed = first and first[0].startswith(COMMENTS) and first[0].endswith(names[0])
    return first[0].removesuffix(names[0]) if signed else ""


def _ends(cells: Sequence[str]) -> int:
    """Return the number of empty cells at the end of a line."""
    empty = [not cell.strip() for cell in cells]
    return next((i for i, each in enumerate(reversed(empty)) if not each), len(empty))
