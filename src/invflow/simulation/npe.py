"""Neural posterior estimation: a flow over parameters, given the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from invflow import _checks
from invflow._modes import evaluating
from invflow.simulation.assess import Assessment, assess
from invflow.simulation.distance import Distance, Reference
from invflow.simulation.given import at
from invflow.simulation.learning import Conditional
from invflow.simulation.posterior import Posterior
from invflow.simulation.prior import Prior
from invflow.simulation.simulations import Simulations, observed
from invflow.simulation.standard import Standard
from invflow.training.batches import generator

#: Rows that are evaluated or drawn at once.
ROWS_AT_ONCE = 4096


class NPE:
    """Posteriors for any data of the simulator, learned from simulations; made by `fit`.

    Args:
        prior: of the parameters.
        networks: an ensemble of flows over standardised parameters, given data.
        parameters: location and scale of the unconstrained parameters.
        data: location and scale of the data.
        reference: what observed data are compared with.
        shape: of the data of a simulation.
        summaries: their names, if they are vectors.
        seed: random seed of draws.
    """

    method = "npe"

    def __init__(
        self,
        prior: Prior,
        networks: Sequence[Conditional],
        parameters: Standard,
        data: Standard,
        reference: Reference,
        shape: tuple[int, ...],
        summaries: tuple[str, ...],
        seed: int,
    ) -> None:
        self.prior, self.networks = prior, list(networks)
        self.parameters, self.data, self.reference = parameters, data, reference
        self.shape, self.summaries, self.seed = shape, summaries, seed

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
        x = _one(observed(data, self.shape, self.summaries))
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
            for each, context in zip(self.networks, self._contexts(x), strict=True)
        ]
        return Posterior(self.prior, flows, self.parameters, seed=self.seed, distance=distance)

    def distance(self, data: Any) -> Distance:
        """Return how far observed data are from the simulations.

        Args:
            data: as for `posterior`.
        """
        x = _one(observed(data, self.shape, self.summaries))
        with torch.no_grad():
            features = torch.cat(list(self._contexts(x)), -1)
        return self.reference.distance(features, x, self.summaries)

    @torch.no_grad()
    def log_prob(self, parameters: Any, data: Any) -> Tensor:
        """Return the log density of parameters given data, row by row, in nats.

        Args:
            parameters: shape (rows, numbers).
            data: shape (rows, *shape).

        Returns:
            Shape (rows,), float64.
        """
        theta = self.prior.vectors(parameters)
        x = observed(data, self.shape, self.summaries)
        z = self.prior.unconstrain(theta)
        ladj = self.prior.constrain(z)[1] + self.parameters.log_scale
        u = self.parameters.forward(z).float()
        parts = [
            each.flow(context, validate_args=False).log_prob(u)
            for each, context in zip(self.networks, self._contexts(x), strict=True)
        ]
        mean = torch.stack(parts).double().logsumexp(0) - torch.tensor(len(parts)).double().log()
        return torch.where(self.prior.contains(theta), mean - ladj, -torch.inf)

    @torch.no_grad()
    def sample(self, data: Any, n: int, *, seed: int | None = None) -> Tensor:
        """Return draws of the posterior of each of many observations, (n, rows, numbers).

        Args:
            data: shape (rows, *shape).
            n: number of draws for each.
            seed: random seed; by default that of the fit.
        """
        x = observed(data, self.shape, self.summaries)
        n = _checks.positive_integer("n", n)
        random = generator("cpu", self.seed if seed is None else seed)
        flow_of = torch.randint(len(self.networks), (n, len(x), 1), generator=random)
        u = torch.zeros(n, len(x), self.prior.dim)
        for k, (each, context) in enumerate(zip(self.networks, self._contexts(x), strict=True)):
            drawn = each.flow(context, validate_args=False).sample((n,), generator=random)
            u = torch.where(flow_of == k, drawn, u)
        return self.prior.constrain(self.parameters.inverse(u.double()))[0]

    def assess(self, simulations: Simulations, *, draws: int = 200) -> Assessment:
        """Return how well the posteriors hold for simulations that were not learned from.

        For the neighbourhood of observed data, take the simulations that are `nearest` to them.

        Args:
            simulations: from the prior.
            draws: number of draws of the posterior of each.
        """
        return assess(self, simulations, draws, self.seed)

    def nearest(self, simulations: Simulations, data: Any, count: int = 200) -> Simulations:
        """Return the simulations whose data are most like observed data.

        Args:
            simulations: of which some are returned.
            data: as for `posterior`.
            count: number of simulations.
        """
        x = _one(observed(data, self.shape, self.summaries))
        with torch.no_grad():
            own, others = (
                torch.cat(list(self._contexts(rows)), -1) for rows in (x, simulations.data)
            )
        white = [
            (each.double() - self.reference.location) @ self.reference.whiten
            for each in (own, others)
        ]
        order = torch.cdist(white[0], white[1])[0].argsort()
        return simulations[order[:count]]

    def _contexts(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the context of each network for data, (rows, *shape)."""
        rows = self.data.forward(x).float()
        for each in self.networks:
            with evaluating(each):
                yield torch.cat([each.embedding(part) for part in rows.split(ROWS_AT_ONCE)])


def _one(x: Tensor) -> Tensor:
    if len(x) != 1:
        raise ValueError(
            f"observed must be one observation, got {len(x)}: for several of the same parameters, "
            'simulate sets of them and fit with an embedding such as "mean", or fit with "nle"'
        )
    return x
