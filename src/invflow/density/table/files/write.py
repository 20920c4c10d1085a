"""Writing tables to CSV and Parquet files."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from invflow import _files
from invflow.density.table import arrow
from invflow.density.table.dialect import Dialect
from invflow.density.table.files import times
from invflow.density.table.files.read import TEXT, suffix

WRITABLE = (".csv", ".csv.gz", ".tsv", ".parquet")


def write(
    frame: pd.DataFrame, path: Path, dialect: Dialect | None = None, schema: Any = None
) -> None:
    """Write a table, completely or not at all: `write_blocks` of a single one."""
    write_blocks([frame], path, dialect, schema)


def write_blocks(
    blocks: Iterable[pd.DataFrame],
    path: Path,
    dialect: Dialect | None = None,
    schema: Any = None,
) -> None:
    """Write a table block by block, completely or not at all. Labels of columns become strings.

    Args:
        blocks: one or more, with the same columns; they become the row groups of a Parquet file.
        path: of the file.
        dialect: of a text file, plain where None; if it has an index, this is the frame's index of
            that name, or numbers from one.
        schema: Arrow's types of some columns of a Parquet file.

    Raises:
        ValueError: if the file name has an unknown ending.
    """
    kind = suffix(path, WRITABLE)
    with _files.replacing(path) as temporary:
        if kind == ".parquet":
            _parquet(blocks, temporary, schema)
        else:
            _text(blocks, temporary, kind, dialect or Dialect())


def _text(blocks: Iterable[pd.DataFrame], path: Path, kind: str, dialect: Dialect) -> None:
    options: dict[str, Any] = {
        "sep": dialect.separator or TEXT[kind],
        "decimal": dialect.decimal or ".",
        "index": dialect.index is not None,
        "index_label": dialect.index,
    }
    first, opened = 1, gzip.open if kind == ".csv.gz" else open
    with opened(path, "wt", encoding=dialect.encoding or "utf-8", newline="") as file:
        for block in blocks:
            rows = block.copy(deep=False)
            if rows.index.name != dialect.index:
                rows.index = pd.RangeIndex(first, first + len(block))
            for name, form in (dialect.dates or {}).items():
                if name in rows.columns:
                    rows[name] = times.written(rows[name], form)
            for name, places in (dialect.places or {}).items():
                if name in rows.columns:
                    rows[name] = _fixed(rows[name], places, options["decimal"])
            for name, (before, after) in (dialect.signs or {}).items():
                if name in rows.columns:
                    rows[name] = before + _short(rows[name], options["decimal"]) + after
            if dialect.short:
                rows = rows.apply(_short, decimal=options["decimal"])
            rows.to_csv(file, header=first == 1 and dialect.header is not False, **options)
            first += len(block)


def _fixed(series: Any, places: int, decimal: str) -> Any:
    """Return numbers as text with a number of decimals, if that is exact."""
    values = series.dropna()
    if not pd.api.types.is_float_dtype(series.dtype) or (values.round(places) != values).any():
        return series
    return values.map(f"{{:.{places}f}}".format).str.replace(".", decimal).reindex(series.index)


def _short(series: Any, decimal: str) -> Any:
    """Return numbers as text, without decimals where they are whole."""
    types = pd.api.types
    if types.is_bool_dtype(series.dtype) or not types.is_numeric_dtype(series.dtype):
        return series
    text: Any = pa.array(series, from_pandas=True).cast(pa.string()).to_pandas()
    return text.str.replace(".", decimal, regex=False).set_axis(series.index)


def _parquet(blocks: Iterable[pd.DataFrame], path: Path, types: Any) -> None:
    blocks = iter(blocks)
    first = next(blocks)
    schema = _schema(first, types)
    with parquet.ParquetWriter(path, schema) as file:
        for block in chain([first], blocks):
            named = block.set_axis(schema.names, axis=1)
            file.write_table(arrow.table(named, types).cast(schema))


def _schema(frame: pd.DataFrame, types: Any) -> Any:
    """Return the types of columns; numbers for a column that has only missing values so far."""
    found = arrow.table(frame, types).schema
    fields = [
        field.with_type(pa.float64()) if pa.types.is_null(field.type) else field for field in found
    ]
    return pa.schema(fields, metadata=found.metadata)
