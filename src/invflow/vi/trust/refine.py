r"""Markov chains in a flow's own space, where a posterior is nearly a standard normal.

*NeuTra* (Hoffman et al. 2019, arXiv 1903.03704): with z = T(u), chains run on

$$\log \pi(u) = \log p(T(u)) + \log|\det \partial T / \partial u| ,$$

all side by side in one batch. Steps of Hamiltonian Monte Carlo alternate with jumps: the flow
proposes, and the proposal is accepted with the probability of Metropolis and Hastings,

$$\min\Big(1, \frac{\pi(u')\, q(u)}{\pi(u)\, q(u')}\Big) .$$

Jumps take chains from mode to mode, and Hamiltonian steps take them where the flow does not go.
Both leave the posterior invariant, whatever the flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow import _checks
from invflow.flows import Flow
from invflow.flows.named import Named
from invflow.vi.targets.density import Density
from invflow.vi.targets.guarded import Guarded
from invflow.vi.targets.target import Target
from invflow.vi.trust._arviz import convergence
from invflow.vi.trust.inference import inference

#: Target acceptance rate, length of a trajectory in standard deviations, and most leapfrog steps
#: in one.
ACCEPTANCE, TRAJECTORY_LENGTH, MOST_LEAPS = 0.8, 2.5, 32
#: Fractions of the warmup after which the metric is updated.
METRIC_UPDATES = (0.1, 0.2, 0.4, 0.7)
#: Fraction of Hamiltonian trajectories with smaller steps.
SMALL_STEPS_FRACTION = 0.25
#: R-hat has to stay below, and ESS above (Vehtari et al. 2021, arXiv 1903.08008).
MAX_RHAT, MIN_ESS = 1.01, 400


@dataclass(frozen=True)
class Refined:
    """Draws of Markov chains in a flow's space. `str()` says whether the chains have converged.

    Args:
        target: the target of the chains.
        count: number of draws asked for; the chains, all of one length, may hold a few more.
        chains: unconstrained draws, shape (chains, steps, dim).
        log_density: of each draw, shape (chains, steps).
        acceptance: fraction of Hamiltonian steps accepted.
        jumps: fraction of the flow's proposals accepted.
        step_size: of the leapfrog steps.
        rhat: of each coordinate, shape (dim,).
        ess: of each coordinate, the smaller of bulk and tail, shape (dim,).
        evaluations: number of evaluations of the log density.
        non_finite: number of them that were NaN or infinite, and rejected.
    """

    target: Target
    count: int
    chains: Tensor
    log_density: Tensor
    acceptance: float
    jumps: float
    step_size: float
    rhat: Tensor
    ess: Tensor
    evaluations: int
    non_finite: int

    @property
    def sample(self) -> Tensor:
        """The unconstrained draws, shape (count, dim), chain by chain.

        If the count is not a multiple of the number of chains, the last chains are a draw shorter.
        """
        chains, steps = self.log_density.shape
        kept = torch.ones(chains, steps, dtype=torch.bool, device=self.chains.device)
        kept[chains - (chains * steps - self.count) :, -1] = False
        return self.chains[kept]

    def draws(self, n: int | None = None) -> dict[str, Tensor]:
        """Return named, constrained draws, (n, *shape) each.

        Args:
            n: number of draws, evenly from all chains; all of them by default.

        Raises:
            ValueError: if there are fewer.
        """
        z = self.sample
        if n is not None:
            n = _checks.positive_integer("n", n)
            if n > len(z):
                raise ValueError(f"n must be at most {len(z)}, the number of draws, got {n}")
            z = z[torch.linspace(0, len(z) - 1, n).round().long()]
        with torch.no_grad():
            return self.target.constrain(z)

    @property
    def converged(self) -> bool:
        """Whether R-hat is below 1.01 and ESS above 400, for every coordinate."""
        return bool((self.rhat < MAX_RHAT).all()) and bool((self.ess > MIN_ESS).all())

    def to_arviz(self, *, log_likelihood: bool = True) -> Any:
        """Return ArviZ's InferenceData, or DataTree since ArviZ 1.0.

        The groups are those of `Posterior.to_arviz`; `sample_stats` holds the log density "lp".
        Chains are complete, so there may be a few more draws than asked for.

        Args:
            log_likelihood: include the log likelihood of each observation, if the target gives it.

        Raises:
            TypeError, ValueError: if the target's log likelihood is not what it must be.
            ImportError: if ArviZ is not installed.
        """
        stats = {"lp": self.log_density}
        return inference(self.target, self.chains, stats, {}, log_likelihood=log_likelihood)

    def __str__(self) -> str:
        numbers = (
            f"R-hat at most {float(self.rhat.max()):.3f}, ESS at least {float(self.ess.min()):.0f} "
            f"out of {self.log_density.numel()} draws, {self.acceptance:.0%} of Hamiltonian steps "
            f"and {self.jumps:.0%} of the flow's jumps accepted"
        )
        if self.converged:
            return f"converged: {numbers}"
        return (
            f"not converged: {numbers}. R-hat should be below {MAX_RHAT} and ESS above {MIN_ESS}: "
            "use more draws and a longer warmup, or start from a better flow."
        )


def refine(
    target: Target,
    flow: Named,
    draws: int,
    chains: int,
    warmup: int,
    generator: torch.Generator,
) -> Refined:
    """Return draws of a target by Markov chains that start from a flow's draws.

    Args:
        target: the target to draw from.
        flow: a `Flow`, in whose base space the chains run, or a mixture, whose draws whiten the
            space.
        draws: number of draws, over all chains.
        chains: number of chains run side by side.
        warmup: steps that adapt the metric and the step size, from which no draw is kept.
        generator: random numbers.

    Raises:
        ValueError: if a size is out of range, or the log density is finite at hardly any draw.
        ImportError: if ArviZ is not installed.
    """
    chains = _checks.positive_integer("chains", chains, minimum=2)
    draws = _checks.positive_integer("draws", draws, minimum=4 * chains)
    warmup = _checks.positive_integer("warmup", warmup, minimum=20)
    density = Guarded(target, generator)
    space = _Space(flow, density, generator)
    sampler = _Sampler(space, space.start(chains), generator)
    sampler.warm_up(warmup)
    kept = [sampler.step() for _ in range(math.ceil(draws / chains))]
    z = torch.stack([state.z for state in kept], 1)
    log_density = torch.stack([state.log_p for state in kept], 1)
    rhat, ess = _convergence(z)
    return Refined(
        target=target,
        count=draws,
        chains=z,
        log_density=log_density,
        acceptance=sampler.accepted / sampler.steps,
        jumps=sampler.jumped / sampler.steps,
        step_size=sampler.step_size,
        rhat=rhat,
        ess=ess,
        evaluations=density.evaluations,
        non_finite=density.rejected,
    )


def _convergence(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return R-hat, and the smaller of bulk and tail ESS, of chains (chains, draws, dim)."""
    columns = [np.ascontiguousarray(column) for column in z.cpu().movedim(2, 0).numpy()]
    rhat, ess = zip(*map(convergence, columns), strict=True)
    return torch.tensor(rhat), torch.tensor(ess)


@dataclass(frozen=True)
class _State:
    """Where chains are: u, z = T(u), log pi(u), its gradient, and log p(z)."""

    u: Tensor
    z: Tensor
    log_pi: Tensor
    score: Tensor
    log_p: Tensor

    def replaced(self, other: _State, where: Tensor) -> _State:
        """Return the other state where `where`, (chains,), is true."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        values = [torch.where(where.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in pairs]
        return _State(*values)


class _Space:
    """The coordinates u in which chains run: a flow's base, or, for a mixture, those of z."""

    def __init__(self, flow: Named, density: Density, generator: torch.Generator) -> None:
        self.flow, self.density, self.generator = flow, density, generator

    def state(self, u: Tensor) -> _State:
        """Return the state at u, (chains, dim); log pi is -inf where it is not finite."""
        u = u.detach().requires_grad_()
        with torch.enable_grad():
            z, ladj = self._place(u)
        inside = torch.isfinite(z).all(-1) & torch.isfinite(ladj)
        log_p, score_z = self.density.scores(torch.where(inside.unsqueeze(-1), z.detach(), 0.0))
        (score,) = torch.autograd.grad([z, ladj], u, [score_z, torch.ones_like(ladj)])
        with torch.no_grad():
            good = inside & torch.isfinite(log_p) & torch.isfinite(score).all(-1)
            log_pi = torch.where(good, log_p + ladj, -torch.inf)
            score = torch.where(good.unsqueeze(-1), score, 0.0)
        return _State(u.detach(), z.detach(), log_pi, score, log_p)

    def _place(self, u: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.flow, Flow):
            return self.flow.transform(u)
        return u * 1.0, 0.0 * u.sum(-1)

    @torch.no_grad()
    def log_q(self, u: Tensor) -> Tensor:
        """Return the log density of the flow's draws in these coordinates."""
        if isinstance(self.flow, Flow):
            return self.flow.base.log_prob(u)
        return self.flow(validate_args=False).log_prob(u)

    @torch.no_grad()
    def jump(self, count: int) -> Tensor:
        """Return draws of the flow in these coordinates, (count, dim)."""
        distribution = self.flow(validate_args=False)
        if not isinstance(self.flow, Flow):
            return distribution.sample((count,), generator=self.generator)
        like = distribution.like
        return self.flow.base.sample(
            (count,), dtype=like.dtype, device=like.device, generator=self.generator
        )

    def start(self, chains: int) -> _State:
        """Return draws of the flow with a finite density.

        Raises:
            ValueError: if there are too few.
        """
        state = self.state(self.jump(10 * chains))
        good = torch.isfinite(state.log_pi).nonzero().flatten()
        if len(good) < chains:
            raise ValueError(
                f"log_density is finite at only {len(good)} of {10 * chains} draws of the flow: "
                f"too few starting points for {chains} chains"
            )
        return _State(*(value[good[:chains]] for value in vars(state).values()))

    def metric(self) -> Tensor:
        """Return the Cholesky factor of the initial covariance."""
        if isinstance(self.flow, Flow):
            like = self.jump(1)
            return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
        return _factor(self.jump(1000))


class _Sampler:
    """Chains side by side, with one step size and one metric."""

    def __init__(self, space: _Space, state: _State, generator: torch.Generator) -> None:
        self.space, self.state, self.generator = space, state, generator
        self.factor = space.metric()
        self.step_size = 0.5
        self.steps, self.accepted, self.jumped = 0, 0.0, 0.0

    def warm_up(self, steps: int) -> None:
        """Adapt the step size, and from time to time the metric, to where the chains have been."""
        updates = {round(fraction * steps) for fraction in METRIC_UPDATES}
        adaptation, window = _DualAveraging(self.step_size), list[Tensor]()
        for i in range(steps):
            if i in updates:
                self.factor = _factor(torch.cat(window))
                adaptation, window = _DualAveraging(1.0), list[Tensor]()
            self.step_size = adaptation.step_size
            adaptation.update(self._hamiltonian())
            self._jump()
            window.append(self.state.u)
        self.step_size = adaptation.average
        self.steps, self.accepted, self.jumped = 0, 0.0, 0.0

    def step(self) -> _State:
        """Take a Hamiltonian step and a jump; return where the chains are."""
        self.accepted += self._hamiltonian()
        self.jumped += self._jump()
        self.steps += 1
        return self.state

    def _hamiltonian(self) -> float:
        """Take a Hamiltonian step; return its mean acceptance probability.

        All chains take the same number of leapfrog steps of the same size. Sizes are small at
        random, for narrow corners, and the number is random, so that trajectories are not periodic.
        """
        state = start = self.state
        momentum = p = self._normal(start.u)
        chance, power = (float(self._uniform(start.log_pi[:1])) for _ in range(2))
        step = self.step_size * (10**-power if chance < SMALL_STEPS_FRACTION else 1.0)
        most = min(max(round(TRAJECTORY_LENGTH / self.step_size), 1), MOST_LEAPS)
        leaps = int(torch.randint(1, most + 1, (), generator=self.generator, device=p.device))
        for _ in range(leaps):
            p = p + 0.5 * step * state.score @ self.factor
            state = self.space.state(state.u + step * p @ self.factor.mT)
            p = p + 0.5 * step * state.score @ self.factor
        kinetic = 0.5 * (momentum.square().sum(-1) - p.square().sum(-1))
        return self._accept(state, state.log_pi - start.log_pi + kinetic)

    def _jump(self) -> float:
        """Let the flow propose; return the mean acceptance probability."""
        state = self.state
        proposed = self.space.state(self.space.jump(len(state.u)))
        log_q = self.space.log_q(state.u) - self.space.log_q(proposed.u)
        ratio = proposed.log_pi - state.log_pi + log_q
        return self._accept(proposed, ratio)

    def _accept(self, proposed: _State, log_ratio: Tensor) -> float:
        log_ratio = torch.where(torch.isnan(log_ratio), -torch.inf, log_ratio)
        accepted = self._uniform(log_ratio).log() < log_ratio
        self.state = self.state.replaced(proposed, accepted)
        return float(log_ratio.clamp(max=0).exp().mean())

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(
            like.shape, dtype=like.dtype, device=like.device, generator=self.generator
        )

    def _uniform(self, like: Tensor) -> Tensor:
        return torch.rand(
            like.shape, dtype=like.dtype, device=like.device, generator=self.generator
        )


class _DualAveraging:
    """Nesterov's dual averaging of the log step size (Hoffman & Gelman 2014, section 3.2)."""

    def __init__(self, start: float) -> None:
        self.centre = math.log(10 * start)
        self.log_step = math.log(start)
        self.log_average, self.error, self.count = 0.0, 0.0, 0

    @property
    def step_size(self) -> float:
        return math.exp(self.log_step)

    @property
    def average(self) -> float:
        return math.exp(self.log_average)

    def update(self, accepted: float) -> None:
        self.count += 1
        rate = 1 / (self.count + 10)
        self.error += rate * (ACCEPTANCE - accepted - self.error)
        self.log_step = self.centre - math.sqrt(self.count) / 0.05 * self.error
        weight = self.count**-0.75
        self.log_average += weight * (self.log_step - self.log_average)


def _factor(u: Tensor) -> Tensor:
    """Return the Cholesky factor of the covariance of `u`, shrunk slightly towards its diagonal."""
    cov = torch.cov(u.mT).reshape(u.shape[1], u.shape[1])
    share = u.shape[1] / (len(u) + u.shape[1])
    variances = cov.diagonal().clamp(min=1e-20)
    return torch.linalg.cholesky((1 - share) * cov + share * torch.diag(variances))
