"""The log likelihood of each observation, as a function that a user wrote returns it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

#: Takes vectors, or parameters by name, and returns log likelihoods by the name of the data.
LogLikelihood = Callable[..., Mapping[str, Tensor]]


def pointwise(found: Any, draws: int) -> dict[str, Tensor]:
    """Return what `log_likelihood` has returned for some draws, if it has a row for each.

    Raises:
        TypeError: if it is not a mapping of tensors.
        ValueError: if a tensor has another number of rows.

    Example:
        >>> import torch
        >>> pointwise({"y": torch.zeros(2, 3)}, draws=2)["y"].shape
        torch.Size([2, 3])
    """
    if not isinstance(found, Mapping):
        raise TypeError(
            "log_likelihood must return a mapping from names of data to tensors, got "
            f'{type(found).__name__}: return {{"y": ...}}'
        )
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"log_likelihood must return tensors, got {type(value).__name__} for {name!r}"
            )
        if value.shape[:1] != (draws,):
            raise ValueError(
                f"log_likelihood must return shape ({draws}, ...) for {draws} draws, a number for "
                f"each observation, got {tuple(value.shape)} for {name!r}"
            )
    return {str(name): value for name, value in found.items()}
