"""A flow at unit scale, for data of any location and scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from invflow.flows.flow import Flow
from invflow.flows.named import built
from invflow.transforms import Compose, Preconditioner


class Preconditioned(Flow):
    r"""A flow followed by a fixed affine map: $x = \mu + L f(z)$.

    Args:
        flow: a flow, or a mapping with the "name" and arguments of one.
        generator: random numbers for the initial weights of a flow given as a mapping.

    Raises:
        TypeError: if `flow` is neither.
        ValueError: if the flow was put together from parts and has no configuration, or the mapping
            has no "name".

    Example:
        >>> from invflow.flows import IAF
        >>> flow = Preconditioned(IAF(features=2))
        >>> flow.set(torch.tensor([100.0, 0.0]), torch.diag(torch.tensor([0.1, 1e4])))
        >>> flow().sample((5,)).shape
        torch.Size([5, 2])
    """

    name: ClassVar[str | None] = "preconditioned"

    def __init__(
        self, flow: Flow | Mapping[str, Any], *, generator: torch.Generator | None = None
    ) -> None:
        inner = built("flow", flow, generator)
        if not isinstance(inner, Flow):
            raise TypeError(f"flow must be a Flow or a mapping, got {type(inner).__name__}")
        affine = Preconditioner(inner.features).to(inner.like)
        super().__init__(Compose([inner.transform, affine]), inner.base)
        self.config = {"flow": inner.described()}

    def set(self, location: Tensor, scale: Tensor) -> None:
        """Set mu, (features,), and the lower triangular L, as `Preconditioner.set` does."""
        cast(Preconditioner, cast(Compose, self.transform).transforms[-1]).set(location, scale)
