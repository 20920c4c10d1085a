"""Tasks of the SBI benchmark (Lueckmann et al. 2021, arXiv 2101.04653), rebuilt from its appendix.

Parameters are (number, D), data (number, M). Simulators draw from torch's global generator.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import (
    Binomial,
    Distribution,
    Independent,
    LogNormal,
    MultivariateNormal,
    Normal,
    Uniform,
)
from torch.nn.functional import softplus

from invflow._random import seeded
from simulators import ordinary


class Task(ABC):
    """A prior and a simulator whose likelihood is known."""

    name: ClassVar[str]
    prior: Distribution

    @abstractmethod
    def simulate(self, theta: Tensor) -> Tensor:
        """Return one simulation for each vector of parameters."""

    @abstractmethod
    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return the log density of one observation at each vector, up to a constant."""

    def simulations(self, number: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return parameters from the prior and data, in single precision."""
        with seeded(seed):
            theta = self.prior.sample((number,))
            return theta, self.simulate(theta)

    def observation(self, index: int) -> Tensor:
        """Return the data of one of the observations, (M,)."""
        return self.simulations(1, 1_000_000 + index)[1][0]


def _normal(mean: Tensor, deviation: Tensor) -> Distribution:
    return Independent(Normal(mean, deviation), 1)


def _box(features: int, side: float) -> Distribution:
    side_ = torch.full((features,), side)
    return Independent(Uniform(-side_, side_), 1)


class GaussianLinear(Task):
    """T.1: the mean of a normal distribution, with a normal prior."""

    name = "gaussian linear"
    deviation = math.sqrt(0.1)

    def __init__(self) -> None:
        self.prior = _normal(torch.zeros(10), torch.full((10,), self.deviation))

    def simulate(self, theta: Tensor) -> Tensor:
        return theta + self.deviation * torch.randn_like(theta)

    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        return -0.5 * ((x - theta) / self.deviation).square().sum(-1)


class GaussianLinearUniform(GaussianLinear):
    """T.2: the mean of a normal distribution, with a uniform prior."""

    name = "gaussian uniform"

    def __init__(self) -> None:
        self.prior = _box(10, 1.0)


class SLCP(Task):
    """T.3: simple likelihood, complex posterior: four draws from a normal distribution."""

    name = "slcp"

    def __init__(self) -> None:
        self.prior = _box(5, 3.0)

    def _distribution(self, theta: Tensor) -> MultivariateNormal:
        first, second = theta[:, 2].square(), theta[:, 3].square()
        correlation = theta[:, 4].tanh()
        height = second * (1 - correlation.square()).sqrt()
        columns = [first, torch.zeros_like(first), second * correlation, height]
        factor = torch.stack(columns, -1).unflatten(-1, (2, 2)) + 1e-6 * torch.eye(2).to(theta)
        return MultivariateNormal(theta[:, :2], scale_tril=factor)

    def simulate(self, theta: Tensor) -> Tensor:
        return self._distribution(theta).sample((4,)).movedim(0, 1).flatten(1)

    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        points = x.reshape(4, 1, 2)
        return self._distribution(theta).log_prob(points).sum(0)


class BernoulliGLM(Task):
    """T.5: spikes of a neuron that is driven by white noise; data are the sufficient statistics."""

    name = "bernoulli glm"
    bins = 100

    def __init__(self) -> None:
        lags = 9
        with seeded(42):
            stimulus = torch.randn(self.bins + lags - 1, dtype=torch.float64)
        windows = stimulus.unfold(0, lags, 1)
        self.design = torch.cat([torch.ones(self.bins, 1).double(), windows], 1)
        smooth = torch.diag(1 + (torch.arange(lags).double() / lags).sqrt())
        smooth += torch.diag(torch.full((lags - 1,), -2.0).double(), -1)
        smooth += torch.diag(torch.ones(lags - 2).double(), -2)
        precision = torch.zeros(lags + 1, lags + 1).double()
        precision[0, 0], precision[1:, 1:] = 0.5, smooth.mT @ smooth
        self.prior = MultivariateNormal(torch.zeros(lags + 1), precision_matrix=precision.float())

    def simulate(self, theta: Tensor) -> Tensor:
        spikes = torch.bernoulli((theta.double() @ self.design.mT).sigmoid())
        return (spikes @ self.design).to(theta)

    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        return theta @ x - softplus(theta @ self.design.mT.to(theta)).sum(-1)


class TwoMoons(Task):
    """T.8: a posterior of two crescents."""

    name = "two moons"
    radius, width = 0.1, 0.01

    def __init__(self) -> None:
        self.prior = _box(2, 1.0)

    @staticmethod
    def _shift(theta: Tensor) -> Tensor:
        total, difference = theta.sum(-1), theta[..., 1] - theta[..., 0]
        return torch.stack([-total.abs(), difference], -1) / math.sqrt(2)

    def crescent(self, number: int) -> Tensor:
        """Return the noise, (number, 2)."""
        angle = math.pi * (torch.rand(number) - 0.5)
        radius = self.radius + self.width * torch.randn(number)
        return torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], -1)

    def simulate(self, theta: Tensor) -> Tensor:
        return self.crescent(len(theta)) + self._shift(theta)

    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        noise = x - self._shift(theta)
        right, up = noise[..., 0] - 0.25, noise[..., 1]
        radius = torch.hypot(right, up)
        density = -0.5 * ((radius - self.radius) / self.width).square() - radius.log()
        return density.where(right > 0, -math.inf)


class SIR(Task):
    """T.9: contagion in a million people; ten counts of infected ones among a thousand."""

    name = "sir"
    people, sampled, days = 1e6, 1000, 160.0

    def __init__(self) -> None:
        centre = torch.tensor([0.4, 0.125]).log()
        self.prior = Independent(LogNormal(centre, torch.tensor([0.5, 0.2])), 1)

    def infected(self, theta: Tensor) -> Tensor:
        """Return the fraction of infected people every 16 days, (number, 10)."""
        contact, recovery = theta.double().unbind(-1)

        def slope(state: Tensor) -> Tensor:
            susceptible, ill = state
            new = contact * susceptible * ill
            return torch.stack([-new, new - recovery * ill])

        start = torch.tensor([1 - 1 / self.people, 1 / self.people]).double()
        path = ordinary.solve(slope, start[:, None].expand(2, len(theta)), self.days, 0.5, 32)
        return path[:, 1].mT.clamp(0, 1)

    def _counts(self, theta: Tensor) -> Binomial:
        return Binomial(self.sampled, self.infected(theta), validate_args=False)

    def simulate(self, theta: Tensor) -> Tensor:
        return self._counts(theta).sample().to(theta)

    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        return self._counts(theta).log_prob(x.double()).sum(-1).to(theta)


class LotkaVolterra(Task):
    """T.10: prey and predators, counted ten times with multiplicative noise."""

    name = "lotka-volterra"
    noise, end = 0.1, 20.0

    def __init__(self) -> None:
        centre = torch.tensor([-0.125, -3.0, -0.125, -3.0])
        self.prior = Independent(LogNormal(centre, torch.full((4,), 0.5)), 1)

    def log_populations(self, theta: Tensor) -> Tensor:
        """Return the logarithms of prey and predators, (number, 20)."""
        birth, eaten, death, growth = theta.double().unbind(-1)

        def slope(state: Tensor) -> Tensor:
            prey, predators = state.clamp(max=30).exp()
            return torch.stack([birth - eaten * predators, growth * prey - death])

        start = torch.tensor([30.0, 1.0]).double().log()
        start = start[:, None].expand(2, len(theta))
        path = ordinary.solve(slope, start, self.end, 0.02, 100)
        return path.movedim(-1, 0).mT.flatten(1)

    def simulate(self, theta: Tensor) -> Tensor:
        logs = self.log_populations(theta)
        return (logs + self.noise * torch.randn_like(logs)).exp().to(theta)

    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        logs = self.log_populations(theta)
        error = (x.double().log() - logs) / self.noise
        return -0.5 * error.square().sum(-1).nan_to_num(math.inf).to(theta)


TASKS: dict[str, Any] = {
    kind.name: kind
    for kind in (
        TwoMoons,
        GaussianLinear,
        GaussianLinearUniform,
        SLCP,
        BernoulliGLM,
        SIR,
        LotkaVolterra,
    )
}
