r"""How far observed data are from the simulations.

Data are described by features at unit scale and without correlation. The distance is that to the
k-th nearest simulation, and its p-value the fraction of simulations that are at least as far from
the others:

$$p = \frac{1 + \#\{i : d_i \ge d\}}{1 + n} .$$
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from invflow.simulation.simulations import listed

#: Largest number of simulations that data are compared with.
MOST = 2000
#: Which nearest simulation the distance is to.
NEAREST = 5
#: Variances below this fraction of the largest one count as this large.
SMALLEST_VARIANCE = 1e-8
#: p-value below which observed data are called far.
FAR = 0.01
#: Multiple of the largest distance among the simulations above which they are too.
BEYOND = 2.0


@dataclass(frozen=True)
class Distance:
    """How far observed data are from the simulations. `str()` returns it as text.

    Args:
        p_value: fraction of the simulations that are at least as far from the others.
        ratio: the distance as a multiple of the largest one among the simulations, which tells also
            if these are few.
        outside: summaries beyond those of all simulations, as text.
    """

    p_value: float
    ratio: float = 0.0
    outside: tuple[str, ...] = ()

    @property
    def is_far(self) -> bool:
        """Whether a posterior given these data would be an extrapolation."""
        return self.p_value < FAR or self.ratio > BEYOND

    def __str__(self) -> str:
        where = "far from" if self.is_far else "within"
        text = (
            f"the observed data are {where} the simulations (p-value {self.p_value:.2g}, the "
            "fraction of simulations that are at least as far from the others)"
        )
        if self.ratio > BEYOND:
            text += f"; the distance is {self.ratio:.3g} times the largest among the simulations"
        if self.outside:
            text += f"; outside of their range: {listed(self.outside)}"
        return text


@dataclass(frozen=True)
class Reference:
    """What data are compared with.

    Args:
        location: mean of the features of the simulations, shape (features,).
        whiten: makes these uncorrelated, shape (features, features).
        points: some of the simulations, shape (points, features).
        distances: of each of these from the others, shape (points,).
        low: smallest value of each summary, shape (summaries,); empty if data are not vectors.
        high: largest value of each summary.
    """

    location: Tensor
    whiten: Tensor
    points: Tensor
    distances: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, features: Tensor, data: Tensor, seed: int) -> Self:
        """Return the reference of simulations.

        Args:
            features: that describe their data, shape (simulations, features).
            data: shape (simulations, *shape).
            seed: random seed of the choice of points.
        """
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
        features = features.double()
        location = features.mean(0)
        covariance = torch.atleast_2d((features - location).T.cov(correction=0))
        values, axes = torch.linalg.eigh(covariance)
        floor = (SMALLEST_VARIANCE * values.max()).clamp(min=1e-30)
        whiten = axes / torch.maximum(values, floor).sqrt()
        points = (features[order[:MOST]] - location) @ whiten
        between = torch.cdist(points, points).fill_diagonal_(torch.inf)
        k = min(NEAREST, len(points) - 1)
        distances = between.kthvalue(k, -1).values
        vectors = data if data.ndim == 2 else data.flatten(1)[:, :0]
        return cls(location, whiten, points, distances, vectors.amin(0), vectors.amax(0))

    @torch.no_grad()
    def distance(self, features: Tensor, data: Tensor, names: Sequence[str]) -> Distance:
        """Return how far observed data are, the farthest of several observations.

        Args:
            features: that describe the observations, shape (observations, features).
            data: shape (observations, *shape).
            names: of the summaries.
        """
        rows = self.white(features)
        k = min(NEAREST, len(self.points) - 1)
        found = torch.cdist(rows, self.points).kthvalue(k, -1).values
        farther = (self.distances >= found[:, None]).sum(-1)
        p_values = (1 + farther) / (1 + len(self.points))
        corrected = min(1.0, float(p_values.min()) * len(rows))
        ratio = float(found.max() / self.distances.max().clamp(min=1e-30))
        return Distance(corrected, ratio, tuple(self._outside(data, names)))

    def white(self, features: Tensor) -> Tensor:
        """Return features, (rows, features), at unit scale and without correlation."""
        return (features.double() - self.location) @ self.whiten

    def _outside(self, data: Tensor, names: Sequence[str]) -> list[str]:
        found: list[str] = []
        for i, name in enumerate(names):
            value = data[:, i]
            beyond = value[(value < self.low[i]) | (value > self.high[i])]
            if len(beyond):
                low, high = float(self.low[i]), float(self.high[i])
                found.append(f"{name} = {float(beyond[0]):.4g}, not in [{low:.4g}, {high:.4g}]")
        return found
