r"""The Gaussian that a flow starts from: Pathfinder, then batch and match.

*Pathfinder* (Zhang et al. 2022, arXiv 2108.03782) runs a quasi-Newton optimiser on the log density
and turns every iterate into a Gaussian, with the optimiser's inverse Hessian as its covariance. The
one with the best bound is usually not at the mode, and exists even without a mode.

*Batch and match* (Cai et al. 2024, arXiv 2402.14758) improves it without a step size: from draws
$z_b$ and scores $g_b = \nabla \log p(z_b)$, with means $\bar z, \bar g$, covariances C, $\Gamma$,

$$\Sigma' U \Sigma' + \Sigma' = V, \qquad \mu' = \frac{\mu + \lambda (\Sigma' \bar g + \bar z)}
{1 + \lambda},$$
$$U = \lambda \Gamma + \tfrac{\lambda}{1 + \lambda} \bar g \bar g^\top, \qquad
V = \Sigma + \lambda C + \tfrac{\lambda}{1 + \lambda} (\mu - \bar z)(\mu - \bar z)^\top .$$

With $V = L L^\top$ and $L^\top U L = Q\, \mathrm{diag}(a)\, Q^\top$ the solution of the first
equation is $\Sigma' = L Q\, \mathrm{diag}(2 / (1 + \sqrt{1 + 4 a}))\, Q^\top L^\top$.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invflow.vi.targets.density import Density

#: Draws for the bound of a Gaussian along a path, and of those compared in the end.
PATH_DRAWS, COMPARISON_DRAWS = 25, 1000


@dataclass(frozen=True)
class Normal:
    """A normal distribution with location (dim,), Cholesky factor (dim, dim), and its bound."""

    location: Tensor
    scale: Tensor
    elbo: float

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return draws, (count, dim), and their log density, (count,)."""
        shape = (count, len(self.location))
        noise = torch.randn(shape, generator=generator, dtype=self.location.dtype)
        constant = self.scale.diagonal().log().sum() + 0.5 * shape[1] * math.log(2 * math.pi)
        return self.location + noise @ self.scale.mT, -0.5 * noise.square().sum(-1) - constant

    def distance(self, point: Tensor) -> float:
        """Return the Mahalanobis distance of a point."""
        return float(self.coordinates(point).norm())

    def coordinates(self, point: Tensor) -> Tensor:
        """Return u such that `location + scale @ u` is this point."""
        offset = (point - self.location).unsqueeze(-1)
        return torch.linalg.solve_triangular(self.scale, offset, upper=False).squeeze(-1)

    def placed(self, location: Tensor, scale: Tensor) -> Normal:
        """Return the distribution with this location and scale in the coordinates of this one."""
        return Normal(self.location + self.scale @ location, self.scale @ scale, -math.inf)


def bound(density: Density, normal: Normal, draws: int, generator: torch.Generator) -> float:
    """Return the evidence lower bound of a normal distribution, by Monte Carlo."""
    z, log_q = normal.draw(draws, generator)
    return float((density.exact(z) - log_q).mean())


def standard(dim: int) -> Normal:
    """Return the standard normal distribution."""
    return Normal(
        torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64), -math.inf
    )


def pathfinder(
    density: Density, start: Tensor, frame: Normal, generator: torch.Generator
) -> Normal | None:
    """Return the best Gaussian along the path of an optimiser; None if there is none.

    Args:
        density: of the target.
        start: starting point of the optimiser, (dim,).
        frame: the coordinates of the optimiser, which account for known scales.
        generator: random numbers for the bounds.
    """
    iterates, scores = _path(density, start.to(frame.location), frame)
    best: Normal | None = None
    inverse_hessian = torch.eye(len(start)).to(frame.location)
    if len(iterates) == 1:  # the start is a mode
        if not bool(density.exact(start.unsqueeze(0)).isfinite()):
            return None
        there = frame.placed(iterates[0], inverse_hessian)
        return Normal(there.location, there.scale, bound(density, there, PATH_DRAWS, generator))
    for i, (point, score) in enumerate(zip(iterates, scores, strict=True)):
        if i:
            step, change = point - iterates[i - 1], scores[i - 1] - score
            inverse_hessian = _bfgs(inverse_hessian, step, change, first=i == 1)
            scale, failed = torch.linalg.cholesky_ex(inverse_hessian)
            if bool(failed) or not bool(torch.isfinite(scale).all()):
                break
            candidate = frame.placed(point + inverse_hessian @ score, scale)
            elbo = bound(density, candidate, PATH_DRAWS, generator)
            if best is None or elbo > best.elbo:
                best = Normal(candidate.location, candidate.scale, elbo)
    return best


def _bfgs(inverse: Tensor, step: Tensor, change: Tensor, *, first: bool) -> Tensor:
    """Return the inverse Hessian after a step, updated if the log density is concave along it."""
    curvature = step @ change
    if not curvature > 1e-12 * step.norm() * change.norm():
        return inverse
    if first:
        inverse = inverse * (curvature / change.square().sum())
    left = torch.eye(len(step), dtype=step.dtype) - torch.outer(step, change) / curvature
    return left @ inverse @ left.mT + torch.outer(step, step) / curvature


def _path(density: Density, start: Tensor, frame: Normal) -> tuple[list[Tensor], list[Tensor]]:
    """Return the iterates of L-BFGS and the scores there, both in the coordinates of the frame."""
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise ImportError('vi.fit needs SciPy: pip install "invflow[vi]"') from error

    seen: dict[bytes, tuple[Tensor, Tensor]] = {}

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        u = torch.from_numpy(point.copy())
        value, score = density.scores((frame.location + frame.scale @ u).unsqueeze(0))
        slope = score[0] @ frame.scale
        seen[point.tobytes()] = u, slope
        # A finite wall, from which the line search steps back.
        return -float(value) if torch.isfinite(value) else 1e100, -slope.numpy()

    path: list[tuple[Tensor, Tensor]] = []
    first = frame.coordinates(start).numpy()

    def record(point: np.ndarray) -> None:
        path.append(seen[point.tobytes()])

    objective(first)
    record(first)
    minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        callback=record,
        options={"maxiter": 500, "maxfun": 1000, "maxcor": 10, "ftol": 1e-12},
    )
    return [u for u, _ in path], [slope for _, slope in path]


def match(
    density: Density,
    normal: Normal,
    generator: torch.Generator,
    rounds: int = 100,
) -> Normal:
    """Return a Gaussian improved by batch and match, or the given one if its bound is better.

    Args:
        density: of the target.
        normal: the initial Gaussian.
        generator: random numbers for the draws.
        rounds: number of batches.
    """
    dim = len(normal.location)
    batch = max(32, 2 * dim)
    # In the coordinates of the given Gaussian, where scales are about one.
    location = torch.zeros_like(normal.location)
    scale = torch.eye(dim, dtype=location.dtype)
    for done in range(rounds):
        noise = torch.randn((batch, dim), generator=generator, dtype=location.dtype)
        u = location + noise @ scale.mT
        value, score = density.scores(normal.location + u @ normal.scale.mT)
        good = torch.isfinite(value)
        if int(good.sum()) < 2:
            break
        moved = _matched(location, scale, u[good], (score @ normal.scale)[good], dim, done)
        if moved is None:
            break
        location, scale = moved
    pair = [normal.placed(location, scale), normal]
    elbos = [bound(density, each, COMPARISON_DRAWS, generator) for each in pair]
    elbo, better = max(zip(elbos, pair, strict=True), key=lambda entry: entry[0])
    return Normal(better.location, better.scale, elbo)


def _matched(
    location: Tensor, scale: Tensor, z: Tensor, score: Tensor, dim: int, done: int
) -> tuple[Tensor, Tensor] | None:
    weight = len(z) * dim / (done + 1)
    share = weight / (1 + weight)
    mean, slope = z.mean(0), score.mean(0)
    spread, bend = torch.cov(z.mT, correction=0), torch.cov(score.mT, correction=0)
    spread, bend = spread.reshape(dim, dim), bend.reshape(dim, dim)
    off = location - mean
    u = weight * bend + share * torch.outer(slope, slope)
    v = scale @ scale.mT + weight * spread + share * torch.outer(off, off)
    factor, failed = torch.linalg.cholesky_ex(v)
    if bool(failed) or not bool(torch.isfinite(u).all()):
        return None
    values, vectors = torch.linalg.eigh(factor.mT @ u @ factor)
    root = factor @ vectors
    size = 2 / (1 + torch.sqrt(1 + 4 * values.clamp(min=0)))
    covariance = root * size @ root.mT
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed):
        return None
    return (location + weight * (covariance @ slope + mean)) / (1 + weight), lower
