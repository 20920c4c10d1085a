"""The contract of a conditioner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from invflow._overrides import overridden
from invflow._part import Part


class Conditioner(Part, ABC):
    """A causal network: the parameters of feature i from features before i and from the context.

    The context reaches the parameters of every feature, the first one's too. A conditioner works
    on the features in the order in which they come; the transform around it decides that order.

    Args:
        features: number of features, D.
        outputs: number of parameters per feature, P.
        context: size of the context, 0 for none.
    """

    def __init__(self, features: int, outputs: int, context: int) -> None:
        super().__init__()
        self.features = features
        self.outputs = outputs
        self.context = context

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all features in one pass.

        Args:
            z: features, shape (*batch, features).
            context: shape broadcastable to (*batch, context), or None where none was declared.

        Returns:
            Parameters of shape (*batch, features, outputs), in the dtype of `z`.
        """


class FeatureDecoder(Protocol):
    """Gives the parameters of one feature after another from cached state.

    After the last feature, `params` and `hidden` are all parameters [D * P, batch] and what a
    `ReversiblePlan` needs for the backward pass, [units, batch].
    """

    @property
    def params(self) -> Tensor:
        """The parameters so far."""
        ...

    @property
    def hidden(self) -> Tensor:
        """What the backward pass needs."""
        ...

    def parameters(self, feature: int) -> Tensor:
        """Return the parameters of a feature, [P, batch], once all earlier ones are given."""
        ...

    def append(self, feature: int, z: Tensor) -> None:
        """Give the value of a feature, [batch]."""
        ...


class RecordingDecoder(ABC):
    """A differentiable decoder: it keeps what it gives, and changes nothing.

    For conditioners without a reverse sweep of their own. A subclass gives `_parameters` and
    `append`, in operations that autograd and `torch.func` can differentiate.
    """

    def __init__(self, offset: Tensor) -> None:
        self.hidden = offset.new_empty(0, offset.shape[1])
        self._gave: list[Tensor] = []

    @property
    def params(self) -> Tensor:
        return torch.cat(self._gave)

    def parameters(self, feature: int) -> Tensor:
        self._gave.append(self._parameters(feature))
        return self._gave[-1]

    @abstractmethod
    def append(self, feature: int, z: Tensor) -> None: ...

    @abstractmethod
    def _parameters(self, feature: int) -> Tensor: ...


class FeaturePullback(Protocol):
    """The decoder in reverse: cotangents of parameters in, of features out, last one first.

    After the first feature, `z`, `params` and `hidden` hold the cotangents of the features as they
    were given to the decoder, and of their namesakes.
    """

    z: Tensor
    params: Tensor
    hidden: Tensor

    def cotangent(self, feature: int) -> Tensor:
        """Return the cotangent of a feature, [batch], once all later parameters' are given."""
        ...

    def append(self, feature: int, params: Tensor) -> None:
        """Give the cotangents of a feature's parameters, [P, batch]."""
        ...


class Plan(ABC):
    """How a sweep is made from plain tensors, so that it can be one opaque operator.

    The tensors are an `offset`, [units, batch], which differs from one batch element to the next,
    and `weights`, which all share. The plan itself holds none. The gradient of a sweep is taken
    by differentiating the decoder.
    """

    @property
    def hidden_units(self) -> int:
        """The number of rows of a decoder's hidden state."""
        return 0

    @property
    @abstractmethod
    def recipe(self) -> str:
        """The plan as a string, for operators whose arguments are tensors and strings only."""

    @abstractmethod
    def decoder(self, offset: Tensor, weights: list[Tensor]) -> FeatureDecoder:
        """Return a decoder over the tensors."""


class ReversiblePlan(Plan):
    """A plan with a reverse sweep of its own, whose decoder need not be differentiable."""

    @abstractmethod
    def pullback(self, hidden: Tensor, weights: list[Tensor]) -> FeaturePullback:
        """Return the reverse of a decoder that has seen all features.

        Args:
            hidden: the decoder's.
            weights: as in `decoder`.
        """

    @abstractmethod
    def gradients(
        self, weights: list[Tensor], z: Tensor, hidden: Tensor, deltas: Tensor, params: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the gradients of the offset and of each of the weights, None for a constant.

        Args:
            weights: as in `decoder`.
            z: all features as they were given to the decoder, [features, batch].
            hidden: the decoder's.
            deltas: cotangents of `hidden`.
            params: cotangents of the parameters, [features * outputs, batch].
        """


class CachedConditioner(Conditioner):
    """A conditioner that can also be run one feature at a time, in both directions."""

    settled = Conditioner.settled | {"plan"}
    plan: Plan

    def changed(self, base: type[CachedConditioner]) -> list[str]:
        """Return what this object computes in another way than objects of `base`."""
        return overridden(self, base, Part, ("_initialise", "settled", "changed"))

    @abstractmethod
    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Return the offset and the weights of a sweep, differentiable.

        Args:
            batch: the batch shape of the events; it becomes one dimension.
            context: as in `forward`.
        """

    @classmethod
    @abstractmethod
    def plan_from(cls, recipe: str) -> Plan:
        """Return the plan that a recipe describes."""
