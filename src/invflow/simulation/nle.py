"""Neural likelihood estimation: a flow over the data, given the parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from invflow.simulation.distance import Distance, Reference
from invflow.simulation.learning import Conditional
from invflow.simulation.posterior import Posterior
from invflow.simulation.prior import Prior, Unnormalised
from invflow.simulation.simulations import observed
from invflow.simulation.standard import Standard
from invflow.vi import Settings as FitSettings
from invflow.vi import fit


class NLE:
    """The likelihood of a simulator, learned from simulations; made by `fit`.

    Args:
        prior: of the parameters.
        networks: an ensemble of flows over standardised data, given parameters.
        parameters: location and scale of the unconstrained parameters.
        data: location and scale of the data.
        reference: what observed data are compared with.
        shape: of the data of a simulation.
        summaries: their names.
        seed: random seed of fits and draws.
    """

    method = "nle"

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

    def posterior(
        self,
        data: Any,
        *,
        settings: FitSettings | None = None,
        report: Callable[[int, str], None] = lambda step, line: None,
    ) -> Posterior:
        """Return the posterior given one or more independent observations, by `invflow.vi.fit`.

        `posterior.weighted()` has its verdict, evidence and exact draws.

        Args:
            data: shape (*shape) or (observations, *shape): a tensor, an array or lists; a mapping
                from the names of summaries to numbers; or a data frame with a row each.
            settings: of that fit.
            report: called after every round with the number of steps and a line of text.

        Raises:
            TypeError, ValueError: if these are not data like those of the simulations, or the prior
                has no density.

        Warns:
            UserWarning: if the data are far from the simulations.
        """
        x = observed(data, self.shape, self.summaries)
        distance = self.distance(x)
        if distance.is_far:
            warnings.warn(
                f"{distance}. The likelihood is an extrapolation: simulate nearer to the data, or "
                "see whether the simulator can be right",
                UserWarning,
                stacklevel=2,
            )
        likelihood = self.log_likelihood(x)
        target = Unnormalised(
            self.prior, likelihood, self.parameters.location, self.parameters.scale
        )
        found = fit(target, settings=settings, seed=self.seed, report=report)
        return Posterior(
            self.prior,
            [found.flow],  # pyright: ignore[reportArgumentType]
            self.parameters,
            seed=self.seed,
            distance=distance,
            log_likelihood=likelihood,
            record=found.record,
        )

    def log_likelihood(self, data: Any) -> Callable[[Tensor], Tensor]:
        """Return the log likelihood of observed data, as a function of vectors of parameters.

        It takes shape (batch, numbers) and returns nats, shape (batch,): the sum over observations.

        Args:
            data: as for `posterior`.
        """
        x = observed(data, self.shape, self.summaries)
        value = self.data.forward(x).float()
        constant = len(x) * self.data.log_scale

        def function(theta: Tensor) -> Tensor:
            u = self.parameters.forward(self.prior.unconstrain(theta)).float()
            parts: list[Tensor] = []
            for each in self.networks:
                q = each.flow(each.embedding(u), validate_args=False)
                parts.append(q.log_prob(value[:, None].expand(-1, len(u), -1)).double())
            one = torch.stack(parts).logsumexp(0) - torch.tensor(len(parts)).double().log()
            return one.sum(0) - constant

        return function

    def distance(self, data: Any) -> Distance:
        """Return how far observed data are from the simulations, the farthest of several.

        Args:
            data: as for `posterior`.
        """
        x = observed(data, self.shape, self.summaries)
        return self.reference.distance(self.data.forward(x), x, self.summaries)
