"""A conditioner and the univariate map whose parameters it computes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from invflow.conditioners import Conditioner
from invflow.conditioners.soft_clip import soft_clip
from invflow.univariate import Univariate


class Pair(NamedTuple):
    """A conditioner and a univariate map: x = u(z; P(r(z), c)).

    Attributes:
        conditioner: P, computes the parameters.
        univariate: u, the map of each feature.
        input_bound: the bound of r, on what the conditioner reads.
    """

    conditioner: Conditioner
    univariate: Univariate
    input_bound: float

    def params(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Return the parameters at z, (*batch, features, outputs)."""
        return self.conditioner(soft_clip(z, self.input_bound), context)
