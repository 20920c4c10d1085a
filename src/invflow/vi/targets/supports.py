"""The supports of values, and bijections from unconstrained numbers onto them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Size, Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    IndependentTransform,
    Transform,
    identity_transform,
)

from invflow._broadcast import broadcast
from invflow.vi.targets.matrices import (
    CholeskyFactor,
    PositiveDefinite,
    Symmetric,
    Triangle,
    UnitTriangle,
)
from invflow.vi.targets.sphere import Sphere, Wrap


class Angle(Constraint):
    r"""Angles in radians, in $(-\pi, \pi]$: angles a whole turn apart are the same.

    Example:
        >>> angle.check(torch.tensor([3.0, 4.0]))
        tensor([ True, False])
    """

    def check(self, value: Tensor) -> Tensor:
        return (value > -math.pi) & (value <= math.pi)

    def __repr__(self) -> str:
        return "Angle()"


#: The constraint of a parameter that is an angle.
angle = Angle()


class Image(Constraint):
    """The values of a constraint, mapped by bijections.

    Args:
        base: the constraint.
        transforms: bijections, the first of which takes its values.

    Example:
        >>> Image(constraints.positive, [AffineTransform(1.0, 2.0)]).check(torch.tensor([0.5, 1.5]))
        tensor([False,  True])
    """

    def __init__(self, base: Constraint, transforms: Sequence[Transform]) -> None:
        self.base, self.transforms = base, tuple(transforms)
        super().__init__()

    def __repr__(self) -> str:
        return f"Image({self.base}, {list(self.transforms)})"

    @property
    def is_discrete(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.base.is_discrete

    @property
    def event_dim(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        whole = ComposeTransform(list(self.transforms))
        return whole.codomain.event_dim + max(0, self.base.event_dim - whole.domain.event_dim)

    def check(self, value: Tensor) -> Tensor:
        batch = value.ndim - self.event_dim
        inside = value.new_ones(value.shape[:batch], dtype=torch.bool)
        for transform in reversed(self.transforms):
            # The inverse may be defined outside: that of the sigmoid clamps its argument.
            inside = inside & _all(transform.codomain.check(value), batch)
            value = cast(Tensor, transform.inv(value))
        return inside & _all(self.base.check(value), batch)


def _all(found: Tensor, ndim: int) -> Tensor:
    """Return whether all entries are true, over all but the first dimensions."""
    while found.ndim > ndim:
        found = found.all(-1)
    return found


def common(constraint: Constraint) -> Constraint:
    """Return the constraint of the components of a mixture if it is the same for all of them.

    Raises:
        NotImplementedError: if it may not be.
    """
    if _may_differ(constraint):
        raise NotImplementedError("its components may have different supports")
    return constraint


def _may_differ(what: Any) -> bool:
    """Whether a constraint, or a transform, has tensors: perhaps a number for each component."""
    if isinstance(what, constraints.independent):
        return _may_differ(what.base_constraint)
    if isinstance(what, Image):
        return any(map(_may_differ, (what.base, *what.transforms)))
    if isinstance(what, ComposeTransform):
        return any(map(_may_differ, what.parts))
    return any(isinstance(each, Tensor) for each in vars(what).values())


#: Bijections that torch and Pyro do not have, by the name of the constraint's class, so that Pyro
#: need not be installed.
_OWN: dict[str, Callable[[], Transform]] = {
    "Angle": Wrap,
    "_Sphere": Sphere,
    "_Square": lambda: IndependentTransform(identity_transform, 2),
    "_Symmetric": Symmetric,
    "_LowerTriangular": Triangle,
    "_UnitLowerCholesky": UnitTriangle,
    "_LowerCholesky": CholeskyFactor,
    "_SoftplusLowerCholesky": CholeskyFactor,
    "_PositiveDefinite": PositiveDefinite,
    "_PositiveSemidefinite": PositiveDefinite,
}


def bijection(constraint: Constraint) -> Transform:
    """Return a bijection from unconstrained numbers onto a constraint's values.

    It is that of `biject_to` of torch and Pyro; for angles, spheres and matrices it is invflow's.

    Raises:
        NotImplementedError: if there is none.

    Example:
        >>> bijection(constraints.positive_definite).inverse_shape(Size((3, 3)))
        torch.Size([6])
    """
    own = _OWN.get(type(constraint).__name__)
    if own is not None:
        return own()
    if isinstance(constraint, constraints.independent):
        inner = bijection(constraint.base_constraint)
        return IndependentTransform(inner, constraint.reinterpreted_batch_ndims)
    if isinstance(constraint, constraints.MixtureSameFamilyConstraint):
        return bijection(common(constraint.base_constraint))
    if isinstance(constraint, Image):
        return ComposeTransform([bijection(constraint.base), *constraint.transforms])
    return biject_to(constraint)


def inverse_shape(onto: Transform, shape: Size) -> Size:
    """Return the shape of what a bijection maps to values of a shape.

    (That of torch's affine maps imports SymPy at its first call.)

    Raises:
        ValueError, IndexError, AssertionError: if there are no values of this shape.

    Example:
        >>> inverse_shape(bijection(constraints.positive), Size([2]))
        torch.Size([2])
    """
    if isinstance(onto, ComposeTransform):
        for part in reversed(onto.parts):
            shape = inverse_shape(part, shape)
        return Size(shape)
    if isinstance(onto, IndependentTransform):
        return inverse_shape(onto.base_transform, shape)
    if isinstance(onto, AffineTransform):
        ends = (torch.as_tensor(each).shape for each in (onto.loc, onto.scale))
        return broadcast(shape, *ends)
    return Size(onto.inverse_shape(shape))


def circular(constraint: Constraint, shape: Size) -> Tensor:
    """Return which unconstrained numbers of a value, of this shape, are angles."""
    if isinstance(constraint, constraints.independent):
        return circular(constraint.base_constraint, shape)
    if isinstance(constraint, Image):
        return circular(constraint.base, shape)
    which = torch.zeros(shape, dtype=torch.bool)
    if is_angle(constraint):
        which[...] = True
    elif type(constraint).__name__ == "_Sphere":
        which[..., -1] = True
    return which


def is_angle(constraint: Constraint) -> bool:
    """Whether every entry of the constraint's values is an angle."""
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    return isinstance(constraint, Angle)
