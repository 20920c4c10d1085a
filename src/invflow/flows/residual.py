"""Planar, radial and Sylvester flows: a Gaussian followed by many small steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch

from invflow import _checks
from invflow import transforms as _transforms
from invflow.flows.base import Base
from invflow.flows.bases import described
from invflow.flows.flow import Flow
from invflow.transforms import Compose, Elementwise, Permuted, Transform

BaseLike = str | Mapping[str, Any] | Base


class _ResidualFlow(Flow):
    def __init__(
        self,
        features: int,
        context: int,
        steps: int,
        step: Callable[[int], Transform],
        base: BaseLike,
        checkpoint: bool,
        generator: torch.Generator | None,
    ) -> None:
        _checks.positive_integer("transforms", steps)
        gaussian = Elementwise(features, "affine", context=context, generator=generator)
        parts = [gaussian, *map(step, range(steps))]
        super().__init__(Compose(parts, checkpoint=checkpoint), base, generator=generator)
        self.config = _checks.plain(
            {
                "features": features,
                "context": context,
                "transforms": steps,
                "base": described(self.base),
                "checkpoint": checkpoint,
            }
        )


class Planar(_ResidualFlow):
    r"""A diagonal Gaussian, then steps along one direction each: $z + u \tanh(w^\top z + b)$.

    With a context, every parameter is linear in it, as for the amortised posterior of a VAE.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of steps, K.
        base: the distribution of the noise: a name in `BASES`, a mapping with a "name" and its
            arguments, or an object.
        checkpoint: save memory for gradients at the cost of one more pass; see `Compose`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, or the base is unknown.

    References:
        Rezende and Mohamed 2015, arXiv 1505.05770.

    Example:
        >>> Planar(features=3)().sample((5,)).shape
        torch.Size([5, 3])
    """

    name: ClassVar[str | None] = "planar"

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 8,
        *,
        base: BaseLike = "normal",
        checkpoint: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        def step(k: int) -> Transform:
            return _transforms.Planar(features, context=context, generator=generator)

        super().__init__(features, context, transforms, step, base, checkpoint, generator)


class Radial(_ResidualFlow):
    r"""A diagonal Gaussian, then steps towards or away from one centre each.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of steps, K.
        base: as for `Planar`.
        checkpoint: as for `Planar`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, or the base is unknown.

    References:
        Rezende and Mohamed 2015, arXiv 1505.05770.

    Example:
        >>> Radial(features=3)().sample((5,)).shape
        torch.Size([5, 3])
    """

    name: ClassVar[str | None] = "radial"

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 8,
        *,
        base: BaseLike = "normal",
        checkpoint: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        def step(k: int) -> Transform:
            return _transforms.Radial(features, context=context, generator=generator)

        super().__init__(features, context, transforms, step, base, checkpoint, generator)


class Sylvester(_ResidualFlow):
    r"""A diagonal Gaussian, then steps in several directions at once.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of steps, K.
        columns: number of directions of each step, M; D by default.
        basis: how to make them orthogonal: "orthogonal", "householder" or "triangular" (with the
            order reversed in every other step).
        base: as for `Planar`.
        checkpoint: as for `Planar`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        van den Berg et al. 2018, arXiv 1803.05649.

    Example:
        >>> Sylvester(features=3, columns=2)().sample((5,)).shape
        torch.Size([5, 3])
    """

    name: ClassVar[str | None] = "sylvester"

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 4,
        *,
        columns: int | None = None,
        basis: str = "orthogonal",
        base: BaseLike = "normal",
        checkpoint: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        _checks.choice("basis", basis, _transforms.ORTHONORMAL)

        def step(k: int) -> Transform:
            kind = Permuted(reverse=bool(k % 2)) if basis == "triangular" else basis
            return _transforms.Sylvester(
                features, columns, kind, context=context, generator=generator
            )

        super().__init__(features, context, transforms, step, base, checkpoint, generator)
        self.config |= _checks.plain({"columns": columns, "basis": basis})
