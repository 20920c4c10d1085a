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
from invflow.density.table.files.lines import header, lines
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
    separator = dialect.separator or TEXT[kind]
    first, opened = dialect.layout.first, gzip.open if kind == ".csv.gz" else open
    with opened(path, "wt", encoding=dialect.encoding or "utf-8", newline="") as file:
        for i, block in enumerate(blocks):
            rows = block
            if dialect.index is not None:
                numbered = rows.index.name != dialect.index
                labels = range(first, first + len(rows)) if numbered else rows.index
                rows = rows.set_axis(labels, axis=0).reset_index(names=dialect.index)
            if not i:
                file.write(header(rows.columns, dialect, separator))
            file.write(lines(rows, dialect, separator))
            first += len(block)


def _parquet(blocks: Iterable[pd.DataFrame], path: Path, types: Any) -> None:
    blocks = iter(blocks)
    first = next(blocks)
    schema = _schema(first, types)
    with parquet.ParquetWriter(path, schema) as file:
        for block in chain([first], blocks):
            file.write_table(arrow.table(_with_index(block, types), types).cast(schema))


def _schema(frame: pd.DataFrame, types: Any) -> Any:
    """Return the types of columns; numbers for a column that has only missing values so far."""
    found = arrow.table(_with_index(frame, types), types).schema
    fields = [
        field.with_type(pa.float64()) if pa.types.is_null(field.type) else field for field in found
    ]
    return pa.schema(fields, metadata=found.metadata)


def _with_index(rows: pd.DataFrame, types: Any) -> pd.DataFrame:
    """Return rows with text as labels, and the columns that were the index as such."""
    named = rows.set_axis(list(map(str, rows.columns)), axis=1)
    known = (types.pandas_metadata or {}).get("index_columns", []) if types is not None else []
    index = [name for name in known if isinstance(name, str) and name in named.columns]
    if index:
        named = named.set_index(index)
    return named.rename_axis(named.index.name or None) if named.index.nlevels == 1 else named
