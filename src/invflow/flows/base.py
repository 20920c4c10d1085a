"""Where flows start from: distributions of noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invflow import _checks


class Base(nn.Module, ABC):
    """A distribution of noise vectors.

    Args:
        features: size of the vectors, D.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = _checks.positive_integer("features", features)

    @abstractmethod
    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return noise of shape (*shape, features)."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density of `z`, (*batch, features), in nats: shape `batch`."""


class StandardNormal(Base):
    r"""Independent normals: $\log p(z) = -\tfrac12 \sum_i z_i^2 - \tfrac{D}{2} \log 2\pi$.

    Args:
        features: size of the vectors, D.

    Raises:
        TypeError: `features` is not an integer.
        ValueError: `features` is below 1.

    Example:
        >>> import torch
        >>> StandardNormal(2).log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return torch.randn(*shape, self.features, dtype=dtype, device=device, generator=generator)

    def log_prob(self, z: Tensor) -> Tensor:
        constant = 0.5 * self.features * math.log(2 * math.pi)
        return -0.5 * z.square().sum(-1) - constant
