"""Neural likelihood estimation: a flow over the data, given the parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from invflow import _checks
from invflow.flows import Flow, FlowMixture
from invflow.flows.named import Named
from invflow.simulation.assess import Assessment, assess
from invflow.simulation.distance import Distance
from invflow.simulation.learned import Learned, load
from invflow.simulation.posterior import Posterior
from invflow.simulation.prior import as_prior
from invflow.simulation.simulations import Simulations, check_rows, observed
from invflow.simulation.target import Unnormalised
from invflow.training.batches import generator
from invflow.vi import Record, fit
from invflow.vi import Settings as FitSettings
from invflow.vi.targets.vectors import tensor


class NLE:
    """The likelihood of a simulator, learned from simulations; made by `fit`.

    Args:
        learned: flows over data, given parameters.
    """

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        self.prior = learned.prior

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
        x = self._observed(data)
        distance = self.distance(x)
        if distance.is_far:
            warnings.warn(
                f"{distance}. The likelihood is an extrapolation: simulate nearer to the data, or "
                "see whether the simulator can be right",
                UserWarning,
                stacklevel=2,
            )
        unit = self.learned.parameters
        target = Unnormalised(self.prior, self.log_likelihood(x), unit.location, unit.scale)
        found = fit(target, settings=settings, seed=self.learned.seed, report=report)
        return self.fitted(x, found.flow, found.record)

    def fitted(self, data: Any, flow: Named, record: Record | None = None) -> Posterior:
        """Return the posterior that a flow, fitted by `posterior` earlier, approximates.

        Args:
            data: as for `posterior`.
            flow: over standardised parameters.
            record: of the fit.
        """
        return Posterior(
            self.prior,
            [cast(Flow | FlowMixture, flow)],
            self.learned.parameters,
            seed=self.learned.seed,
            distance=self.distance(data),
            log_likelihood=self.log_likelihood(data),
            record=record,
        )

    def log_likelihood(self, data: Any) -> Callable[[Tensor], Tensor]:
        """Return the log likelihood of observed data, as a function of vectors of parameters.

        It takes shape (batch, numbers) and returns nats, shape (batch,): the sum over observations.

        Args:
            data: as for `posterior`.
        """
        x = self._observed(data)
        value = self.learned.data.forward(x).float()
        constant = len(x) * self.learned.data.log_scale

        def function(theta: Tensor) -> Tensor:
            u = self._unit(theta)
            rows = value[:, None].expand(-1, len(u), -1)
            each_row = self.learned.log_prob(self._contexts(u), rows)
            return each_row.sum(0) - constant

        return function

    @torch.no_grad()
    def log_prob(self, data: Any, parameters: Any) -> Tensor:
        """Return the log density of data given parameters, row by row, in nats.

        Args:
            data: shape (*batch, rows, summaries).
            parameters: shape (rows, numbers).

        Returns:
            Shape (*batch, rows), float64.
        """
        u = self._unit(parameters)
        x = tensor("data", data).double()
        check_rows("data", x, len(u))
        value = self.learned.data.forward(x).float()
        log_prob = self.learned.log_prob(self._contexts(u), value)
        return log_prob - self.learned.data.log_scale

    @torch.no_grad()
    def sample(self, parameters: Any, n: int, *, seed: int | None = None) -> Tensor:
        """Return data drawn given each of many parameters, (n, rows, summaries): an emulator.

        Args:
            parameters: shape (rows, numbers).
            n: number of draws for each.
            seed: random seed; by default that of the fit.
        """
        u, n = self._unit(parameters), _checks.positive_integer("n", n)
        random = generator("cpu", self.learned.seed if seed is None else seed)
        return self.learned.data.inverse(self.learned.draws(self._contexts(u), n, random))

    def assess(self, simulations: Simulations, *, draws: int = 200) -> Assessment:
        """Return how well the likelihood holds for simulations that were not learned from.

        For the neighbourhood of a posterior, take the simulations that are `nearest` to it.

        Args:
            simulations: of any parameters.
            draws: number of draws of the data of each.

        Raises:
            ValueError: if there are too few, or some were learned from.
        """
        self.learned.check(simulations)

        def sample(theta: Tensor, n: int, seed: int) -> Tensor:
            return self.sample(theta, n, seed=seed)

        x, theta = simulations.data, simulations.parameters
        seed = self.learned.seed
        return assess(self.learned.summaries, x, theta, sample, self.log_prob, draws, seed)

    def nearest(
        self, simulations: Simulations, posterior: Posterior, count: int = 200
    ) -> Simulations:
        """Return the simulations whose parameters are the most probable under a posterior.

        Args:
            simulations: of which some are returned.
            posterior: from `posterior`.
            count: number of simulations.

        Raises:
            TypeError: if `posterior` is not one.
        """
        if not isinstance(posterior, Posterior):
            raise TypeError(
                f"posterior must be a Posterior, got {type(posterior).__name__}: "
                "call posterior(data)"
            )
        count = _checks.positive_integer("count", count)
        with torch.no_grad():
            order = posterior.log_prob(simulations.parameters).argsort(descending=True)
        return simulations[order[:count]]

    def _contexts(self, u: Tensor) -> Iterator[Tensor]:
        """Return the context of each network for parameters as the networks take them."""
        return (each.embedding(u) for each in self.learned.networks)

    def _unit(self, parameters: Any) -> Tensor:
        """Return parameters as the networks take them."""
        return self.learned.parameters.forward(self.prior.unconstrain(parameters)).float()

    def distance(self, data: Any) -> Distance:
        """Return how far observed data are from the simulations, the farthest of several.

        Args:
            data: as for `posterior`.
        """
        x = self._observed(data)
        return self.learned.reference.distance(
            self.learned.data.forward(x), x, self.learned.summaries
        )

    def save(self, directory: str | Path) -> None:
        """Write what was learned into a directory; load it with `load`.

        Raises:
            OSError: if the disk is full, or a file cannot be written.
        """
        self.learned.save(Path(directory), "nle")

    @classmethod
    def load(cls, directory: str | Path, prior: Any) -> NLE:
        """Return what `save` has written. No code from the files is run.

        Args:
            directory: where it was saved.
            prior: the one it was fitted with, which is code, and is not saved.

        Raises:
            FileNotFoundError, OSError: if a file is missing or cannot be read.
            ValueError: if a file is damaged or of another kind, or the prior has other parameters.
        """
        return cls(load(Path(directory), "nle", as_prior(prior)))

    def _observed(self, data: Any) -> Tensor:
        return observed(data, self.learned.shape, self.learned.summaries)
