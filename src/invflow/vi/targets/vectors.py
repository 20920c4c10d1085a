"""Vectors as people have them: tensors, arrays of NumPy, lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensor(name: str, value: Any) -> Tensor:
    """Return real numbers as a tensor: tensors as they are, others in their own precision.

    Masked values are NaN.

    Args:
        name: of the argument, for errors.
        value: a tensor, an array or nested lists.

    Raises:
        TypeError: if these are not real numbers, or lists of different lengths.

    Example:
        >>> tensor("x", [[1, 2]])
        tensor([[1, 2]])
    """
    if isinstance(value, Tensor):
        if value.is_complex():
            raise TypeError(f"{name} must hold real numbers, got dtype {value.dtype}")
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a tensor, an array or nested lists: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must be a tensor, an array or nested lists of real numbers, "
            f"got {type(value).__name__} of dtype {array.dtype}"
        )
    if isinstance(value, np.ma.MaskedArray):
        array = np.where(np.ma.getmaskarray(value), np.nan, array)
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(array.astype(np.float64 if native == np.longdouble else native))


def vectors(name: str, value: Any, dim: int, like: Tensor) -> Tensor:
    """Return vectors, (*batch, dim), in the dtype and on the device of `like`.

    Args:
        name: of the argument, for errors.
        value: a tensor, an array or nested lists.
        dim: size of the vectors.
        like: a tensor.

    Raises:
        TypeError: if these are not real numbers, or lists of different lengths.
        ValueError: if the last dimension is not `dim`.

    Example:
        >>> vectors("z", [[1, 2], [3, 4]], 2, torch.zeros(1))
        tensor([[1., 2.],
                [3., 4.]])
    """
    found = tensor(name, value)
    if not found.ndim or found.shape[-1] != dim:
        raise ValueError(f"{name} must have shape (*batch, {dim}), got {tuple(found.shape)}")
    return found.to(like)
