"""The lines of a text file, written in its dialect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from invflow.density.table.dialect import Dialect, Spelling
from invflow.density.table.files import times
from invflow.density.table.files.spelling import numbers


def header(names: Iterable[Any], dialect: Dialect, separator: str) -> str:
    """Return the lines above the rows: what was above the header, this, and units.

    Args:
        names: of the columns, that of the index included.
        dialect: of the file.
        separator: between fields.
    """
    layout = dialect.layout
    found = "".join(layout.top)
    texts = [str(name) for name in names]
    if dialect.header is not False:
        named = texts if layout.corner else texts[1:]
        cells = [_cell(text, separator, layout.quoted) for text in named]
        found += layout.before + _line(cells, separator, layout.space, layout.header_ends)
        found += layout.end
    if dialect.units:
        cells = [_cell(layout.units.get(text, ""), separator, layout.quoted) for text in texts]
        found += _line(cells, separator, layout.space, layout.line_ends) + layout.end
    return found


def lines(rows: pd.DataFrame, dialect: Dialect, separator: str) -> str:
    r"""Return rows as lines.

    Args:
        rows: with the index as a column where it is written.
        dialect: of the file.
        separator: between fields.

    Example:
        >>> lines(pd.DataFrame({"a": [1.5, None], "b": ["x;y", "z"]}), Dialect(decimal=","), ";")
        '1,5;"x;y"\n;z\n'
    """
    layout = dialect.layout
    columns = [
        _texts(rows.iloc[:, i], str(name), dialect, separator)
        for i, name in enumerate(rows.columns)
    ]
    return "".join(
        _line(cells, separator, layout.space, layout.line_ends) + layout.end
        for cells in zip(*columns, strict=True)
    )


def _line(cells: Sequence[str], separator: str, space: str, ends: int) -> str:
    """Return a line without its end."""
    if space:
        # Behind a space, quotation marks would be a part of the text.
        spaced = [cell if cell.startswith('"') else space + cell for cell in cells[1:]]
        cells = [cells[0], *spaced]
    # An empty line would be no row.
    return separator.join(cells) + separator * ends or '""'


def _texts(series: Any, name: str, dialect: Dialect, separator: str) -> list[str]:
    """Return the cells of a column."""
    spelling = dialect.spelling.get(name, Spelling())
    decimal, thousands = dialect.decimal or ".", dialect.thousands or ""
    form = (dialect.dates or {}).get(name)
    types = pd.api.types
    if types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype):
        texts = numbers(series, spelling, decimal, thousands)
    else:
        words = series.astype("str") if form is None else times.written(series, form).astype("str")
        texts = [None if gap else str(word) for word, gap in zip(words, series.isna(), strict=True)]
    gap = spelling.gap
    return [gap if text is None else _cell(text, separator, spelling.quoted) for text in texts]


def _cell(text: str, separator: str, quoted: bool) -> str:
    """Return a text in quotation marks if it must have them."""
    special = separator in text or '"' in text or "\n" in text or "\r" in text
    if not (quoted or special):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
