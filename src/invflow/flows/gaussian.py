"""The Gaussian, as a baseline for comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from invflow import _checks
from invflow.flows.base import Base
from invflow.flows.bases import described
from invflow.flows.flow import Flow
from invflow.transforms import Compose, Elementwise, Transform, UnitTriangular

KINDS = ("diagonal", "full")


class Gaussian(Flow):
    r"""A normal distribution with a learned mean and covariance, both linear in the context.

    $$x = \mu(c) + \operatorname{diag}(e^{s(c)})\, U(c)\, z, \qquad z \sim N(0, I)$$

    where U is unit lower triangular for a full covariance and the identity for a diagonal one, and
    s is softly bounded (see `Affine`). Other bases give other elliptical families.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        kind: "full" or "diagonal".
        base: the distribution of the noise: a name in `BASES`, a mapping with a "name" and its
            arguments, or an object.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, or a name is unknown.

    Example:
        >>> import torch
        >>> Gaussian(features=2)().log_prob(torch.zeros(2))
        tensor(-1.8379, grad_fn=...)
    """

    name: ClassVar[str | None] = "gaussian"

    def __init__(
        self,
        features: int,
        context: int = 0,
        *,
        kind: str = "full",
        base: str | Mapping[str, Any] | Base = "normal",
        generator: torch.Generator | None = None,
    ) -> None:
        _checks.choice("kind", kind, KINDS)
        scales: Transform = Elementwise(features, "affine", context=context, generator=generator)
        if kind == "full" and features > 1:
            lower = UnitTriangular(features, context=context, generator=generator)
            scales = Compose([lower, scales])
        super().__init__(scales, base, generator=generator)
        self.config = _checks.plain(
            {
                "features": features,
                "context": context,
                "kind": kind,
                "base": described(self.base),
            }
        )
