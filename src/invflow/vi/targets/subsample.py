"""A posterior given many rows of data, of which a training step uses a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow import _checks
from invflow.vi.targets.target import Target
from invflow.vi.targets.vectors import tensor

#: Most terms of the sum, draws times rows, in memory at a time.
TERMS_AT_ONCE = 2**22


class Subsampled(Target):
    r"""A prior, and a likelihood that is a sum over rows of data.

    $$\log p(z) = \log p_0(z) + \sum_{i=1}^N \log p(y_i | z) \approx \log p_0(z) +
    \frac{N}{n} \sum_{i \in S} \log p(y_i | z)$$

    Training uses the estimate on the right, from n rows S drawn again for every step and shared by
    its draws. Modes, bounds and the verdict use all rows, a chunk at a time.

    Args:
        prior: the log density without the data; its parameters are passed to the likelihood.
        log_likelihood: takes some rows of each array, and the parameters by name, (batch, *shape)
            each, and returns (batch, rows).
        data: tensors, arrays or lists with N rows each.
        batch_size: n.

    Raises:
        TypeError: if the prior, the likelihood or the data have the wrong type.
        ValueError: if the data are empty or differ in length, or the batch size is out of range.

    Example:
        >>> from torch.distributions import Normal, constraints
        >>> from invflow.vi import Named
        >>> prior = Named(Normal(0.0, 1.0).log_prob, {"value": constraints.real})
        >>> likelihood = lambda y, value: Normal(value[:, None], 1.0).log_prob(y)
        >>> target = Subsampled(prior, likelihood, [torch.zeros(1000)], batch_size=50)
        >>> target.estimate(torch.zeros(2, 1), torch.Generator()).shape
        torch.Size([2])
    """

    def __init__(
        self,
        prior: Target,
        log_likelihood: Callable[..., Tensor],
        data: Sequence[Any],
        batch_size: int,
    ) -> None:
        if not isinstance(prior, Target):
            raise TypeError(f"prior must be a Target, got {type(prior).__name__}")
        if not callable(log_likelihood):
            raise TypeError(
                f"log_likelihood must be a function, got {type(log_likelihood).__name__}"
            )
        if isinstance(data, Tensor | np.ndarray):
            raise TypeError("data must be a sequence of arrays, got one array: pass (data,)")
        arrays = [tensor(f"data[{i}]", each) for i, each in enumerate(data)]
        lengths = [len(each) if each.ndim else 0 for each in arrays]
        if not lengths or len(set(lengths)) > 1 or not lengths[0]:
            raise ValueError(f"data must be arrays of one length, at least 1, got {lengths}")
        self._prior, self._likelihood, self._data = prior, log_likelihood, arrays
        self.dim, self.rows = prior.dim, lengths[0]
        self.angles, self.angular = prior.angles, prior.angular
        self.batch_size = _checks.positive_integer("batch_size", batch_size)
        if batch_size > self.rows:
            raise ValueError(f"batch_size must be at most {self.rows} rows, got {batch_size}")

    def log_density(self, z: Tensor) -> Tensor:
        size = max(TERMS_AT_ONCE // max(len(z), 1), 1)
        total = self._prior.log_density(z)
        for first in range(0, self.rows, size):
            total = total + self._sum(z, slice(first, first + size))
        return total

    def estimate(self, z: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.randperm(self.rows, generator=generator)[: self.batch_size]
        scale = self.rows / self.batch_size
        return self._prior.log_density(z) + scale * self._sum(z, chosen)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return self._prior.constrain(z)

    def log_likelihood(self, z: Tensor) -> dict[str, Tensor]:
        """Return the log likelihood of each row, (batch, rows), under the name "data"."""
        size = max(TERMS_AT_ONCE // max(len(z), 1), 1)
        firsts = range(0, self.rows, size)
        parts = [self._terms(z, slice(first, first + size)) for first in firsts]
        return {"data": torch.cat(parts, -1)}

    def _sum(self, z: Tensor, rows: slice | Tensor) -> Tensor:
        return self._terms(z, rows).sum(-1)

    def _terms(self, z: Tensor, rows: slice | Tensor) -> Tensor:
        terms = self._likelihood(*(array[rows] for array in self._data), **self.constrain(z))
        count = len(self._data[0][rows])
        if terms.shape != (len(z), count):
            raise ValueError(
                f"log_likelihood must return shape ({len(z)}, {count}) for {len(z)} draws and "
                f"{count} rows, got {tuple(terms.shape)}"
            )
        return terms
