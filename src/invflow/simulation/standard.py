"""Location and scale of numbers, so that networks see them at unit scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standard:
    """A location and a scale, which broadcast against rows of the data they were measured on.

    Args:
        location: mean.
        scale: standard deviation.
    """

    location: Tensor
    scale: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Self:
        """Return those of each number of vectors, or of each channel of series, sets and images.

        Args:
            rows: shape (rows, numbers), (rows, steps, channels) or (rows, channels, ...).

        Example:
            >>> Standard.of(torch.tensor([[0.0, 1.0], [2.0, 5.0]])).location
            tensor([1., 3.])
        """
        kept = rows.ndim - 1 if rows.ndim < 4 else 1
        over = tuple(i for i in range(rows.ndim) if i != kept)
        scale, location = torch.std_mean(rows, over, correction=0, keepdim=True)
        # A channel may be constant, such as the border of images.
        scale = torch.where(scale > 0, scale, 1.0)
        return cls(location[0], scale[0])

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows at unit scale."""
        return (rows - self.location) / self.scale

    def inverse(self, rows: Tensor) -> Tensor:
        """Return rows as they were."""
        return self.location + self.scale * rows

    @property
    def log_scale(self) -> Tensor:
        """Sum of the logarithms of the scales."""
        return self.scale.log().sum()
