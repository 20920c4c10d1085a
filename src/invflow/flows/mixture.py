"""A mixture of flows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Size, Tensor, nn
from torch.distributions import constraints

from invflow import _checks
from invflow.flows.bases import chosen
from invflow.flows.distribution import FlowDistribution, validate
from invflow.flows.estimated import Estimated
from invflow.flows.flow import Flow
from invflow.flows.named import Named, built


class FlowMixture(Named):
    r"""A mixture of flows with learned weights: $q(x|c) = \sum_k w_k q_k(x|c)$.

    Args:
        flows: two or more flows, or mappings with the "name" and arguments of one, all with the
            same number of features and the same context size.
        generator: random numbers for the initial weights of flows given as mappings.

    Raises:
        TypeError: if one of them is not a flow.
        ValueError: if there are fewer than two flows, or their sizes differ.

    Example:
        >>> import torch
        >>> from invflow.flows import IAF
        >>> mixture = FlowMixture([IAF(2), {"name": "maf", "features": 2}])
        >>> x = mixture().sample((5,))
        >>> mixture().log_prob(x).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "mixture"

    __call__: Callable[..., MixtureDistribution]

    def __init__(
        self,
        flows: Sequence[Flow | Mapping[str, Any]],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(flows, Sequence):
            raise TypeError(f"flows must be a sequence, got {type(flows).__name__}")
        parts = [built(f"flows[{i}]", flow, generator) for i, flow in enumerate(flows)]
        if len(parts) < 2:
            raise ValueError(f"flows must be at least two, got {len(parts)}")
        for i, part in enumerate(parts):
            if not isinstance(part, Flow):
                raise TypeError(f"flows[{i}] must be a Flow, got {type(part).__name__}")
            if (part.features, part.context) != (parts[0].features, parts[0].context):
                raise ValueError(
                    f"flows must all have {parts[0].features} features and a context of "
                    f"{parts[0].context}, got {part.features} and {part.context} in flows[{i}]"
                )
            if part.like.dtype != parts[0].like.dtype:
                raise ValueError(
                    f"flows must all be of dtype {parts[0].like.dtype}, got {part.like.dtype} "
                    f"in flows[{i}]"
                )
        self.flows = nn.ModuleList(parts)
        self.logits = nn.Parameter(torch.zeros(len(parts)).to(parts[0].like))

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
        # The mixture checks values: one component may reach what another does not.
        parts = [flow(context, validate_args=False) for flow in self._parts()]
        return MixtureDistribution(parts, self.logits, validate_args)


class MixtureDistribution(Estimated):
    """The distribution of a mixture of flows. Made by calling a `FlowMixture`.

    Its samples have no gradient, because choosing a component is not differentiable; neither have
    `estimate_mean`, `estimate_variance` and `estimate_entropy`.

    Args:
        parts: the flows' distributions, all with the same batch shape.
        logits: unnormalised log weights, shape (components,).
        validate_args: check values; None for torch's default.
    """

    # torch declares these as properties but sets them as plain attributes, as here.
    arg_constraints: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]
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

    @property
    def support(self) -> constraints.Constraint:
        """The union of the components' supports."""
        return _Union([part.support for part in self.parts])

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixtureDistribution:
        """Return the same distribution with a larger batch shape."""
        parts = [part.expand(Size(batch_shape)) for part in self.parts]
        return MixtureDistribution(parts, self.logits, self._validate_args)

    @torch.no_grad()
    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return samples, shape (*sample_shape, *batch_shape, features).

        Raises:
            TypeError: if `sample_shape` is not a shape.
            ValueError: if `sample_shape` has a negative size.
        """
        shape = _checks.sample_shape(sample_shape)
        draws = [part.sample(shape, generator=generator) for part in self.parts]
        return chosen(torch.stack(draws), self.logits, generator)

    def rsample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Raise a NotImplementedError: choosing a component is not differentiable."""
        raise NotImplementedError("a mixture has no reparameterised samples; use sample")

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of `value`, (*any, *batch_shape, features), in nats.

        Raises:
            TypeError: if `value` is not a tensor, or does not have the flows' dtype.
            ValueError: if the shape or the device is wrong or, with validation on, an entry is not
                finite or a vector lies outside the support.
        """
        first = self.parts[0]
        _checks.event("value", value, first.event_shape[0], first.like)
        if self._validate_args and not torch.compiler.is_compiling():
            validate(value, self.support)
        parts = torch.stack([_log_prob(part, value) for part in self.parts], -1)
        return torch.logsumexp(parts + torch.log_softmax(self.logits, -1).to(parts.dtype), -1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"


def _log_prob(part: FlowDistribution, value: Tensor) -> Tensor:
    """Return the log density of a component: -inf outside its support."""
    if part.support is constraints.real_vector:
        return part.log_prob(value)
    inside = part.support.check(value)
    # Points outside would give NaN, and NaN gradients: a point inside replaces them.
    transform, _ = part.snapshots
    stand_in = transform.run(part.transform, torch.zeros_like(value), part.context)[0].detach()
    log_prob = part.log_prob(torch.where(inside.unsqueeze(-1), value, stand_in))
    return torch.where(inside, log_prob, -torch.inf)


class _Union(constraints.Constraint):
    """Vectors that lie in at least one of several sets."""

    event_dim = 1

    def __init__(self, parts: Sequence[constraints.Constraint]) -> None:
        self.parts = list(parts)
        super().__init__()

    def __repr__(self) -> str:
        return " or ".join(dict.fromkeys(map(str, self.parts)))

    def check(self, value: Tensor) -> Tensor:
        return torch.stack([part.check(value) for part in self.parts]).any(0)
