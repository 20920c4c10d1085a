"""Writing tables to CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from invflow import _files
from invflow.density.table.read import suffix

WRITABLE = (".csv", ".csv.gz", ".tsv", ".parquet")


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a table, completely or not at all. Labels of columns become strings.

    Raises:
        ValueError: if the file name has an unknown ending.
    """
    write_blocks([frame], path)


def write_blocks(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    """Write a table block by block, completely or not at all.

    Args:
        blocks: one or more, with the same columns; they become the row groups of a Parquet file.
        path: of the file.

    Raises:
        ValueError: if the file name has an unknown ending.
    """
    kind = suffix(path, WRITABLE)
    with _files.replacing(path) as temporary:
        if kind == ".parquet":
            _parquet(blocks, temporary)
        else:
            _text(blocks, temporary, kind)


def _text(blocks: Iterable[pd.DataFrame], path: Path, kind: str) -> None:
    # The temporary name has another ending, from which pandas cannot tell the compression.
    packed = "gzip" if kind == ".csv.gz" else None
    separator = "\t" if kind == ".tsv" else ","
    for number, block in enumerate(blocks):
        block.to_csv(
            path, index=False, header=number == 0, mode="a", sep=separator, compression=packed
        )


def _parquet(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    blocks = iter(blocks)
    first = next(blocks)
    schema = _schema(first)
    with parquet.ParquetWriter(path, schema) as file:
        for block in chain([first], blocks):
            named = block.set_axis(schema.names, axis=1)
            file.write_table(pa.Table.from_pandas(named, schema=schema, preserve_index=False))


def _schema(frame: pd.DataFrame) -> Any:
    """Return the types of columns; numbers for a column that has only missing values so far."""
    found: Any = pa.Schema.from_pandas(frame, preserve_index=False)
    fields = [
        field.with_type(pa.float64()) if pa.types.is_null(field.type) else field for field in found
    ]
    return pa.schema(fields, metadata=found.metadata)
