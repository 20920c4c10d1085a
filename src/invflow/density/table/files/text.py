"""Tables in text files: CSV and its relatives."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute, csv

from invflow.density.table import arrow
from invflow.density.table.dialect import Dialect
from invflow.density.table.files import markers, numerals, times
from invflow.density.table.files.content import HEAD, check, encoding_of, open_quote, opened
from invflow.density.table.files.header import names_of
from invflow.density.table.files.layout import laid_out
from invflow.density.table.files.sniff import LINES, Row, fields, lines, lines_of, sniff
from invflow.density.table.labels import Label
from invflow.density.table.limits import check_columns

#: Bytes that are parsed at a time; a line must fit in.
PARSED = 2**22
#: Names of a column that has none, the second as pandas writes them.
UNNAMED = ("", "Unnamed: 0")
#: How pandas writes booleans.
TRUTH = ["True", "False"]
#: How files begin that are not tables.
OTHERS = {
    "HTML or XML": re.compile(r"\s*<(!doctype|html|head|body|table|\?xml)\b", re.IGNORECASE),
    "JSON": re.compile(r'\s*(\{\s*"|\[\s*[\[{])'),
}
#: The most lines named in an error.
SHOWN_LINES = 3


def read(path: Path, asked: Dialect, na: Sequence[str], usual: str) -> tuple[pd.DataFrame, Dialect]:
    """Return the table in a text file, perhaps compressed, and the complete dialect.

    Args:
        path: of the file.
        asked: what is known of the dialect.
        na: markers of missing values (`markers.by_column`).
        usual: the separator if the file has none.

    Raises:
        OSError: if the compression is damaged.
        ValueError: if it is not a table, or one of another encoding or format than asked.
    """
    encoding = encoding_of(path) if asked.encoding is None else asked.encoding
    check(path, encoding)
    with opened(path) as file:
        head = _head(file.read(HEAD), encoding)
    for kind, start in OTHERS.items():
        if start.match(head):
            raise ValueError(f"{path} is {kind}, not a table; save the table in it as CSV")
    found = sniff(head, replace(asked, encoding=encoding), usual)
    body = "".join(lines(head)[found.skip or 0 :])
    rows = fields("".join(lines(body)[:LINES]), found.separator or usual)
    above = bool(found.header) + bool(found.units)
    names = names_of(path, rows, above, bool(found.header))
    check_columns(path, len(names))
    start = (found.skip or 0) + lines_of(body, found.separator or usual, above)
    text = _as_text(rows[above:], names, found)
    table = _parse(path, found, start, len(names), text)
    whole = [i for i, each in enumerate(table.schema.types) if pa.types.is_integer(each)]
    if whole and asked.codes is None and len(table) >= LINES:
        # Zeros at the front may begin below the lines that were looked at.
        again = _parse(path, found, start, len(names), [*text, *whole])
        late = [i for i in whole if _has_codes(again.column(i))]
        for i in late:
            table = table.set_column(i, again.schema.field(i), again.column(i))
        found = replace(found, codes=(*(found.codes or ()), *(names[i] for i in late)))
    markers_of = markers.by_column(na, names)
    frame, complete = _typed(table, names, found, markers_of)
    return frame, laid_out(head, complete, names, markers_of, frame.index)


def _has_codes(column: Any) -> bool:
    """Whether a column of text has digits that a number would lose."""
    found = compute.call_function(
        "match_substring_regex", [column], compute.MatchSubstringOptions(r"^\s*0\d+\s*$")
    )
    return bool(compute.call_function("any", [found]).as_py())


def _head(content: bytes, encoding: str) -> str:
    """Return the first lines of a text: whole ones, if there are several."""
    text = codecs.getincrementaldecoder(encoding)().decode(content).removeprefix("\ufeff")
    whole = lines(text)
    return "".join(whole[:-1] if len(content) == HEAD and len(whole) > 1 else whole)


def _as_text(rows: Sequence[Row], names: Sequence[str], dialect: Dialect) -> list[int]:
    """Return the columns that are not numbers, as far as one can see."""

    def other(cell: str) -> bool:
        known = not cell or cell in TRUTH or numerals.is_number(cell, dialect.decimal or ".")
        return not known

    return [
        i
        for i, name in enumerate(names)
        if _is_text(name, dialect) or any(len(row) > i and other(row[i]) for row in rows)
    ]


def _is_text(name: str, dialect: Dialect) -> bool:
    """Whether a column is known to be text."""
    return name in (dialect.codes or ()) or name in (dialect.text or ())


def _parse(path: Path, dialect: Dialect, start: int, width: int, text: Sequence[int]) -> Any:
    """Return the table with numbered columns.

    Raises:
        ValueError: if a line has more or fewer values than there are columns.
    """
    names = list(map(str, range(width)))
    wrong: list[Any] = []

    def keep(row: Any) -> str:
        wrong.append(row)
        return "skip"

    with opened(path) as file:
        table = csv.read_csv(
            file,
            csv.ReadOptions(
                column_names=names,
                skip_rows=start,
                encoding=dialect.encoding,
                block_size=PARSED,
                use_threads=False,  # so that wrong lines have numbers
            ),
            csv.ParseOptions(
                delimiter=dialect.separator, newlines_in_values=True, invalid_row_handler=keep
            ),
            csv.ConvertOptions(
                column_types={names[i]: pa.string() for i in text},
                # A decimal mark that is the separator too is in quotes, and parsed later.
                decimal_point="." if dialect.decimal == dialect.separator else dialect.decimal,
                null_values=["", "nan", "NaN"],
                true_values=TRUTH[:1],
                false_values=TRUTH[1:],
            ),
        )
    if wrong:
        shown = ", ".join(
            f"line {row.number} has {row.actual_columns}" for row in wrong[:SHOWN_LINES]
        )
        raise ValueError(
            f"{path} has {len(wrong)} line(s) whose number of values is not {width}, that of the "
            f"columns: {shown}{open_quote(path)}; correct them"
        )
    last = [
        value for row in table.slice(max(len(table) - 1, 0)).to_pylist() for value in row.values()
    ]
    if any("\n" in value for value in last if isinstance(value, str)) and open_quote(path):
        raise ValueError(f"the last line of {path} is not a whole one{open_quote(path)}")
    return table


def _typed(
    table: Any, names: Sequence[str], dialect: Dialect, na: Mapping[Label, Sequence[str]]
) -> tuple[pd.DataFrame, Dialect]:
    """Return the columns of a table with their types, and its dialect with dates and index.

    Raises:
        ValueError: if a column does not have the format of dates that it is said to have.
    """
    dates, index = dict(dialect.dates or {}), dialect.index
    columns: dict[str, Any] = {}
    labels: Any = range(len(table))
    for place, (name, column) in enumerate(zip(names, table.columns, strict=True)):
        if not name and column.null_count == len(column):
            continue  # a separator at the end of every line
        series = _column(column, name, na[name], dialect)
        if index is None and not place and name in UNNAMED and _counts(series):
            index = ""
        if name == index or (index == "" and not place and name in UNNAMED):
            labels = pd.Index(series, name=index)
            continue
        name = name or f"column {place + 1}"
        if name in dates:
            series, dates[name] = _dates(series, name, dates[name])
        elif pd.api.types.is_string_dtype(series.dtype) and not _is_text(name, dialect):
            known = times.formats(series)
            if len(known) == 1:  # otherwise it is not clear which
                series, dates[name] = _dates(series, name, known[0])
        if name in columns:
            raise ValueError(f"two columns of the table are named {name!r}: rename one")
        columns[name] = series
    if not columns:
        raise ValueError("the table has no columns")
    frame = pd.DataFrame(columns).set_axis(labels, axis=0)
    return frame, replace(dialect, dates=dates, index=index)


def _column(column: Any, name: str, na: Sequence[str], dialect: Dialect) -> Any:
    """Return a column as numbers or booleans, or as stripped text."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    series = arrow.series(column)
    if not pa.types.is_string(column.type):
        return markers.without(series, na)
    series = series.str.strip()
    series = markers.without(series.mask(series == ""), na)
    if _is_text(name, dialect):
        return series
    numbers = numerals.parsed(series, dialect.decimal or ".", dialect.thousands or "")
    return series if numbers is None else numbers


def _counts(series: Any) -> bool:
    """Whether a column numbers the rows, or names each of them."""
    if pd.api.types.is_integer_dtype(series.dtype):
        return bool((series.diff().iloc[1:] == 1).all())
    return pd.api.types.is_string_dtype(series.dtype) and series.is_unique


def _dates(series: Any, name: str, form: str) -> tuple[Any, str]:
    """Return the dates in a column, and their format in detail.

    Raises:
        ValueError: if a value has another format.
    """
    text = series.astype("str")
    try:
        return times.parsed(text, form), times.finest(text, form)
    except ValueError as error:
        known = pd.to_datetime(text, format=times.plain(form), errors="coerce")
        wrong = text[known.isna() & text.notna()]
        raise ValueError(
            f"column {name!r} has {wrong.iloc[0]!r}, which is not like {form}; correct --dates"
        ) from error
