"""A flow as the base of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from invflow.flows.base import Base
from invflow.flows.bases import BASES
from invflow.flows.flow import Flow
from invflow.flows.mixture import FlowMixture
from invflow.flows.named import built


class FlowBase(Base):
    r"""The distribution of a flow without context, or of a mixture of such flows, as a base.

    Args:
        features: size of the vectors, D.
        flow: a flow, or a mapping with the "name" and arguments of one.
        generator: random numbers for the initial weights of a flow given as a mapping.

    Raises:
        TypeError: if `flow` is something else.
        ValueError: if the flow has a context, or another number of features.

    Example:
        >>> import invflow
        >>> outer = invflow.IAF(2, base={"name": "flow", "flow": {"name": "maf", "features": 2}})
        >>> outer().sample((5,)).shape
        torch.Size([5, 2])
    """

    takes_generator = True

    def __init__(
        self,
        features: int,
        flow: Flow | FlowMixture | Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(features)
        flow = built("flow", flow, generator)
        if not isinstance(flow, Flow | FlowMixture):
            raise TypeError(f"flow must be a Flow or a mapping, got {type(flow).__name__}")
        if flow.context or flow.features != features:
            raise ValueError(
                f"flow must have {features} features and no context, "
                f"got {flow.features} features and a context of {flow.context}"
            )
        self.flow = flow

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.flow().has_rsample

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self.flow().rsample(shape, generator=generator)

    def sample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        return self.flow().sample(shape, generator=generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.flow(validate_args=False).log_prob(z)

    def config(self) -> dict[str, Any]:
        return {"flow": self.flow.described()}


BASES["flow"] = FlowBase
