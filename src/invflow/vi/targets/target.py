"""The target of a posterior: a log density over unconstrained vectors, and what they represent."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from invflow import _checks
from invflow._log_density import checked
from invflow.vi.targets import supports
from invflow.vi.targets.model_data import ModelData
from invflow.vi.targets.pointwise import LogLikelihood, pointwise
from invflow.vi.targets.vectors import tensor


class Target(ABC):
    """A log density over unconstrained vectors, (batch, dim), and what the vectors represent.

    Subclasses define `dim`, `log_density` and `constrain`.
    """

    #: What the evidence of this kind of target may lack: a sentence for the verdict.
    caveat: str = (
        "The log evidence is the log of the integral of the density as given; it lacks any "
        "constants that the density leaves out."
    )
    #: Size of the unconstrained vectors, D.
    dim: int
    #: Entries of the vectors that are angles, in radians: the log density has a period of one turn,
    #: and the posterior is over one turn.
    angles: tuple[int, ...] = ()
    #: Named quantities that are angles.
    angular: frozenset[str] = frozenset()
    #: The data of the model, and the names of the axes of its variables, as far as it knows them.
    model_data: ModelData = ModelData()

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """Return the log density of `z`, up to a constant, in nats.

        Args:
            z: unconstrained, shape (batch, dim), of any floating-point dtype.

        Returns:
            Shape (batch,), differentiable in `z`, including the log-Jacobians of constraints.
        """

    def estimate(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Return an unbiased estimate of `log_density`, for targets that subsample their data."""
        del generator
        return self.log_density(z)

    @abstractmethod
    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Return the named quantities, (*batch, *shape) each, that `z`, (*batch, dim), represents.

        NaN and infinity are passed through.
        """

    def log_likelihood(self, z: Tensor) -> dict[str, Tensor]:
        """Return the log likelihood of each observation, in nats, by the name of the data.

        These are terms of `log_density`. There are none if the target does not tell the likelihood
        from the prior.

        Args:
            z: unconstrained, shape (batch, dim).

        Returns:
            Shape (batch, *shape) for each name.
        """
        del z
        return {}


class Flat(Target):
    """A function of flat vectors.

    Args:
        log_density: takes (batch, dim), returns (batch,).
        dim: size of the vectors, D.
        name: name of the vector.
        log_likelihood: takes (batch, dim), returns those terms of `log_density` that are log
            likelihoods of observations, (batch, *shape) each, by the name of the data.

    Raises:
        TypeError: if `log_density` or `log_likelihood` is not callable, or `dim` not an integer.
        ValueError: if `dim` is below 1.

    Example:
        >>> target = Flat(lambda z: -0.5 * z.square().sum(-1), dim=2)
        >>> target.log_density(torch.zeros(3, 2))
        tensor([-0., -0., -0.])
    """

    def __init__(
        self,
        log_density: Callable[[Tensor], Tensor],
        dim: int,
        name: str = "z",
        *,
        log_likelihood: LogLikelihood | None = None,
    ) -> None:
        self._function = _callable("log_density", log_density)
        self._likelihood = (
            None if log_likelihood is None else _callable("log_likelihood", log_likelihood)
        )
        self.dim = _checks.positive_integer("dim", dim)
        self.name = name

    def log_density(self, z: Tensor) -> Tensor:
        return self._function(z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {self.name: z}

    def log_likelihood(self, z: Tensor) -> dict[str, Tensor]:
        if self._likelihood is None:
            return {}
        return pointwise(self._likelihood(z), len(z))


@dataclass(frozen=True)
class Parameter:
    """The constraint and the shape of a named parameter.

    Args:
        constraint: of torch.distributions, such as `constraints.positive`.
        shape: of one value, () for a number.

    Raises:
        TypeError: if the constraint is not a constraint, or the shape not a tuple of integers.
        ValueError: if the constraint is discrete, or has no bijection, or a size is below 1.

    Example:
        >>> Parameter(constraints.simplex, (3,)).size
        2
    """

    constraint: Constraint = constraints.real
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.constraint, Constraint):
            kind = type(self.constraint).__name__
            raise TypeError(f"constraint must be a constraint of torch.distributions, got {kind}")
        if not isinstance(self.shape, tuple):
            raise TypeError(f"shape must be a tuple of sizes, got {type(self.shape).__name__}")
        if self.constraint.is_discrete:
            raise ValueError(f"constraint must be continuous, got {self.constraint}")
        for size in self.shape:
            _checks.positive_integer("shape", size)
        try:
            supports.bijection(self.constraint)
        except NotImplementedError as error:
            raise ValueError(
                "constraint must have a bijection from unconstrained numbers, got "
                f"{self.constraint}: {error}"
            ) from error

    @property
    def bijection(self) -> Any:
        """The map from unconstrained numbers."""
        return supports.bijection(self.constraint)

    @property
    def unconstrained_shape(self) -> Size:
        """The shape of a value before it is constrained."""
        return supports.inverse_shape(self.bijection, Size(self.shape))

    @property
    def size(self) -> int:
        """The number of unconstrained numbers."""
        return math.prod(self.unconstrained_shape)


class Named(Target):
    r"""A function of named parameters, each with a constraint.

    With b the bijection of torch's `biject_to` for each parameter's constraint, or that of
    `invflow.vi.targets.supports` for angles, spheres and matrices,

    $$\log p(z) = \log p(b(z)) + \log|\det \partial b / \partial z| .$$

    Args:
        log_density: takes the constrained parameters as keyword arguments, (batch, *shape) each,
            and returns their log density, (batch,), up to a constant.
        parameters: by name, a `Parameter`, or a constraint for a single number.
        log_likelihood: takes the constrained parameters as `log_density` does, and returns those
            of its terms that are log likelihoods of observations, (batch, *shape) each, by the
            name of the data. Leave-one-out cross-validation by ArviZ needs it.

    Raises:
        TypeError: if a function is not callable, or a parameter has the wrong type.
        ValueError: if `parameters` is empty.

    Example:
        >>> def log_density(mu, tau):
        ...     return -0.5 * mu.square() - tau
        >>> target = Named(log_density, {"mu": constraints.real, "tau": constraints.positive})
        >>> target.dim
        2
        >>> target.constrain(torch.zeros(5, 2))["tau"]
        tensor([1., 1., 1., 1., 1.])
    """

    def __init__(
        self,
        log_density: Callable[..., Tensor],
        parameters: Mapping[str, Parameter | Constraint],
        *,
        log_likelihood: LogLikelihood | None = None,
    ) -> None:
        self._function = _callable("log_density", log_density)
        self._likelihood = (
            None if log_likelihood is None else _callable("log_likelihood", log_likelihood)
        )
        if not isinstance(parameters, Mapping):
            raise TypeError(f"parameters must be a mapping, got {type(parameters).__name__}")
        self.parameters = {name: _parameter(name, what) for name, what in parameters.items()}
        if not self.parameters:
            raise ValueError("parameters must name at least one parameter, got none")
        self.dim = sum(parameter.size for parameter in self.parameters.values())
        which = [
            supports.circular(each.constraint, each.unconstrained_shape).reshape(-1)
            for each in self.parameters.values()
        ]
        self.angles = tuple(torch.cat(which).nonzero().flatten().tolist())
        self.angular = frozenset(
            name for name, each in self.parameters.items() if supports.is_angle(each.constraint)
        )

    def log_density(self, z: Tensor) -> Tensor:
        ladj = z.new_zeros(z.shape[:-1])
        values: dict[str, Tensor] = {}
        for name, (parameter, free) in self._split(z).items():
            bijection = parameter.bijection
            values[name] = bijection(free)
            part = bijection.log_abs_det_jacobian(free, values[name])
            ladj = ladj + part.reshape(*z.shape[:-1], -1).sum(-1)
        return checked(self._function(**values), ladj.shape) + ladj

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {name: what.bijection(free) for name, (what, free) in self._split(z).items()}

    def log_likelihood(self, z: Tensor) -> dict[str, Tensor]:
        if self._likelihood is None:
            return {}
        return pointwise(self._likelihood(**self.constrain(z)), len(z))

    def unconstrain(self, values: Mapping[str, Any]) -> Tensor:
        """Return the vectors, (*batch, dim), of named values, (*batch, *shape) each.

        Args:
            values: of every parameter: tensors, arrays or lists.

        Raises:
            TypeError: if a value does not hold real numbers.
            ValueError: if a parameter is missing.
        """
        parts: list[Tensor] = []
        for name, parameter in self.parameters.items():
            free = parameter.bijection.inv(value_of(name, values))
            batch = free.shape[: free.ndim - len(parameter.unconstrained_shape)]
            parts.append(free.reshape(*batch, parameter.size))
        return torch.cat(parts, -1)

    def _split(self, z: Tensor) -> dict[str, tuple[Parameter, Tensor]]:
        sizes = [parameter.size for parameter in self.parameters.values()]
        parts = z.split(sizes, -1)
        return {
            name: (parameter, part.reshape(z.shape[:-1] + parameter.unconstrained_shape))
            for (name, parameter), part in zip(self.parameters.items(), parts, strict=True)
        }


def value_of(name: str, values: Mapping[str, Any]) -> Tensor:
    """Return a named value as a tensor of floating-point numbers.

    Raises:
        TypeError: if it does not hold real numbers.
        ValueError: if it is missing.
    """
    if name not in values:
        raise ValueError(f"values must include {name!r}, got {', '.join(map(repr, values))}")
    found = tensor(name, values[name])
    return found if found.is_floating_point() else found.double()


def _callable(name: str, value: Any) -> Callable[..., Tensor]:
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {type(value).__name__}")
    return cast(Callable[..., Tensor], value)


def _parameter(name: str, what: Parameter | Constraint) -> Parameter:
    if isinstance(what, Parameter):
        return what
    if isinstance(what, Constraint):
        return Parameter(what)
    raise TypeError(
        f"parameters[{name!r}] must be a Parameter or a constraint, got {type(what).__name__}"
    )
