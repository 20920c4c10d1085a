"""A mixture of flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, constraints

from invflow.flows.bases import chosen
from invflow.flows.distribution import FlowDistribution
from invflow.flows.flow import Flow
from invflow.flows.named import Named, build


class FlowMixture(Named):
    r"""A mixture of flows with learned weights: $q(x|c) = \sum_k w_k q_k(x|c)$.

    Args:
        flows: two or more flows, or mappings with the "name" and the arguments of one, all over
            the same number of features and with the same context.
        generator: random numbers for the initial weights of flows given as mappings.

    Raises:
        TypeError: something that is no flow.
        ValueError: fewer than two flows, or flows of different sizes.

    Example:
        >>> import torch
        >>> from invflow.flows import IAF
        >>> mixture = FlowMixture([IAF(2), {"name": "maf", "features": 2}])
        >>> x = mixture().sample((5,))
        >>> mixture().log_prob(x).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "mixture"

    def __init__(
        self,
        flows: Sequence[Flow | Mapping[str, Any]],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        parts = [
            build(**flow, generator=generator) if isinstance(flow, Mapping) else flow
            for flow in flows
        ]
        if len(parts) < 2:
            raise ValueError(f"flows must be two or more, got {len(parts)}")
        for i, part in enumerate(parts):
            if not isinstance(part, Flow):
                raise TypeError(f"flows[{i}] must be a Flow, got {type(part).__name__}")
            if (part.features, part.context) != (parts[0].features, parts[0].context):
                raise ValueError(
                    f"flows must all have {parts[0].features} features and a context of "
                    f"{parts[0].context}, got {part.features} and {part.context} in flows[{i}]"
                )
        self.flows = nn.ModuleList(parts)
        self.logits = nn.Parameter(torch.zeros(len(parts)))

    @property
    def config(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The arguments that rebuild the mixture."""
        return {"flows": [flow.described() for flow in self._parts()]}

    @property
    def features(self) -> int:
        """Size of the vectors, D."""
        return self._parts()[0].features

    @property
    def context(self) -> int:
        """Size of the context, 0 for none."""
        return self._parts()[0].context

    def _parts(self) -> list[Flow]:
        return [flow for flow in self.flows if isinstance(flow, Flow)]

    def forward(
        self, context: Tensor | None = None, *, validate_args: bool | None = None
    ) -> MixtureDistribution:
        """Return the distribution at a context, as `Flow` does."""
        parts = [flow(context, validate_args=validate_args) for flow in self._parts()]
        return MixtureDistribution(parts, self.logits, validate_args)


class MixtureDistribution(Distribution):
    """The distribution of a mixture of flows. Made by calling a `FlowMixture`.

    Its samples have no gradient: which component one comes from is a choice, not a function.

    Args:
        parts: the flows' distributions, all of one batch shape.
        logits: unnormalised log weights, shape (components,).
        validate_args: check what comes in; None for torch's default.
    """

    # torch declares these as properties, and sets them as plain attributes, as here.
    arg_constraints: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    support = constraints.real_vector  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
    has_rsample = False

    def __init__(
        self,
        parts: Sequence[FlowDistribution],
        logits: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.parts = list(parts)
        self.logits = logits
        first = self.parts[0]
        super().__init__(first.batch_shape, first.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixtureDistribution:
        """Return the same distribution with a larger batch shape."""
        parts = [part.expand(Size(batch_shape)) for part in self.parts]
        return MixtureDistribution(parts, self.logits, self._validate_args)

    @torch.no_grad()
    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return samples, shape (*sample_shape, *batch_shape, features)."""
        draws = [part.sample(sample_shape, generator=generator) for part in self.parts]
        return chosen(torch.stack(draws), self.logits, generator)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of `value`, (*any, *batch_shape, features), in nats.

        Raises:
            TypeError: not a tensor, or of another dtype than the flows'.
            ValueError: wrong shape or device, or, with validation on, entries that are not finite.
        """
        parts = torch.stack([part.log_prob(value) for part in self.parts], -1)
        return torch.logsumexp(parts + torch.log_softmax(self.logits, -1).to(parts.dtype), -1)
