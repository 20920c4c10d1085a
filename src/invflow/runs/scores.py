"""What a finished run keeps of each test image, row or draw: columns of numbers, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from invflow import _tensors

FILE = "scores.safetensors"


class Column(NamedTuple):
    """What a column must be like.

    Attributes:
        sizes: its shape: numbers, and names of sizes that are the same wherever they appear.
        dtype: `torch.float64`, or `torch.int64`.
        bounded: whether minus infinity, the logarithm of zero, is excluded.
    """

    sizes: tuple[int | str, ...]
    dtype: torch.dtype = torch.float64
    bounded: bool = True


def write(directory: Path, columns: Mapping[str, Tensor]) -> None:
    """Write columns into the file of a run, which appears whole or not at all.

    Raises:
        OSError: if the disk is full, or the file cannot be written.
    """
    _tensors.write(directory / FILE, columns)


def read(directory: Path, expected: Mapping[str, Column]) -> dict[str, Tensor]:
    """Return the columns of a run.

    Args:
        directory: of the run.
        expected: what the columns must be like, by name.

    Raises:
        FileNotFoundError: if there is no file.
        OSError: if it cannot be read, or does not fit into memory.
        ValueError: if it is damaged, or its columns are not as expected, or hold NaN or infinity.
    """
    path = directory / FILE
    sizes = _tensors.header(path).sizes
    if sizes.keys() != expected.keys():
        found, wanted = (", ".join(sorted(names)) or "none" for names in (sizes, expected))
        raise ValueError(f"{path} must have the scores {wanted}, got {found}")
    lengths: dict[str, int] = {}
    for name, column in expected.items():
        _check_size(f"{path}: {name}", sizes[name], column, lengths)
    columns, _ = _tensors.read(path)
    for name, column in expected.items():
        _check_values(f"{path}: {name}", columns[name], column)
    return columns


def _check_size(what: str, there: Tensor, column: Column, lengths: dict[str, int]) -> None:
    """See that a column has its dtype and shape; record its named sizes, or compare them."""
    if there.dtype != column.dtype:
        raise ValueError(f"{what} must have {column.dtype}, got {there.dtype}")
    shape = tuple(there.shape)
    wanted = column.sizes
    if len(shape) == len(column.sizes):
        named = zip(column.sizes, shape, strict=True)
        wanted = tuple(lengths.setdefault(k, n) if isinstance(k, str) else k for k, n in named)
    if shape != wanted:
        raise ValueError(f"{what} must have shape ({', '.join(map(str, wanted))}), got {shape}")


def _check_values(what: str, values: Tensor, column: Column) -> None:
    """See that a column holds numbers."""
    if not values.is_floating_point():
        return
    bad = ~values.isfinite() if column.bounded else values.isnan() | values.isposinf()
    if bool(bad.any()):
        raise ValueError(f"{what} must be numbers, got NaN or infinity {int(bad.sum())} times")
