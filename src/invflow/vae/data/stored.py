"""Arrays in `.npz` and `.npy` files, checked before memory is allocated for them."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

#: Files that expand to more bytes than this may expand at most `MAX_RATIO` times.
MAX_EXPANDED = 2**28
MAX_RATIO = 100


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file by name, or that of an `.npy` file as "images".

    Raises:
        ValueError: if the file is not one of these, is damaged, holds Python objects, or expands to
            much more than its size.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(npy.MAGIC_PREFIX))
            if start == npy.MAGIC_PREFIX:
                return {"images": _array(file, path.stat().st_size)}
            if not zipfile.is_zipfile(file):
                raise ValueError(_not_arrays(start))
            with zipfile.ZipFile(file) as archive:
                return _members(archive, path.stat().st_size)
    except MemoryError as error:
        raise ValueError(f"{path} cannot be read: its arrays do not fit in memory") from error
    except Exception as error:  # damaged bytes raise many kinds of errors
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} cannot be read: {cause}") from error


def _not_arrays(start: bytes) -> str:
    if not start:
        return "it is empty"
    if start.startswith(b"PK"):
        return "the .npz file is truncated"
    return "it is not an .npz or .npy file; to read image files, give the folder that holds them"


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, NDArray[Any]]:
    members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    expanded = sum(member.file_size for member in members)
    if expanded > MAX_EXPANDED and expanded > MAX_RATIO * size:
        raise ValueError(
            f"its {size:,} bytes expand to {expanded:,}, more than {MAX_RATIO} times as many; "
            "if that is right, save it uncompressed (numpy.savez)"
        )
    found: dict[str, NDArray[Any]] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        with archive.open(member) as content:
            try:
                found[name] = _array(content, member.file_size)
            except ValueError as error:
                raise ValueError(f"array {name!r}: {error}") from error
    return found


def _array(content: IO[bytes], size: int) -> NDArray[Any]:
    """Return an array from the `size` bytes of an `.npy` file."""
    content.seek(0)
    try:
        first = npy.read_magic(content) == (1, 0)
        read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
        shape, _, dtype = read(content)
    except Exception as error:  # it is parsed as a Python literal
        raise ValueError("its header is damaged") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save it as an array of numbers")
    claimed, there = math.prod(shape) * dtype.itemsize, size - content.tell()
    if min(shape, default=0) < 0 or claimed > there:
        raise ValueError(
            f"it is truncated or damaged: shape {shape} and dtype {dtype} take {claimed:,} bytes, "
            f"got {there:,}"
        )
    content.seek(0)
    return npy.read_array(content, allow_pickle=False)
