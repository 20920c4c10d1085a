"""A map of each feature alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invflow.transforms.base import Transform
from invflow.transforms.parameters import SMALL, Parameters
from invflow.univariate import Univariate
from invflow.univariate import univariate as as_univariate


class Elementwise(Transform):
    r"""A univariate map per feature, with parameters that are learned or linear in the context.

    $$x_i = u(z_i; p_i), \qquad p = b + C c$$

    With the affine map and a context this is the amortised Gaussian of a VAE's encoder; without a
    context, a diagonal scale and a shift. The map's location depends on the context from the start,
    so that an encoder is felt at once; its other parameters hardly do, and it starts near the
    identity otherwise.

    Args:
        features: number of features, D.
        univariate: the map of each feature, by name or as an object.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` is below 1, `context` is negative, or the map is unknown.

    Example:
        >>> import torch
        >>> transform = Elementwise(features=3, context=2)
        >>> x, ladj = transform(torch.randn(5, 3), torch.randn(5, 2))
        >>> x.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        features: int,
        univariate: str | Mapping[str, Any] | Univariate = "affine",
        *,
        context: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(features, context)
        self.univariate = as_univariate(univariate)
        start = torch.tensor(self.univariate.start)
        gain = torch.full_like(start, SMALL)
        if (location := self.univariate.location) is not None:
            gain[location] = 1
        self.given = Parameters(
            start.repeat(features), context, generator, gain=gain.repeat(features)
        )

    def _params(self, context: Tensor | None, like: Tensor) -> Tensor:
        return self.given(context, like).unflatten(-1, (self.features, -1))

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, ladj = self.univariate.forward(z, self._params(context, z))
        return x, ladj.expand_as(z).sum(-1)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, ladj = self.univariate.inverse(x, self._params(context, x))
        return z, ladj.expand_as(x).sum(-1)
