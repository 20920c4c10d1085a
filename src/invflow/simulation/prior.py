"""A prior over named parameters, and the bijection that keeps draws inside its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints
from torch.distributions.constraints import Constraint

from invflow._random import seeded
from invflow.vi.targets.distributions import support
from invflow.vi.targets.supports import Image, is_angle
from invflow.vi.targets.target import Parameter, value_of
from invflow.vi.targets.vectors import vectors

#: Entries of bounded parameters stay this far from a bound, on the scale of the logit. It is
#: 1e-11 of the width, so that a parameter on the bound itself does not become infinite.
EDGE = 25.0


class Prior:
    r"""Independent priors of named parameters, each a number or a vector.

    Parameters are handled as vectors: the numbers of all parameters one after the other. With b the
    bijection of each parameter's support, $\theta = b(z)$, a flow over z never leaves the support.

    Args:
        distributions: by name, a continuous distribution of torch, or only the `Constraint` or
            `Parameter` that says what values there are, if the density of the prior is not known;
            or a single distribution of a vector, which is named "theta". Batch dimensions are
            those of the parameter.

    Attributes:
        parameters: constraint and shape of each parameter, by name.
        names: name of each number.
        dim: number of unconstrained numbers, D.

    Raises:
        TypeError: if a value is neither.
        ValueError: if there is no parameter, or one is discrete, or a mixture whose components may
            have different supports.

    Example:
        >>> from torch.distributions import Dirichlet, Uniform
        >>> prior = Prior({"rate": Uniform(0.0, 2.0), "share": Dirichlet(torch.ones(3))})
        >>> prior.names, prior.dim
        (('rate', 'share[0]', 'share[1]', 'share[2]'), 3)
        >>> prior.sample(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self, distributions: Mapping[str, Distribution | Constraint | Parameter] | Distribution
    ) -> None:
        if isinstance(distributions, Distribution):
            distributions = {"theta": distributions}
        if not isinstance(distributions, Mapping):
            kind = type(distributions).__name__
            raise TypeError(f"prior must be a distribution or a mapping from names, got {kind}")
        if not distributions:
            raise ValueError("prior must have at least one parameter, got none")
        self._distributions = {name: _whole(name, what) for name, what in distributions.items()}
        self.parameters = {
            name: _parameter(name, what) for name, what in self._distributions.items()
        }
        self.names = tuple(
            f"{name}{_index(place)}"
            for name, each in self.parameters.items()
            for place in np.ndindex(*each.shape)
        )
        self.dim = sum(each.size for each in self.parameters.values())

    @property
    def has_density(self) -> bool:
        """Whether all parameters have a distribution."""
        return all(isinstance(each, Distribution) for each in self._distributions.values())

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Return draws, shape (n, numbers), float64.

        Raises:
            ValueError: if a parameter has only a constraint.
        """
        known = self._known()
        # Distributions of torch draw from the global generator.
        with seeded(seed):
            return self.joined({name: each.sample((n,)) for name, each in known.items()})

    def log_prob(self, theta: Any) -> Tensor:
        """Return the log density of vectors in nats, -inf outside the support.

        Args:
            theta: shape (*batch, numbers).

        Raises:
            ValueError: if the shape is wrong, or a parameter has only a constraint.
        """
        known, theta = self._known(), self.vectors(theta)
        inside = self.contains(theta)
        # Torch refuses points outside; one that is inside stands in for them.
        stand_in = self.constrain(theta.new_zeros(self.dim))[0]
        values = self.split(torch.where(inside.unsqueeze(-1), theta, stand_in))
        each = [what.log_prob(self._accepted(name, values[name])) for name, what in known.items()]
        total = torch.stack(each).sum(0)
        return torch.where(inside, total, -torch.inf)

    def contains(self, theta: Any) -> Tensor:
        """Return which vectors, (*batch, numbers), lie in the support, shape `batch`."""
        theta = self.vectors(theta)
        inside = theta.isfinite().all(-1)
        for name, value in self.split(theta).items():
            check = self.parameters[name].constraint.check
            # A distribution that is made of Python's numbers has float32: 0.1 is below its bound
            # of 0.1, and its Cholesky factors have rows of unit length in that precision.
            found = check(value) | check(value.float())
            inside = inside & found.reshape(*inside.shape, -1).all(-1)
        return inside

    def constrain(self, z: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return $\theta = b(z)$, (*batch, numbers), and $\log|\det d\theta/dz|$, `batch`.

        Args:
            z: shape (*batch, dim).
        """
        ladj = z.new_zeros(z.shape[:-1])
        values: list[Tensor] = []
        sizes = [each.size for each in self.parameters.values()]
        for each, part in zip(self.parameters.values(), z.split(sizes, -1), strict=True):
            free = part.reshape(z.shape[:-1] + each.unconstrained_shape)
            value = each.bijection(free)
            own = each.bijection.log_abs_det_jacobian(free, value)
            ladj = ladj + own.reshape(*z.shape[:-1], -1).sum(-1)
            values.append(value.reshape(*z.shape[:-1], -1))
        return torch.cat(values, -1), ladj

    def unconstrain(self, theta: Any) -> Tensor:
        """Return z, (*batch, dim), for vectors in the support, (*batch, numbers)."""
        theta = self.vectors(theta)
        parts: list[Tensor] = []
        for name, value in self.split(theta).items():
            each = self.parameters[name]
            free = each.bijection.inv(value).reshape(*theta.shape[:-1], each.size)
            parts.append(free.clamp(-EDGE, EDGE) if _bounded(each.constraint) else free)
        return torch.cat(parts, -1)

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the parameters, (*batch, *shape) each, of vectors, (*batch, numbers)."""
        sizes = [math.prod(each.shape) for each in self.parameters.values()]
        return {
            name: part.reshape((*theta.shape[:-1], *each.shape))
            for (name, each), part in zip(
                self.parameters.items(), theta.split(sizes, -1), strict=True
            )
        }

    def joined(self, values: Mapping[str, Any]) -> Tensor:
        """Return vectors, (*batch, numbers), of named values, (*batch, *shape) each."""
        parts: list[Tensor] = []
        for name, each in self.parameters.items():
            value = value_of(name, values).double()
            batch = value.shape[: value.ndim - len(each.shape)]
            parts.append(value.reshape(*batch, math.prod(each.shape)))
        return torch.cat(parts, -1)

    def vectors(self, theta: Any) -> Tensor:
        """Return vectors, (*batch, numbers), as float64.

        Raises:
            TypeError: if these are not real numbers.
            ValueError: if the last dimension is wrong.
        """
        return vectors("theta", theta, len(self.names), torch.empty(0, dtype=torch.float64))

    def _accepted(self, name: str, value: Tensor) -> Tensor:
        """Return values that lie inside, in the precision in which they do."""
        return value if bool(self.parameters[name].constraint.check(value).all()) else value.float()

    def _known(self) -> dict[str, Distribution]:
        for name, each in self._distributions.items():
            if not isinstance(each, Distribution):
                raise ValueError(
                    f"the prior of {name!r} is only a constraint, without a density: give its "
                    "distribution"
                )
        return cast(dict[str, Distribution], self._distributions)


def as_prior(prior: Any) -> Prior:
    """Return a prior, or what `Prior` makes of a distribution or a mapping."""
    return prior if isinstance(prior, Prior) else Prior(prior)


def _whole(name: str, what: Any) -> Distribution | Parameter:
    """Return a distribution without batch dimensions, or a parameter."""
    if isinstance(what, Distribution):
        count = len(what.batch_shape)
        return Independent(what, count) if count else what
    if isinstance(what, Parameter):
        return what
    if isinstance(what, Constraint):
        return Parameter(what)
    raise TypeError(
        f"prior[{name!r}] must be a distribution or a constraint, got {type(what).__name__}"
    )


def _parameter(name: str, what: Distribution | Parameter) -> Parameter:
    try:
        if isinstance(what, Parameter):
            return Parameter(_cut(what.constraint), what.shape)
        return Parameter(_cut(support(what)), tuple(what.event_shape))
    except NotImplementedError as error:
        raise ValueError(f"prior[{name!r}] cannot be used: {error}") from error


def _cut(constraint: Constraint) -> Constraint:
    """Return a constraint with angles as numbers between -pi and pi, whose densities end there."""
    if isinstance(constraint, constraints.independent):
        inner = _cut(constraint.base_constraint)
        return constraints.independent(inner, constraint.reinterpreted_batch_ndims)
    if isinstance(constraint, Image):
        return Image(_cut(constraint.base), constraint.transforms)
    if type(constraint).__name__ == "_Sphere":
        raise NotImplementedError("its values lie on a sphere; take angles instead")
    return constraints.interval(-math.pi, math.pi) if is_angle(constraint) else constraint


def _bounded(constraint: Constraint) -> bool:
    """Whether all values lie between finite bounds."""
    if isinstance(constraint, constraints.independent):
        return _bounded(constraint.base_constraint)
    if isinstance(constraint, Image):
        return _bounded(constraint.base)
    both = ("lower_bound", "upper_bound")
    return constraint is constraints.simplex or all(hasattr(constraint, each) for each in both)


def _index(place: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, place))}]" if place else ""
