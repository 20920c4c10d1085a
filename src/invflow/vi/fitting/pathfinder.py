r"""Normal distributions along the paths of optimisers that run side by side.

*Pathfinder* (Zhang et al. 2022, arXiv 2108.03782) runs a quasi-Newton optimiser on the log density
and turns iterates into normal distributions, with the optimiser's inverse Hessian H as covariance:

$$q_t = N(u_t + H_t \nabla \log p(u_t),\ H_t).$$

The one with the best bound is usually not at the mode, and exists even without a mode. Here all
starts take their steps together, so that each step evaluates the log density once, on a batch. The
optimiser is BFGS (Nocedal and Wright 2006, equation 6.17) with a line search by bisection to the
weak Wolfe conditions (Lewis and Overton 2013), in which every row is on its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from invflow.vi.fitting.normal import Normal, log_standard
from invflow.vi.targets.density import Density

#: Draws for the bound of a normal distribution along a path.
PATH_DRAWS = 10
#: Bounds are looked at after each iteration at first, later when their number has grown by this.
GROWTH = 1.2
#: Limits on the iterations of a path, if it has no more dimensions, and on the trials of a step.
MOST_ITERATIONS, MOST_TRIALS = 300, 30
#: Nats: a path ends when neither its last step nor, by its quadratic model, the next gains as much.
SMALL_GAIN = 1e-4
#: Constants of the Wolfe conditions.
ARMIJO, CURVATURE = 1e-4, 0.9


def pathfinder(
    density: Density, starts: Tensor, frame: Normal, generator: torch.Generator
) -> list[Normal | None]:
    """Return the best normal distribution along the path from each start; None where there is none.

    Its bound is an estimate less its standard error.

    Args:
        density: of the target.
        starts: starting points of the optimisers, (count, dim).
        frame: the coordinates of the optimisers, which account for known scales.
        generator: random numbers for the bounds.
    """
    best: list[Normal | None] = [None] * len(starts)
    paths = _Paths(density, frame.coordinates(starts.to(frame.location)), frame)
    while len(paths.rows):
        due = paths.advance()
        scale, failed = torch.linalg.cholesky_ex(paths.inverse[due])
        usable = (failed == 0) & scale.diagonal(dim1=-2, dim2=-1).isfinite().all(-1)
        due, scale = due[usable], scale[usable]
        if len(due):
            location = paths.u[due] + paths.direction[due]
            shape = (len(due), PATH_DRAWS, location.shape[-1])
            noise = torch.randn(shape, generator=generator, dtype=location.dtype)
            u = location.unsqueeze(1) + noise @ scale.mT
            log_q = log_standard(noise) - scale.diagonal(dim1=-2, dim2=-1).log().sum(-1, True)
            log_p = density.exact(frame.points(u).flatten(0, 1)).unflatten(0, shape[:2])
            terms = log_p - log_q + frame.log_det
            # Less its standard error: the best of many noisy bounds would often be a lucky one.
            elbos = terms.mean(-1) - terms.std(-1) / math.sqrt(PATH_DRAWS)
            for row, mean, factor, elbo in zip(
                paths.rows[due].tolist(), location, scale, elbos.tolist(), strict=True
            ):
                known = best[row]
                if math.isfinite(elbo) and (known is None or elbo > known.elbo):
                    best[row] = Normal(mean, factor, elbo)
        paths.forget_finished()
    return [each and frame.placed(each.location, each.scale, each.elbo) for each in best]


class _Paths:
    """BFGS from several points, in the coordinates of a frame: a row for each path under way.

    Attributes:
        rows: which start each path is from, (paths,).
        u: the iterates, (paths, dim).
        inverse: inverse Hessians of minus the log density, (paths, dim, dim).
        direction: of the next step: the inverse Hessian times the gradient, (paths, dim).
    """

    def __init__(self, density: Density, starts: Tensor, frame: Normal) -> None:
        self._density, self._frame = density, frame
        count, dim = starts.shape
        self.rows, self.u = torch.arange(count), starts
        self._value, self._slope = self._look(starts)
        self.inverse = torch.eye(dim, dtype=starts.dtype).expand(count, dim, dim).clone()
        self.direction = self._slope.clone()
        self._iterations = torch.zeros(count, dtype=torch.long)
        self._gain = torch.full_like(self._value, math.inf)
        self._finished = torch.zeros(count, dtype=torch.bool)
        # The line search of each path: the next step's length, its limits, and steps tried so far.
        self._step, self._low, self._high = (torch.empty_like(self._value) for _ in range(3))
        self._trials = torch.zeros(count, dtype=torch.long)
        self._begin(torch.ones(count, dtype=torch.bool))
        self._keep(torch.isfinite(self._value))

    def _look(self, u: Tensor) -> tuple[Tensor, Tensor]:
        value, score = self._density.scores(self._frame.points(u))
        return value, score @ self._frame.scale

    def _begin(self, begin: Tensor) -> None:
        """Begin line searches along the directions of some paths, a mask."""
        # Before its first step an inverse Hessian is not yet to scale.
        first = self._iterations == 0
        length = torch.where(first, 1 / self.direction.norm(dim=-1).clamp(min=1.0), 1.0)
        self._step = torch.where(begin, length, self._step)
        self._low = torch.where(begin, 0.0, self._low)
        self._high = torch.where(begin, math.inf, self._high)
        self._trials = torch.where(begin, 0, self._trials)

    def advance(self) -> Tensor:
        """Take one trial step in each path; return the paths whose bounds are due."""
        step = self._step.unsqueeze(-1) * self.direction
        value, slope = self._look(self.u + step)
        rise = (self._slope * self.direction).sum(-1)
        higher = value >= self._value + ARMIJO * self._step * rise  # False where it is not finite
        flatter = (slope * self.direction).sum(-1) <= CURVATURE * rise
        self._trials += 1
        over = self._trials >= MOST_TRIALS
        taken = higher & (flatter | over)
        self._bisect(value, rise, higher)
        if bool(taken.any()):
            self._move(taken, step, value, slope)
        decrement = (self._slope * self.direction).sum(-1)
        settled = (decrement < 2 * SMALL_GAIN) & (self._gain < SMALL_GAIN)
        still = self._slope.abs().amax(-1) == 0
        ended = taken & (settled | (self._iterations >= max(MOST_ITERATIONS, self.u.shape[-1])))
        self._finished = ended | (over & ~taken) | still
        self._begin(taken)
        return ((taken & _due(self._iterations)) | self._finished).nonzero().squeeze(-1)

    def _bisect(self, value: Tensor, rise: Tensor, higher: Tensor) -> None:
        """Choose the next trial steps, in case those just made are not taken."""
        step, low = self._step, self._low
        # Where the parabola through both ends has its top, if that is in the interval's first half.
        drop = self._value + step * rise - value
        top = torch.where(drop.isfinite(), rise * step.square() / (2 * drop), 0.0)
        near = torch.minimum(torch.maximum(top, low + 0.1 * (step - low)), 0.5 * (low + step))
        farther = torch.where(self._high.isinf(), 2 * step, 0.5 * (step + self._high))
        self._high = torch.where(higher, self._high, step)
        self._low = torch.where(higher, step, low)
        self._step = torch.where(higher, farther, near)

    def _move(self, taken: Tensor, step: Tensor, value: Tensor, slope: Tensor) -> None:
        """Accept the steps of some paths, a mask, and update their inverse Hessians."""
        s, y = step * taken.unsqueeze(-1), (self._slope - slope) * taken.unsqueeze(-1)
        self._gain = torch.where(taken, value - self._value, self._gain)
        self.u = self.u + s
        self._value = torch.where(taken, value, self._value)
        self._slope = torch.where(taken.unsqueeze(-1), slope, self._slope)
        self._iterations += taken
        curvature = (s * y).sum(-1)
        concave = curvature > 1e-12 * s.norm(dim=-1) * y.norm(dim=-1)
        first = concave & (self._iterations == 1)
        if bool(first.any()):
            scaled = torch.where(first, curvature / y.square().sum(-1), 1.0)
            self.inverse *= scaled.unsqueeze(-1).unsqueeze(-1)
        # H' = H + [s h] [a -1; -1 0] [s h]^T with h = H y / c, in place: a row may be large.
        h = (self.inverse @ y.unsqueeze(-1)).squeeze(-1) / curvature.unsqueeze(-1)
        along = 1 / curvature + (y * h).sum(-1) / curvature
        left = torch.stack([along.unsqueeze(-1) * s - h, -s], -1)
        left, right = (
            torch.where(concave[:, None, None], each, 0.0)
            for each in (left, torch.stack([s, h], -1))
        )
        self.inverse.baddbmm_(left, right.mT)
        self.direction = (self.inverse @ self._slope.unsqueeze(-1)).squeeze(-1)

    def forget_finished(self) -> None:
        """Drop the paths that have ended."""
        if bool(self._finished.any()):
            self._keep(~self._finished)

    def _keep(self, kept: Tensor) -> None:
        for name, each in vars(self).items():
            if isinstance(each, Tensor):
                setattr(self, name, each[kept])


def _due(iterations: Tensor) -> Tensor:
    """Return at which numbers of iterations bounds are looked at."""
    steps = iterations.double().clamp(min=1.0)
    before = (steps - 1).clamp(min=0.5)
    base = math.log(GROWTH)
    return (steps.log() / base).floor() > (before.log() / base).floor()
