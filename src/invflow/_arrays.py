"""Arrays in NumPy's files, whose headers are checked before any memory is used."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from invflow._readable import check_expansion, first_line, opened

#: Readers of the header, by version; a later version is only needed for records.
HEADERS: dict[Any, Any] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}


def read(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return the array of an `.npy` file, or the arrays of an `.npz` file by name.

    Which of them it is, its first bytes say, not its name.

    Raises:
        OSError, ValueError: as `check_readable`.
        ValueError: if it is neither, is damaged, holds Python objects, does not fit into memory, or
            expands to much more than its size.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(len(npy.MAGIC_PREFIX))
        try:
            if start == npy.MAGIC_PREFIX:
                return _array(file, size)
            if not zipfile.is_zipfile(file):
                truncated = start.startswith(b"PK")
                raise ValueError(
                    "the .npz file is truncated" if truncated else "it is not an .npz or .npy file"
                )
            with zipfile.ZipFile(file) as archive:
                members = [each for each in archive.infolist() if each.filename.endswith(".npy")]
                check_expansion(path, sum(each.file_size for each in members), size)
                return dict(_named(archive, member) for member in members)
        except MemoryError as error:
            raise ValueError(f"{path} cannot be read: it does not fit into memory") from error
        except Exception as error:  # damaged bytes raise many kinds of errors
            reason = first_line(error)
            if reason.startswith(str(path)):
                raise
            raise ValueError(f"{path} cannot be read: {reason}") from error


def _named(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, NDArray[Any]]:
    name = member.filename.removesuffix(".npy")
    try:
        with archive.open(member) as content:
            return name, _array(content, member.file_size)
    except ValueError as error:
        raise ValueError(f"array {name!r}: {error}") from error


def _array(content: IO[bytes], size: int) -> NDArray[Any]:
    """Return an array from the `size` bytes of an `.npy` file."""
    content.seek(0)
    try:
        shape, _, dtype = HEADERS[npy.read_magic(content)](content)
    except Exception as error:  # it is parsed as a Python literal, which may fail in any way
        raise ValueError("its header is damaged") from error
    if dtype.hasobject:
        raise ValueError(
            "it holds Python objects; save it as an array of numbers, or of text with astype(str)"
        )
    claimed, there = math.prod(shape) * dtype.itemsize, size - content.tell()
    if dtype.itemsize == 0 or min(shape, default=0) < 0 or claimed > there:
        raise ValueError(
            f"it is truncated or damaged: shape {shape} and dtype {dtype} take {claimed:,} bytes, "
            f"got {there:,}"
        )
    content.seek(0)
    return npy.read_array(content, allow_pickle=False)
