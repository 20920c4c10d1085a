"""A target with angles, in a chart of each circle."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.transforms import Circles
from invflow.vi.targets.target import Target


class Charted(Target):
    """A target with angles, as one over unconstrained vectors.

    Args:
        target: a target with angles.
        centre: of each circle, (angles,).
        concentration: of each circle, (angles,).
    """

    def __init__(self, target: Target, centre: Tensor, concentration: Tensor) -> None:
        self.target, self.dim = target, target.dim
        self.circles = Circles(target.dim, target.angles).double()
        self.circles.set(centre, concentration)

    def log_density(self, z: Tensor) -> Tensor:
        x, ladj = self.circles(z)
        return self.target.log_density(x) + ladj

    def estimate(self, z: Tensor, generator: torch.Generator) -> Tensor:
        x, ladj = self.circles(z)
        return self.target.estimate(x, generator) + ladj

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return self.target.constrain(self.circles(z)[0])
