"""Tables from files: CSV, Parquet and NumPy's."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from invflow._readable import check_readable, first_line
from invflow.density.table import numpy_files, text
from invflow.density.table.labels import are_names
from invflow.density.table.source import Frame, Parquet, Renamed, Source

#: Parquet files of more bytes in memory are read a few row groups at a time.
STREAMED_BYTES = 2**30
READABLE = (".csv", ".csv.gz", ".tsv", ".parquet", ".npz", ".npy")


def read(path: str | Path) -> Source:
    """Return the table in a file.

    A CSV file has the names of its columns in the first line. An `.npz` file has one
    two-dimensional array, or one named `data`, optionally with the names of its columns in
    `columns`; or a one-dimensional array for each column. Column labels that are not strings, as in
    some Parquet files, are converted to strings.

    No code from the file is run, and a file that claims or expands to far more than its size is
    refused before memory is used.

    Args:
        path: of the file, which must end in one of `READABLE`.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is not a file, has an unknown ending, is empty or damaged, or if a column
            has no name or two have the same.
    """
    path = Path(path)
    if os.path.isdir(path):  # unlike Path.is_dir, false where it cannot be known
        raise ValueError(f"{path} is a directory; a table is in one file")
    kind = suffix(path, READABLE)
    check_readable(path)
    try:
        source = _source(path, kind)
        if not are_names(source.names):
            source = Renamed(source, list(map(str, source.names)))
    except MemoryError as error:
        raise ValueError(f"{path} does not fit into memory: {first_line(error)}") from error
    except Exception as error:  # readers of other libraries fail in any way on damaged files
        reason = first_line(error)
        raise ValueError(reason if str(path) in reason else f"{path}: {reason}") from error
    if sum(source.blocks) == 0:
        raise ValueError(f"{path} has no rows")
    return source


def suffix(path: Path, known: tuple[str, ...]) -> str:
    """Return the ending of a file name.

    Raises:
        ValueError: if it is unknown.
    """
    for kind in known:
        if path.name.lower().endswith(kind):
            return kind
    raise ValueError(f"{path} must end in {', '.join(known[:-1])} or {known[-1]}")


def _source(path: Path, kind: str) -> Source:
    if kind == ".parquet":
        file = Parquet(path)
        return file if file.bytes > STREAMED_BYTES and len(file.blocks) > 1 else file.whole()
    if kind in (".npz", ".npy"):
        return Frame(numpy_files.read(path))
    return Frame(_text(path, "\t" if kind == ".tsv" else ","))


def _text(path: Path, separator: str) -> pd.DataFrame:
    text.check(path)
    names = text.names(path, separator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            options: Any = {"sep": separator, "header": 0, "names": names, "index_col": False}
            frame = pd.read_csv(path, **options)
            gaps = [name for name in names if _may_be_whole(frame[name])]
            if not gaps:
                return frame
            options |= {"usecols": gaps, "dtype_backend": "numpy_nullable"}
            found = pd.read_csv(path, **options).select_dtypes("Int64")
            frame[found.columns] = found
            return frame
    except pd.errors.ParserWarning as error:
        raise ValueError(f"{path} has lines with more values than there are columns") from error


def _may_be_whole(series: Any) -> bool:
    """Whether these may be integers with gaps, which pandas reads as floats."""
    there = series.dropna()
    return series.dtype == float and 0 < len(there) < len(series) and not (there % 1).any()
