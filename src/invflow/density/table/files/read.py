"""Tables from files: CSV, Parquet and NumPy's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from invflow._readable import check_readable, first_line
from invflow.density.table.dialect import Dialect
from invflow.density.table.files import npz, text
from invflow.density.table.files.markers import Unmarked
from invflow.density.table.files.parquet import Parquet
from invflow.density.table.labels import are_names
from invflow.density.table.source import Frame, Renamed, Source

#: Parquet files of more bytes in memory are read a few row groups at a time.
STREAMED_BYTES = 2**30
#: Endings of text files, and the separators that they promise.
TEXT = {".csv": ",", ".csv.gz": ",", ".tsv": "\t"}
READABLE = (*TEXT, ".parquet", ".npz", ".npy")


def read(path: str | Path, dialect: Dialect | None = None, na: Sequence[str] = ()) -> Source:
    """Return the table in a file.

    The dialect of a CSV file is detected, where it is not given. An `.npz` file has one
    two-dimensional array, or one named `data`, optionally with the names of its columns in
    `columns`; or a one-dimensional array for each column. An `.npy` file has a two-dimensional
    array, or records. Column labels that are not strings, as in some Parquet files, are converted
    to strings.

    No code from the file is run, and a file that claims or expands to far more than its size is
    refused before memory is used.

    Args:
        path: of the file, which must end in one of `READABLE`.
        dialect: what is known of the dialect of a text file; that of the result is complete.
        na: markers of missing values, each a value, or COLUMN=VALUE.

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
        source = _source(path, kind, dialect or Dialect(), na)
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


def _source(path: Path, kind: str, dialect: Dialect, na: Sequence[str]) -> Source:
    if kind in TEXT:
        frame, complete = text.read(path, dialect, na, TEXT[kind])
        return Frame(frame, dialect=complete)
    source = _typed(path, kind)
    return Unmarked(source, na) if na else source


def _typed(path: Path, kind: str) -> Source:
    if kind == ".parquet":
        file = Parquet(path)
        return file if file.bytes > STREAMED_BYTES and len(file.blocks) > 1 else file.whole()
    return Frame(npz.read(path))
