"""Tables from NumPy's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from invflow import _arrays
from invflow.density.table.labels import numbered_names, unique
from invflow.density.table.limits import check_columns


def read(path: Path) -> pd.DataFrame:
    """Return the table in an `.npy` or `.npz` file.

    Raises:
        ValueError: if it is damaged, has Python objects, or is not a table.
    """
    content = _arrays.read(path)
    if not isinstance(content, dict) and content.dtype.names:
        return _records(path, content)
    if not isinstance(content, dict):
        return _matrix(path, content, None, "the array")
    check_columns(path, len(content))
    if all(array.ndim == 1 for array in content.values()) and content:
        lengths = {len(array) for array in content.values()}
        if len(lengths) > 1:
            raise ValueError(f"the columns of {path} have different lengths: {sorted(lengths)}")
        return pd.DataFrame(content)
    matrices = [name for name, array in content.items() if array.ndim == 2]
    name = "data" if "data" in matrices else matrices[0] if len(matrices) == 1 else ""
    if not name:
        raise ValueError(
            f"{path} must have one two-dimensional array, or one named data, "
            f"got {', '.join(f'{n} {a.shape}' for n, a in content.items()) or 'none'}"
        )
    return _matrix(path, content[name], content.get("columns"), name)


def _records(path: Path, array: Any) -> pd.DataFrame:
    names = array.dtype.names
    check_columns(path, len(names))
    for name in names:
        if array[name].ndim != 1:
            raise ValueError(
                f"the records must have one value in each field, shape (rows,), got {name!r} of "
                f"shape {array[name].shape}"
            )
    return pd.DataFrame({name: array[name] for name in names})


def _matrix(path: Path, array: Any, names: Any, what: str) -> pd.DataFrame:
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{what} must have shape (rows, columns), got {array.shape}")
    check_columns(path, array.shape[1])
    if names is not None and names.shape != (array.shape[1],):
        raise ValueError(
            f"{what} has {array.shape[1]} columns, but their names in columns have shape "
            f"{names.shape}"
        )
    found = numbered_names(array.shape[1]) if names is None else [str(name) for name in names]
    return pd.DataFrame(array, columns=list(unique(found)))
