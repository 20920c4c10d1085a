"""Neural posterior estimation: a flow over parameters, given the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._modes import evaluating
from invflow.simulation.assess import Assessment, assess
from invflow.simulation.distance import Distance
from invflow.simulation.given import at
from invflow.simulation.learned import Learned, load
from invflow.simulation.network import features
from invflow.simulation.posterior import Posterior
from invflow.simulation.prior import as_prior
from invflow.simulation.simulations import Simulations, check_rows, observed, one
from invflow.simulation.standard import bent
from invflow.training.batches import generator


class NPE:
    """Posteriors for any data of the simulator, learned from simulations; made by `fit`.

    Args:
        learned: flows over parameters, given data.
    """

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        self.prior = learned.prior

    def posterior(self, data: Any) -> Posterior:
        """Return the posterior given observed data.

        Args:
            data: of one observation, (*shape): a tensor, an array or lists; a mapping from the
                names of summaries to numbers; or a data frame with one row.

        Raises:
            TypeError, ValueError: if these are not data like those of the simulations.

        Warns:
            UserWarning: if the data are far from the simulations.
        """
        x = one(self._observed(data))
        distance = self.distance(x)
        if distance.is_far:
            warnings.warn(
                f"{distance}. The posterior is an extrapolation: simulate nearer to the data, or "
                "see whether the simulator can be right",
                UserWarning,
                stacklevel=2,
            )
        flows = [
            at(each.flow, context[0])
            for each, context in zip(self.learned.networks, self._contexts(x), strict=True)
        ]
        return Posterior(
            self.prior, flows, self.learned.parameters, seed=self.learned.seed, distance=distance
        )

    def distance(self, data: Any) -> Distance:
        """Return how far observed data are from the simulations.

        Args:
            data: as for `posterior`.
        """
        x = one(self._observed(data))
        return self.learned.reference.distance(self._features(x), x, self.learned.summaries)

    @torch.no_grad()
    def log_prob(self, parameters: Any, data: Any) -> Tensor:
        """Return the log density of parameters given data, row by row, in nats.

        Args:
            parameters: shape (*batch, rows, numbers).
            data: shape (rows, *shape).

        Returns:
            Shape (*batch, rows), float64.
        """
        theta = self.prior.vectors(parameters)
        x = self._observed(data)
        check_rows("parameters", theta, len(x))
        z = self.prior.unconstrain(theta)
        ladj = self.prior.constrain(z)[1] + self.learned.parameters.log_scale
        u = self.learned.parameters.forward(z).float()
        log_prob = self.learned.log_prob(self._contexts(x), u) - ladj
        return torch.where(self.prior.contains(theta), log_prob, -torch.inf)

    @torch.no_grad()
    def sample(self, data: Any, n: int, *, seed: int | None = None) -> Tensor:
        """Return draws of the posterior of each of many observations, (n, rows, numbers).

        Args:
            data: shape (rows, *shape).
            n: number of draws for each.
            seed: random seed; by default that of the fit.
        """
        x = self._observed(data)
        n = _checks.positive_integer("n", n)
        random = generator("cpu", self.learned.seed if seed is None else seed)
        u = self.learned.draws(self._contexts(x), n, random)
        return self.prior.constrain(self.learned.parameters.inverse(u))[0]

    def assess(self, simulations: Simulations, *, draws: int = 200) -> Assessment:
        """Return how well the posteriors hold for simulations that were not learned from.

        For the neighbourhood of observed data, take the simulations that are `nearest` to them.

        Args:
            simulations: from the prior.
            draws: number of draws of the posterior of each.

        Raises:
            ValueError: if there are too few, or some were learned from.
        """
        self.learned.check(simulations)

        def sample(x: Tensor, n: int, seed: int) -> Tensor:
            return self.sample(x, n, seed=seed)

        theta, x = simulations.parameters, simulations.data
        seed = self.learned.seed
        return assess(self.prior.names, theta, x, sample, self.log_prob, draws, seed)

    def nearest(self, simulations: Simulations, data: Any, count: int = 200) -> Simulations:
        """Return the simulations whose data are most like observed data.

        Args:
            simulations: of which some are returned.
            data: as for `posterior`.
            count: number of simulations.
        """
        x = one(self._observed(data))
        own, others = map(self.learned.reference.white, map(self._features, (x, simulations.data)))
        count = _checks.positive_integer("count", count)
        order = torch.cdist(own, others)[0].argsort()
        return simulations[order[:count]]

    def save(self, directory: str | Path) -> None:
        """Write what was learned into a directory; load it with `load`.

        Raises:
            OSError: if the disk is full, or a file cannot be written.
        """
        self.learned.save(Path(directory), "npe")

    @classmethod
    def load(cls, directory: str | Path, prior: Any, *, embedding: nn.Module | None = None) -> NPE:
        """Return what `save` has written. No code from the files is run.

        Args:
            directory: where it was saved.
            prior: the one it was fitted with, which is code, and is not saved.
            embedding: the module it was fitted with, if it was given as one.

        Raises:
            FileNotFoundError, OSError: if a file is missing or cannot be read.
            ValueError: if a file is damaged or of another kind, or the prior has other parameters.
        """
        return cls(load(Path(directory), "npe", as_prior(prior), embedding))

    def _observed(self, data: Any) -> Tensor:
        return observed(data, self.learned.shape, self.learned.summaries)

    def _contexts(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the context of each network for data, (rows, *shape)."""
        rows = self._given(x).float()
        for each in self.learned.networks:
            with evaluating(each):
                yield each.context(rows)

    def _features(self, x: Tensor) -> Tensor:
        """Return what describes data, (rows, *shape), in the reference: shape (rows, features)."""
        return features(self.learned.networks, self._given(x), self.learned.embedding)

    def _given(self, x: Tensor) -> Tensor:
        """Return data as networks take them."""
        return bent(self.learned.data.forward(x))
