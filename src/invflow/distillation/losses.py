r"""The loss by which a student q learns from a teacher p.

For draws x = f(z) of the student, which come with their log density, and draws y of the teacher:

$$L = w_r \, E_x[\log q(x) - \log p(x)] + w_f \, E_y[-\log q(y)]
    + w_m M + w_\phi \lVert E_x \phi(x) - E_y \phi(y) \rVert^2 .$$

With $\delta$ and $\Delta$ the differences of the means, and of the second moments about the
teacher's mean, in units of the teacher's standard deviations,

$$M = \tfrac12 \lVert\delta\rVert^2 + \tfrac14 \lVert\Delta\rVert^2 .$$

If the teacher's features are uncorrelated, M is, to second order and in nats, the divergence
between Gaussians with these differences.

A squared difference of means over few draws is too large by the variance of the means, and would
train the student to vary less. Therefore the means of the two halves of a batch are used, whose
errors are independent: the product of their differences is unbiased, and sometimes negative.

The last two terms are similar to those that Parallel WaveNet adds to the first (van den Oord et al.
2018, arXiv 1711.10433, with spectra for $\phi$).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Size, Tensor

from invflow import _checks
from invflow.distillation.teacher import Draws, Teacher
from invflow.flows import Flow, FlowDistribution
from invflow.flows.path_gradient import along_path

#: The mean over the rows of a batch, (rows, features), of a function of them, of any shape.
Statistic = Callable[[Tensor], Tensor]


def path(q: FlowDistribution, shape: Size, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return draws, and their log q with its gradient along the draws alone.

    The rest, the score of q with respect to its own parameters, is zero on average and all that is
    left of the noise where student and teacher agree ("sticking the landing").

    Args:
        q: the student.
        shape: sample shape.
        noise: random numbers.

    References:
        Roeder et al. 2017, arXiv 1703.09194.
    """
    x, log_q, score = q.rsample_and_score(shape, generator=noise)
    return x, along_path(log_q, score, x)


def total(q: FlowDistribution, shape: Size, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return draws, and their log q with its whole gradient: one pass, more noise."""
    return q.rsample_and_log_prob(shape, generator=noise)


#: Estimators of the gradient of the student's entropy, by name.
GRADIENTS: Mapping[
    str, Callable[[FlowDistribution, Size, torch.Generator], tuple[Tensor, Tensor]]
] = {
    "path": path,
    "total": total,
}


@dataclass(frozen=True)
class Objective:
    """What to minimise: the weights of the terms, 0 to leave one out.

    Args:
        reverse: weight of KL(student || teacher), which does not need samples, and may drop modes.
        forward: weight of KL(teacher || student), up to the teacher's entropy: the log-likelihood
            of samples, which covers all modes.
        moments: weight of the mismatch of means and covariances.
        features: weight of the mismatch of the means of `feature_map`.
        feature_map: takes vectors, (batch, features), and returns the features whose means should
            agree, (batch, anything).
        gradient: estimator of the gradient of the reverse term, one of `GRADIENTS`.

    Raises:
        TypeError: if a weight is not a number, or `feature_map` is not a function.
        ValueError: if a weight is negative, or all are 0; if only one of `features` and
            `feature_map` is given; if `gradient` is unknown.
    """

    reverse: float = 1.0
    forward: float = 0.0
    moments: float = 0.0
    features: float = 0.0
    feature_map: Callable[[Tensor], Tensor] | None = None
    gradient: str = "path"

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("reverse", "forward", "moments")}
        weights["features"] = self.features
        for name, weight in weights.items():
            if not 0 <= _checks.number(name, weight) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {weight}")
        if not any(weights.values()):
            raise ValueError("at least one weight of the objective must be above 0, got none")
        if (self.feature_map is not None) != (self.features > 0):
            raise ValueError(
                "a feature_map and a weight features above 0 must be given together, got "
                f"features={self.features} and feature_map={self.feature_map!r}"
            )
        if self.feature_map is not None and not callable(self.feature_map):
            kind = type(self.feature_map).__name__
            raise TypeError(f"feature_map must be a function, got {kind}")
        _checks.choice("gradient", self.gradient, GRADIENTS)

    @property
    def needs_samples(self) -> bool:
        """Whether a term needs draws of the teacher."""
        return bool(self.forward or self.moments or self.features)


class Aim:
    """An objective with a teacher and draws of the teacher.

    Args:
        objective: what to minimise.
        teacher: the teacher.
        pool: draws of the teacher; None for an objective that does not need samples.
    """

    def __init__(self, objective: Objective, teacher: Teacher, pool: Draws | None) -> None:
        self.objective = objective
        self.teacher = teacher
        self.pool = pool
        self.matches: list[tuple[float, Statistic, Tensor]] = []
        if pool is None:
            return
        if objective.moments:
            self._match(objective.moments, moments_about(pool.x), pool)
        if (of := objective.feature_map) is not None:
            self._match(objective.features, lambda x: of(x).mean(0), pool)

    def loss(self, student: Flow, count: int, noise: torch.Generator) -> Tensor:
        """Return the loss of `count` draws of the student, and as many of the teacher's pool.

        Raises:
            TypeError, ValueError: if the teacher or the feature map returns something invalid.
        """
        objective = self.objective
        parts: list[Tensor] = []
        if objective.reverse or self.matches:
            context = self.teacher.at(count, noise)
            q = student(context, validate_args=False)
            draw = GRADIENTS[objective.gradient] if objective.reverse else total
            x, log_q = draw(q, Size([count] if context is None else []), noise)
            if objective.reverse:
                parts.append(objective.reverse * self._divergence(x, log_q, context).mean())
            parts += [weight * mismatch(of, x, goal) for weight, of, goal in self.matches]
        if objective.forward and self.pool is not None:
            chosen = torch.randint(len(self.pool.x), (count,), generator=noise, device=noise.device)
            y, context = self.pool.rows(chosen)
            log_q = student(context, validate_args=False).log_prob(y)
            parts.append(-objective.forward * log_q.mean())
        return torch.stack(parts).sum()

    def _divergence(self, x: Tensor, log_q: Tensor, context: Tensor | None) -> Tensor:
        if not x.requires_grad:
            return log_q - self.teacher.log_prob(x, context)
        log_p, score = self.teacher.scores(x, context)
        return log_q - along_path(log_p, score, x)

    def _match(self, weight: float, of: Statistic, pool: Draws) -> None:
        with torch.no_grad():
            self.matches.append((weight, of, of(pool.x)))


def moments_about(y: Tensor) -> Statistic:
    r"""Return the statistic whose squared mismatch is the moment loss M.

    $$u = (x - \bar y) / s_y, \qquad
    \big(\bar u / \sqrt 2, \; \overline{u u^\top} / 2\big), \text{ flat.}$$

    Args:
        y: two or more draws of the teacher, (rows, features).

    Raises:
        ValueError: if a feature of `y` does not vary.

    Example:
        >>> y = torch.tensor([[-1.0], [1.0]])
        >>> moments_about(y)(y)  # the variance is that of a population
        tensor([0.0000, 0.5000])
    """
    mean, scale = y.mean(0), deviations(y)

    def statistic(x: Tensor) -> Tensor:
        u = (x - mean) / scale
        return torch.cat([u.mean(0) / 2**0.5, (u.mT @ u / (2 * len(u))).flatten()])

    return statistic


def deviations(y: Tensor) -> Tensor:
    """Return the population standard deviations of the teacher's draws, (features,).

    Raises:
        ValueError: if draws are not finite, or a feature does not vary.
    """
    bad = int((~y.isfinite()).any(-1).sum())
    if bad:
        raise ValueError(f"the teacher's draws must be finite, got NaN or infinity in {bad} rows")
    scale = y.std(0, correction=0)
    still = (scale == 0).nonzero().flatten().tolist()
    if still:
        raise ValueError(
            f"the teacher's draws must vary, got {len(still)} constant features, the first of "
            f"them {still[0]}"
        )
    return scale


def mismatch(statistic: Statistic, x: Tensor, goal: Tensor) -> Tensor:
    """Return an unbiased estimate of the squared distance of a statistic's mean from a goal.

    Args:
        statistic: a mean over rows.
        x: two or more draws, (batch, features).
        goal: the target value of the statistic.
    """
    one, other = (statistic(half) - goal for half in x.tensor_split(2))
    return (one * other).sum()
