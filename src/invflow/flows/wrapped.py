"""A flow over vectors in which some entries are angles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from invflow.flows.flow import Flow
from invflow.flows.named import built
from invflow.transforms import Circles, Compose


class Wrapped(Flow):
    r"""A flow whose angles are mapped onto circles by `Circles`: $x_i \in c_i + [-\pi, \pi]$.

    Args:
        flow: a flow, or a mapping with the "name" and arguments of one.
        angles: which entries are angles, in radians.
        generator: random numbers for the initial weights of a flow given as a mapping.

    Raises:
        TypeError: if `flow` is neither.
        ValueError: if the flow was put together from parts and has no configuration, the mapping
            has no "name", or the angles are not different features.

    Example:
        >>> import torch
        >>> from invflow.flows import IAF
        >>> flow = Wrapped(IAF(features=2), angles=[0])
        >>> flow.set(torch.tensor([3.0]), torch.tensor([0.5]))
        >>> flow().sample((5,)).shape
        torch.Size([5, 2])
    """

    name: ClassVar[str | None] = "wrapped"

    def __init__(
        self,
        flow: Flow | Mapping[str, Any],
        angles: Sequence[int],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        inner = built("flow", flow, generator)
        if not isinstance(inner, Flow):
            raise TypeError(f"flow must be a Flow or a mapping, got {type(inner).__name__}")
        circles = Circles(inner.features, angles).to(inner.like)
        super().__init__(Compose([inner.transform, circles]), inner.base)
        self.config = {"flow": inner.described(), "angles": list(circles.angles)}

    def set(self, centre: Tensor, concentration: Tensor) -> None:
        """Set the centres and concentrations of the circles, (angles,) each; see `Circles.set`."""
        cast(Circles, cast(Compose, self.transform).transforms[-1]).set(centre, concentration)
