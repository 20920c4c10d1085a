"""What every base provides: a distribution of noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from invflow import _checks
from invflow._part import Part


class Base(Part, ABC):
    """A distribution of noise vectors.

    Args:
        features: size of the vectors, D.
    """

    #: Whether samples carry gradients to the base's parameters.
    has_rsample = True
    #: Whether the constructor takes a `generator`, for random initial weights.
    takes_generator = False

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = _checks.positive_integer("features", features)

    @property
    def centre(self) -> Tensor | float | None:
        """The point about which the noise is symmetric; None if there is none, or unknown."""
        return None

    @abstractmethod
    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return reparameterised noise of shape (*shape, features).

        Raises:
            NotImplementedError: if `has_rsample` is False.
        """

    def sample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return noise of shape (*shape, features), without a gradient."""
        with torch.no_grad():
            return self.rsample(shape, dtype=dtype, device=device, generator=generator)

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density of `z`, (*batch, features), in nats: shape `batch`."""

    def cdf(self, z: Tensor) -> Tensor:
        """Return the probability of values up to `z`, of each feature by itself, shaped like `z`.

        Raises:
            NotImplementedError: if there is no formula for it.
        """
        raise self._lacks("distribution function")

    def icdf(self, p: Tensor) -> Tensor:
        """Return the quantile of each feature by itself, shaped like `p`, which lies in (0, 1).

        Raises:
            NotImplementedError: if there is no formula for it.
        """
        raise self._lacks("quantile function")

    def _lacks(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} noise has no formula for its {what}")

    def config(self) -> dict[str, Any]:
        """Return the arguments, other than the number of features, that rebuild this base."""
        return {}
