"""Tables from NumPy's files, whose headers are checked before any memory is used."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy

from invflow._readable import first_line
from invflow.density.table.columns import numbered_names
from invflow.density.table.labels import unique
from invflow.density.table.limits import check_columns, check_expansion

#: Readers of the header, by version; a later version is only needed for records.
HEADERS: dict[Any, Any] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}


def read(path: Path) -> pd.DataFrame:
    """Return the table in an `.npy` or `.npz` file.

    Raises:
        ValueError: if it is damaged, has Python objects, or is not a table.
    """
    if zipfile.is_zipfile(path):
        return _archive(path)
    with path.open("rb") as file:
        _check_array(file, path.stat().st_size, f"{path}")
        file.seek(0)
        return _matrix(path, np.load(file, allow_pickle=False), None, "the array")


def _archive(path: Path) -> pd.DataFrame:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_columns(path, len(members))
        check_expansion(path, sum(each.file_size for each in members), path.stat().st_size)
        for member in members:
            with archive.open(member) as file:
                _check_array(file, member.file_size, f"{path}: {member.filename}")
    # Opened here, because NumPy leaves damaged files open.
    with path.open("rb") as file:
        loaded: Any = np.load(file, allow_pickle=False)
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
            f"{path} must have one two-dimensional array, or one named data, "
            f"got {', '.join(f'{n} {a.shape}' for n, a in content.items()) or 'none'}"
        )
    return _matrix(path, content[name], content.get("columns"), name)


def _check_array(file: IO[bytes], size: int, what: str) -> None:
    """Check that the header of an array fits the bytes that follow.

    Args:
        file: at the start of the array.
        size: of the array with its header, in bytes.
        what: the array, for errors.

    Raises:
        ValueError: if it does not, or the array has Python objects.
    """
    try:
        shape, _, dtype = HEADERS[npy.read_magic(file)](file)
    except Exception as error:  # NumPy evaluates the header, which may fail in any way
        raise ValueError(f"{what} is not a NumPy array: {first_line(error)}") from error
    if dtype.hasobject:
        raise ValueError(f"{what} has Python objects, which are not loaded; save it as numbers")
    claimed = math.prod(shape) * dtype.itemsize
    if dtype.itemsize == 0 or min(shape, default=0) < 0 or claimed > size - file.tell():
        raise ValueError(
            f"{what} is damaged: its header claims {dtype} of shape {shape}, {claimed:,} bytes, "
            f"but it has {size - file.tell():,}"
        )


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
