"""Location and scale of numbers, so that networks see them at unit scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

#: Distance of the quartiles of a standard normal distribution.
QUARTILES = 1.349
#: Standard deviations up to which `bent` changes nothing.
STRAIGHT = 5.0


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

    @classmethod
    def robust(cls, rows: Tensor) -> Self:
        """Return median and normal quartile range, which a few extreme rows do not change.

        Where half of the rows have the same number, mean and standard deviation are returned.

        Args:
            rows: as for `of`.

        Example:
            >>> Standard.robust(torch.tensor([[0.0], [1.0], [2.0], [3.0], [1e9]])).location
            tensor([2.])
        """
        plain = cls.of(rows)
        kept = rows.ndim - 1 if rows.ndim < 4 else 1
        numbers = rows.movedim(kept, -1).reshape(-1, rows.shape[kept])
        low, middle, high = (
            _quantile(numbers, p).reshape(plain.location.shape) for p in (0.25, 0.5, 0.75)
        )
        varies = high > low
        return cls(
            torch.where(varies, middle, plain.location),
            torch.where(varies, (high - low) / QUARTILES, plain.scale),
        )

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


def bent(rows: Tensor) -> Tensor:
    """Return rows at unit scale, logarithmic far out, where a few would drown all others.

    Example:
        >>> bent(torch.tensor([-2.0, 5.0, 1e6])).round(decimals=1)
        tensor([-2.0000,  5.0000, 18.8000])
    """
    beyond = (rows.abs() - STRAIGHT).clamp(min=0)
    return rows - rows.sign() * (beyond - beyond.log1p())


def _quantile(numbers: Tensor, p: float) -> Tensor:
    """Return a quantile of each column; `torch.quantile` takes few rows only."""
    return numbers.kthvalue(1 + round(p * (len(numbers) - 1)), 0).values
