"""Tables from files: CSV, Parquet and NumPy's."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invflow import _files
from invflow.density.table.columns import numbered_names
from invflow.density.table.labels import are_names, unique
from invflow.density.table.source import Frame, Parquet, Renamed, Source

#: Parquet files of more bytes in memory are read a few row groups at a time.
LARGE = 2**30
READABLE = (".csv", ".csv.gz", ".tsv", ".parquet", ".npz", ".npy")


def read(path: str | Path) -> Source:
    """Return the table in a file.

    A CSV file has the names of its columns in the first line. An `.npz` file has one array of two
    dimensions, or one named `data`, and if it likes their names as `columns`; or a one-dimensional
    array for each column. Labels of columns that are not strings, which Parquet may hold, become
    such.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a directory, an unknown kind of file, or one that is empty or damaged; columns
            without a name, or of the same.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a directory; a table is in one file")
    kind = suffix(path, READABLE)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        with _files.memory_for(path):
            source = _source(path, kind)
        if not are_names(source.names):
            source = Renamed(source, list(map(str, source.names)))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    except (ValueError, EOFError, zipfile.BadZipFile, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(reason if str(path) in reason else f"{path}: {reason}") from error
    if sum(source.blocks) == 0:
        raise ValueError(f"{path} has no rows")
    return source


def _source(path: Path, kind: str) -> Source:
    if kind == ".parquet":
        file = Parquet(path)
        return file if file.bytes > LARGE and len(file.blocks) > 1 else file.whole()
    if kind in (".npz", ".npy"):
        return Frame(_arrays(path))
    return Frame(_text(path, "\t" if kind == ".tsv" else ","))


def suffix(path: Path, known: tuple[str, ...]) -> str:
    """Return what a file's name ends in.

    Raises:
        ValueError: nothing known.
    """
    for kind in known:
        if path.name.lower().endswith(kind):
            return kind
    raise ValueError(f"{path} must end in {', '.join(known[:-1])} or {known[-1]}")


def _text(path: Path, separator: str) -> pd.DataFrame:
    # pandas renames columns of the same name without a word, so that the names are read apart.
    head: Any = pd.read_csv(
        path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False
    )
    names = [str(name) for name in unique(head.iloc[0])]
    if all(_is_number(name) for name in names):
        raise ValueError(f"the first line of {path} holds numbers, not the names of columns")
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
        raise ValueError(f"{path} has lines of more values than there are names") from error


def _may_be_whole(series: Any) -> bool:
    """Whether these may be whole numbers, of which pandas makes others where some are missing."""
    there = series.dropna()
    return series.dtype == float and 0 < len(there) < len(series) and not (there % 1).any()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _arrays(path: Path) -> pd.DataFrame:
    # Opened here, as NumPy leaves damaged files open.
    with path.open("rb") as file:
        loaded: Any = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return _matrix(loaded, None, "the array")
        content = {name: loaded[name] for name in loaded.files}
    if all(array.ndim == 1 for array in content.values()) and content:
        lengths = {len(array) for array in content.values()}
        if len(lengths) > 1:
            raise ValueError(f"the columns of {path} have different lengths: {sorted(lengths)}")
        return pd.DataFrame(content)
    matrices = [name for name, array in content.items() if array.ndim == 2]
    name = "data" if "data" in matrices else matrices[0] if len(matrices) == 1 else ""
    if not name:
        raise ValueError(
            f"{path} must hold one array of two dimensions, or one named data, "
            f"got {', '.join(f'{n} {a.shape}' for n, a in content.items())}"
        )
    return _matrix(content[name], content.get("columns"), name)


def _matrix(array: Any, names: Any, what: str) -> pd.DataFrame:
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{what} must have shape (rows, columns), got {array.shape}")
    found = numbered_names(array.shape[1]) if names is None else [str(name) for name in names]
    if len(found) != array.shape[1]:
        raise ValueError(f"{what} has {array.shape[1]} columns, and columns {len(found)} names")
    return pd.DataFrame(array, columns=list(unique(found)))
