"""A target's log density as the fit sees it: checked, counted, and free of NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow import _log_density
from invflow._log_density import checked
from invflow.vi.targets.target import Target

#: Vectors evaluated in one call where there are many.
VECTORS_AT_ONCE = 4096


class Density:
    """Evaluates a target and counts the evaluations, and those that are not finite.

    Args:
        target: the target to evaluate.
        generator: random numbers for targets that subsample their data.
    """

    def __init__(self, target: Target, generator: torch.Generator) -> None:
        self.target = target
        self.generator = generator
        self.evaluations = 0
        self.rejected = 0

    def exact(self, z: Tensor) -> Tensor:
        """Return the log density at `z`, (batch, dim), without a graph; -inf where not finite."""
        with torch.no_grad():
            value = checked(self.target.log_density(z), z.shape[:1])
        return self._counted(value, torch.isfinite(value))

    def scores(self, z: Tensor, *, exact: bool = True) -> tuple[Tensor, Tensor]:
        """Return the log density, (batch,), and its gradient, (batch, dim).

        Where either is not finite, the log density is -inf and the gradient zero.

        Args:
            z: shape (batch, dim).
            exact: use all of the data, not an estimate from some of them.

        Raises:
            TypeError: if the log density is not a tensor of floating-point numbers.
            ValueError: if it has the wrong shape, or no gradient.
        """

        def log_density(z: Tensor) -> Tensor:
            return self.target.log_density(z) if exact else self.target.estimate(z, self.generator)

        value, score = _log_density.scores(log_density, z)
        good = torch.isfinite(value) & torch.isfinite(score).all(-1)
        score = torch.where(good.unsqueeze(-1), score, 0.0)
        return self._counted(value.to(z.dtype), good), score

    def _counted(self, value: Tensor, good: Tensor) -> Tensor:
        self.evaluations += len(value)
        self.rejected += int((~good).sum())
        return torch.where(good, value, -torch.inf)
