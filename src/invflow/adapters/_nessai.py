"""Flows as nessai's class. This module imports nessai: import it only when needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from torch import Tensor

from invflow.flows import Flow, build

# Untyped, because nessai declares only some of its types.
BaseFlow: Any = import_module("nessai.flows.base").BaseFlow


class NessaiFlow(BaseFlow):
    """A flow for nessai, whose forward direction maps data to noise; made by `flow_class`.

    Args:
        recipe: the name and the arguments of the flow.
    """

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        super().__init__()
        self.recipe = recipe
        self.flow = cast(Flow, build(**recipe))

    def reset_parameters(self) -> None:
        """Start from new weights; nessai calls this after the same method of each part."""
        self.flow.load_state_dict(build(**self.recipe).state_dict())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow.transform.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow.transform(z, context)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.flow(context).log_prob(x)

    def forward_and_log_prob(
        self, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, ladj = self.forward(x, context)
        return z, self.flow.base.log_prob(z) + ladj

    def sample(self, n: int, context: Tensor | None = None) -> Tensor:
        return self.sample_and_log_prob(n, context)[0]

    def sample_and_log_prob(self, n: int, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = self.sample_latent_distribution(n)
        x, ladj = self.inverse(z, context)
        return x, self.flow.base.log_prob(z) - ladj

    def sample_latent_distribution(self, n: int, context: Tensor | None = None) -> Tensor:
        like = self.flow.like
        return self.flow.base.sample((n,), dtype=like.dtype, device=like.device)

    def base_distribution_log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.flow.base.log_prob(z)

    def freeze_transform(self) -> None:
        self.flow.transform.requires_grad_(False)

    def unfreeze_transform(self) -> None:
        self.flow.transform.requires_grad_(True)
