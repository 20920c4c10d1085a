"""Guidance: a conditioner pushed away from what it computes without a context."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from invflow import _checks
from invflow.conditioners.base import (
    CachedConditioner,
    GroupDecoder,
    GroupPullback,
    Plan,
    ReversiblePlan,
)


class Guided(CachedConditioner):
    r"""The parameters at a context, moved further away from those at a neutral context.

    $$p = P(z, c) + w\, \big(P(z, c) - P(z, c_0)\big)$$

    It shares its weights with P. Both are computed at the same features, side by side, so both
    directions cost two passes.

    Args:
        conditioner: P, with a context and a reverse sweep, such as `Attention` or `MADE`.
        neutral: $c_0$, shape (context,).
        weight: w; 0 for no guidance.

    Raises:
        TypeError: if an argument has the wrong type, or the conditioner has no reverse sweep, or
            overrides a computation of the class that has it.
        ValueError: if the conditioner has no context, `neutral` another shape, or the weight is not
            finite.

    What is guided are the parameters as the conditioner gives them. (Zhai et al. guide the mean and
    the log-scale of x given noise; a `MAF` has those of noise given x.)

    References:
        Ho and Salimans 2022, arXiv 2207.12598; for autoregressive flows: Zhai et al. 2024, arXiv
        2412.06329, section 3.4.

    Example:
        >>> import torch
        >>> from invflow.conditioners import MADE
        >>> made = MADE(3, (0.0, 0.0), context=2)
        >>> guided = Guided(made, torch.tensor([0.5, 0.5]), weight=2.0)
        >>> guided(torch.randn(5, 3), torch.randn(5, 2)).shape
        torch.Size([5, 3, 2])
    """

    settled = CachedConditioner.settled | {"weight"}
    neutral: Tensor

    def __init__(self, conditioner: CachedConditioner, neutral: Tensor, weight: float) -> None:
        plan = getattr(conditioner, "plan", None)
        if not isinstance(plan, ReversiblePlan):
            raise TypeError(
                "conditioner must have a reverse sweep, such as Attention or MADE, "
                f"got {type(conditioner).__name__}"
            )
        sweeping = next(kind for kind in type(conditioner).__mro__ if "pack" in vars(kind))
        if changed := conditioner.changed(sweeping):
            raise TypeError(
                f"conditioner must compute what {sweeping.__name__} does, "
                f"got {type(conditioner).__name__}, which has a {changed[0]} of its own"
            )
        super().__init__(
            conditioner.features, conditioner.outputs, conditioner.context, conditioner.group
        )
        if not conditioner.context:
            raise ValueError("conditioner must have a context, got context=0")
        if not isinstance(neutral, Tensor):
            raise TypeError(f"neutral must be a torch.Tensor, got {type(neutral).__name__}")
        if neutral.shape != (conditioner.context,):
            raise ValueError(
                f"neutral must have shape ({conditioner.context},), got {tuple(neutral.shape)}"
            )
        self.conditioner = conditioner
        self.weight = _checks.number("weight", weight)
        if not math.isfinite(self.weight):
            raise ValueError(f"weight must be finite, got {weight!r}")
        self.plan = GuidedPlan(plan, self.weight)
        self.register_buffer("neutral", neutral)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        given, neutral = self.conditioner(z, context), self.conditioner(z, self.neutral)
        return given + self.weight * (given - neutral)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        given, weights = self.conditioner.pack(batch, context)
        neutral, _ = self.conditioner.pack(batch, self.neutral)
        return torch.cat([given, neutral]), weights

    @classmethod
    def plan_from(cls, recipe: str) -> Plan:
        raise TypeError("a guided conditioner has no name, and its plan no recipe to be built from")


def _joined(stacked: Tensor) -> Tensor:
    """Return both halves of the rows side by side, as a batch of twice the size."""
    return stacked.unflatten(0, (2, -1)).movedim(0, 1).flatten(1)


def _stacked(joined: Tensor) -> Tensor:
    """Return both halves of the batch as rows."""
    return torch.cat(_halves(joined))


def _halves(joined: Tensor) -> tuple[Tensor, Tensor]:
    """Return both halves of the batch."""
    # `chunk` would compare sizes, and torch.export could then not leave the batch open.
    given, neutral = joined.unflatten(1, (2, -1)).unbind(1)
    return given, neutral


@dataclasses.dataclass(frozen=True)
class GuidedPlan(ReversiblePlan):
    """The sweeps of a plan at two contexts, the second of which is neutral.

    Args:
        plan: of the conditioner.
        weight: of the guidance.
    """

    plan: ReversiblePlan
    weight: float

    @property
    def recipe(self) -> str:
        return f"{self.weight} {self.plan.recipe}"

    @property
    def hidden_units(self) -> int:
        return 2 * self.plan.hidden_units

    def groups(self, features: int) -> Sequence[int]:
        return self.plan.groups(features)

    def empty_deltas(self, hidden: Tensor) -> Tensor:
        return _stacked(self.plan.empty_deltas(_joined(hidden)))

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> GuidedDecoder:
        return GuidedDecoder(self.plan.decoder(_joined(offset), weights), self.weight)

    def pullback(self, hidden: Tensor, weights: list[Tensor]) -> GuidedPullback:
        return GuidedPullback(self.plan.pullback(_joined(hidden), weights), self.weight)

    def gradients(
        self, weights: list[Tensor], z: Tensor, hidden: Tensor, deltas: Tensor, params: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        both = torch.cat([z, z], 1)
        offset, found = self.plan.gradients(
            weights, both, _joined(hidden), _joined(deltas), _both_bars(params, self.weight)
        )
        return _stacked(offset), found


class GuidedDecoder:
    """A decoder at two contexts.

    Args:
        decoder: of a batch of twice the size.
        weight: of the guidance.
    """

    def __init__(self, decoder: GroupDecoder, weight: float) -> None:
        self._decoder = decoder
        self._weight = weight

    @property
    def params(self) -> Tensor:
        """The parameters so far."""
        return self._guided(self._decoder.params)

    @property
    def hidden(self) -> Tensor:
        """The state of the decoder at both contexts."""
        return _stacked(self._decoder.hidden)

    def _guided(self, params: Tensor) -> Tensor:
        given, neutral = _halves(params)
        return given + self._weight * (given - neutral)

    def parameters(self, group: int) -> Tensor:
        """Return the parameters of a group, [size * outputs, batch], given all earlier groups."""
        return self._guided(self._decoder.parameters(group))

    def append(self, group: int, z: Tensor) -> None:
        """Append the values of a group, [size, batch]."""
        self._decoder.append(group, torch.cat([z, z], 1))


class GuidedPullback:
    """A pullback at two contexts.

    Args:
        pullback: of a batch of twice the size.
        weight: of the guidance.
    """

    def __init__(self, pullback: GroupPullback, weight: float) -> None:
        self._pullback = pullback
        self._weight = weight
        self._params: list[Tensor] = []

    @property
    def z(self) -> Tensor:
        """Cotangents of the features."""
        return _summed(self._pullback.z)

    @property
    def params(self) -> Tensor:
        """Cotangents of the parameters."""
        return torch.cat(self._params[::-1])

    @property
    def hidden(self) -> Tensor:
        """What the gradients of the weights need at both contexts."""
        return _stacked(self._pullback.hidden)

    def cotangent(self, group: int) -> Tensor:
        """Return the cotangents of a group, [size, batch], given those of all later parameters."""
        return _summed(self._pullback.cotangent(group))

    def append(self, group: int, params: Tensor) -> None:
        """Append the cotangents of a group's parameters, [size * outputs, batch]."""
        self._params.append(params)
        self._pullback.append(group, _both_bars(params, self._weight))


def _both_bars(params: Tensor, weight: float) -> Tensor:
    """Return the cotangents of the parameters at both contexts from those of the guided ones."""
    return torch.cat([(1 + weight) * params, -weight * params], 1)


def _summed(joined: Tensor) -> Tensor:
    given, neutral = _halves(joined)
    return given + neutral
