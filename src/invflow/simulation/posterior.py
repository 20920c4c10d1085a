"""The posterior of parameters given observed data."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from invflow import _checks
from invflow.flows import Flow, FlowMixture
from invflow.simulation.distance import Distance
from invflow.simulation.given import detached
from invflow.simulation.prior import Prior
from invflow.simulation.standard import Standard
from invflow.simulation.target import Unnormalised
from invflow.simulation.truncated import Truncated
from invflow.training.batches import generator
from invflow.vi import Posterior as Weighted
from invflow.vi import tables
from invflow.vi.record import Record

if TYPE_CHECKING:
    from pandas import DataFrame

#: Draws whose density says where the highest-density region ends.
REGION_DRAWS = 10_000


class Posterior:
    r"""The posterior of parameters given observed data: an equal mixture of flows.

    With u from a flow at unit scale, $\theta = b(m + s u)$, where b is the bijection of the prior's
    support: no draw lies outside, and the density integrates to one inside.

    Args:
        prior: of the parameters.
        flows: over u, without context.
        standard: m and s.
        seed: random seed of draws.
        distance: how far the observed data are from the simulations.
        log_likelihood: of vectors of parameters, (batch, numbers) to (batch,), if it is known.
        record: of the fit, if the flows were fitted to this likelihood.

    Attributes:
        distance: how far the observed data are from the simulations.
    """

    def __init__(
        self,
        prior: Prior,
        flows: Sequence[Flow | FlowMixture],
        standard: Standard,
        *,
        seed: int = 0,
        distance: Distance,
        log_likelihood: Callable[[Tensor], Tensor] | None = None,
        record: Record | None = None,
    ) -> None:
        self.prior = prior
        self.flows = list(flows)
        self.standard = standard
        self.seed = seed
        self.distance = distance
        self._log_likelihood = log_likelihood
        self._record = record

    def sample(self, n: int, *, seed: int | None = None) -> Tensor:
        """Return draws, shape (n, numbers), float64.

        Args:
            n: number of draws.
            seed: random seed; by default the posterior's.
        """
        with torch.no_grad():
            return self._draw(n, seed, "sample")

    def rsample(self, n: int, *, seed: int | None = None) -> Tensor:
        """Return draws with gradients to observed data that require them, shape (n, numbers).

        Raises:
            NotImplementedError: if the posterior is a mixture of modes.
        """
        return self._draw(n, seed, "rsample")

    def _draw(self, n: int, seed: int | None, method: str) -> Tensor:
        n = _checks.positive_integer("n", n)
        random = generator("cpu", self.seed if seed is None else seed)
        # As many of each flow as possible: less noise than choosing a flow for each draw.
        order = torch.randperm(n, generator=random)
        flow_of = order % len(self.flows)
        u = torch.empty(n, self.prior.dim, dtype=torch.float64)
        for k, flow in enumerate(self.flows):
            rows = (flow_of == k).nonzero()[:, 0]
            if len(rows):
                drawn = getattr(flow(validate_args=False), method)((len(rows),), generator=random)
                u = u.index_put((rows,), drawn.double())
        return self.prior.constrain(self.standard.inverse(u))[0]

    def log_prob(self, theta: Any) -> Tensor:
        """Return the log density of vectors in nats, -inf outside the prior's support.

        Args:
            theta: shape (*batch, numbers): a tensor, an array or nested lists.

        Returns:
            Shape `batch`, float64.

        Raises:
            TypeError: if `theta` does not hold real numbers.
            ValueError: if it has another shape.
        """
        theta = self.prior.vectors(theta)
        inside = self.prior.contains(theta)
        stand_in = self.prior.constrain(self.standard.location)[0]
        z = self.prior.unconstrain(torch.where(inside.unsqueeze(-1), theta, stand_in))
        ladj = self.prior.constrain(z)[1] + self.standard.log_scale
        u = self.standard.forward(z).reshape(-1, self.prior.dim)
        parts = [flow(validate_args=False).log_prob(u.to(_like(flow))) for flow in self.flows]
        log_q = torch.stack(parts).double().logsumexp(0) - math.log(len(parts))
        return torch.where(inside, log_q.reshape(inside.shape) - ladj, -torch.inf)

    def draws(self, n: int) -> dict[str, Tensor]:
        """Return named draws, (n, *shape) each."""
        return self.prior.split(self.sample(n))

    def to_pandas(self, n: int = 4000) -> DataFrame:
        """Return draws as a data frame: a row per draw, a column per number.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.frame(self.draws(n))

    def summary(self, n: int = 16_000, *, var_names: Sequence[str] | None = None) -> DataFrame:
        """Return a table of the parameters: mean, sd, 3% and 97% quantiles, and error of the mean.

        Args:
            n: number of draws.
            var_names: names of the parameters to summarise; None for all.

        Raises:
            TypeError: if `var_names` is one string.
            ValueError: if a name is unknown.
            ImportError: if pandas is not installed.
        """
        n = _checks.positive_integer("n", n, minimum=2)
        weights = torch.full((n,), 1 / n, dtype=torch.float64)
        kept = tables.chosen(self.draws(n), var_names)
        return tables.summary(kept, tables.array(weights), frozenset())

    def weighted(self, log_likelihood: Callable[[Tensor], Tensor] | None = None) -> Weighted:
        """Return the posterior with importance weights: verdict, evidence, and exact draws.

        It is one of `invflow.vi`: `diagnose` judges it, `draws` and `summary` apply the weights,
        and `refine` runs Markov chains that are exact in the limit.

        Args:
            log_likelihood: takes vectors of parameters, (batch, numbers), and returns the log
                likelihood of the observed data in nats, (batch,), differentiable; by default the
                one that was learned ("nle").

        Raises:
            ValueError: if there is none, or the prior has no density.
        """
        function = log_likelihood or self._log_likelihood
        if function is None:
            raise ValueError(
                "log_likelihood must be given: this posterior was learned without a likelihood"
            )
        location, scale = self.standard.location, self.standard.scale
        target = Unnormalised(self.prior, function, location, scale)
        parts = [copy.deepcopy(detached(flow)).double().requires_grad_() for flow in self.flows]
        flow = parts[0] if len(parts) == 1 else FlowMixture(cast(Any, parts)).double()
        record = self._record if log_likelihood is None else None
        return Weighted(target, flow, seed=self.seed, record=record)

    def truncated(self, mass: float = 1e-4, *, within: Truncated | None = None) -> Truncated:
        """Return the prior where this posterior has mass, to simulate from in another round.

        Args:
            mass: fraction of the posterior that is left out, where its density is lowest.
            within: the truncated prior of the round before, so that its simulations can be kept.

        Raises:
            ValueError: if `mass` is not between 0 and 1.
        """
        mass = _checks.fraction("mass", mass)
        with torch.no_grad():
            density = self.log_prob(self.sample(REGION_DRAWS))
            return Truncated(self.prior, self.log_prob, float(density.quantile(mass)), within)


def _like(flow: Flow | FlowMixture) -> Tensor:
    return next(flow.parameters())
