"""What every transform provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.nn import Parameter

from invflow import _checks
from invflow._part import Part
from invflow._torch import hooked
from invflow.transforms.as_torch import AsTorch
from invflow.univariate import Univariate
from invflow.univariate import univariate as as_univariate


class Transform(Part, ABC):
    """An invertible map of vectors, z -> x, which may depend on a context.

    Calling a transform maps noise z to data x; `inverse` maps x to z. Both return the value and its
    ladj, log|det d value/d input|, one number per batch element.

    Args:
        features: size of the vectors, D.
        context: size of the context, 0 for none.
    """

    __call__: Callable[..., tuple[Tensor, Tensor]]

    def __init__(self, features: int, context: int = 0) -> None:
        super().__init__()
        self.features = _checks.positive_integer("features", features)
        self.context = _checks.positive_integer("context", context, minimum=0)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a new univariate map must fit like the old one."""
        if name == "univariate" and "univariate" in vars(self):
            value = _instead(vars(self)["univariate"], value)
        super().__setattr__(name, value)

    #: Whether a call changes no state, so that a repeated call (checkpointing) gives the same.
    pure: ClassVar[bool] = True

    @property
    def domain(self) -> Constraint:
        """The space of z, as a constraint on vectors; unbounded by default."""
        return constraints.real_vector

    @property
    def codomain(self) -> Constraint:
        """The space of x, as a constraint on vectors; unbounded by default."""
        return constraints.real_vector

    @property
    def wraps(self) -> bool:
        """Whether an entry goes around a circle: the map of one feature is then not monotone."""
        univariate = vars(self).get("univariate")
        inner = [part for part in self.modules() if isinstance(part, Transform)][1:]
        return (univariate is not None and univariate.wraps) or any(part.wraps for part in inner)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map noise to data.

        Args:
            z: shape (*batch, features).
            context: broadcastable to (*batch, context), or None if none was declared.

        Returns:
            x, shaped like `z`, and log|det dx/dz|, of shape `batch`.

        Raises:
            TypeError: if an argument is not a tensor, or has the wrong dtype.
            ValueError: if a shape or device is wrong, the context is missing, or one is given where
                none was declared.
        """
        self._check("z", z, context)
        return self._forward(z, context)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to noise.

        Args:
            x: shape (*batch, features).
            context: broadcastable to (*batch, context), or None if none was declared.

        Returns:
            z, shaped like `x`, and log|det dz/dx|, of shape `batch`.

        Raises:
            TypeError: if an argument is not a tensor, or has the wrong dtype.
            ValueError: if a shape or device is wrong, the context is missing, or one is given where
                none was declared.
        """
        self._check("x", x, context)
        return self._inverse(x, context)

    def push(
        self, z: Tensor, score: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        r"""Map noise to data, and the score of the noise to the score of the data.

        If z has the density p, x has the density q with

        $$\nabla_x \log q(x) = \Big(\frac{\partial z}{\partial x}\Big)^\top \nabla_z \log p(z)
        + \nabla_x \log\Big|\det \frac{\partial z}{\partial x}\Big| .$$

        With the kernels for CPUs that is one more pass, as the inverse at x is known; otherwise it
        is the gradient of the inverse.

        Args:
            z: shape (*batch, features).
            score: gradient of log p at z, shaped like `z`.
            context: broadcastable to (*batch, context), or None if none was declared.

        Returns:
            x and log|det dx/dz|, as from a call; and the gradient of log q at x, shaped like `x`,
            without a graph.

        Raises:
            RuntimeError: in `torch.inference_mode`, and under the transforms of `torch.func`.
            TypeError: if an argument is not a tensor, or has the wrong dtype.
            ValueError: if a shape or device is wrong, the context is missing, or one is given where
                none was declared.

        References:
            Vaitl et al. 2024, arXiv 2403.15881.

        Example:
            >>> from invflow.transforms import Preconditioner
            >>> twice = Preconditioner(features=1)
            >>> twice.set(torch.tensor([0.0]), torch.tensor([[2.0]]))
            >>> z = torch.tensor([3.0])
            >>> twice.push(z, -z)  # noise from a standard normal
            (tensor([6.]), tensor(0.6931), tensor([-1.5000]))
        """
        self._check("z", z, context)
        _checks.event("score", score, self.features, _first(self))
        if score.shape != z.shape:
            raise ValueError(
                f"score must have the shape of z, {tuple(z.shape)}, got {tuple(score.shape)}"
            )
        # What another computation or a hook does is part of both directions alone.
        if torch.compiler.is_compiling() or hooked(self) or not _pushes(type(self)):
            return self._push_by_inverse(z, score.detach(), context)
        return self._push(z, score.detach(), context)

    def call_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map noise to data, like a call; this is Zuko's name for it."""
        return self(z, context)

    @property
    def inv(self) -> Transform:
        """The inverse of this transform, with the same parameters.

        Example:
            >>> import torch
            >>> from invflow.transforms import Permutation
            >>> Permutation([1, 2, 0]).inv(torch.tensor([1.0, 2.0, 3.0]))[0]
            tensor([3., 1., 2.])
        """
        from invflow.transforms.compose import Inverse  # it imports this module

        return Inverse(self)

    def as_torch(self, context: Tensor | None = None) -> AsTorch:
        """Return this transform at a context as one of `torch.distributions`.

        Args:
            context: shape (*batch, context), or None if none was declared.

        Raises:
            TypeError: if the context is not a tensor of floating-point numbers.
            ValueError: if the context is missing, was not declared or has the wrong size.
        """
        return AsTorch(self, context)

    def _check(self, name: str, value: Tensor, context: Tensor | None) -> None:
        like = _first(self)
        _checks.event(name, value, self.features, like)
        _checks.context(context, self.context, value.shape[:-1], like)

    def _push(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map noise and its score, see `push`; a subclass can do better."""
        return self._push_by_inverse(z, score, context)

    def _push_by_inverse(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map noise and its score by the gradient of the inverse."""
        x, ladj = self(z, context)
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            again, back = self.inverse(point, context)
            (pushed,) = torch.autograd.grad((again * score).sum() + back.sum(), point)
        return x, ladj, pushed

    @abstractmethod
    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...


def _pushes(kind: type[Transform]) -> bool:
    """Whether a class's `_push` belongs to its two directions, which a subclass may override."""
    names = "_push", "_forward", "_inverse", "_run", "forward", "inverse", "__call__"
    push, *directions = (
        next((i for i, each in enumerate(kind.__mro__) if name in vars(each)), len(kind.__mro__))
        for name in names
    )
    return push <= min(directions)


def _instead(before: Univariate, value: Any) -> Univariate:
    """Return the map that replaces another, if it fits."""
    after = as_univariate(value)
    if after.parameters != before.parameters:
        raise ValueError(
            f"univariate must take {before.parameters} parameters per feature, as before, "
            f"got {after!r}, which takes {after.parameters}"
        )
    if after.base != before.base:
        raise ValueError(f"univariate must suit the base {before.base}, got {after!r}")
    return after


def _first(module: nn.Module) -> Parameter | None:
    """Return a module's first parameter, without the generators of `parameters()`."""
    for parameter in vars(module)["_parameters"].values():
        if parameter is not None:
            return parameter
    for child in vars(module)["_modules"].values():
        if child is not None and (found := _first(child)) is not None:
            return found
    return None
