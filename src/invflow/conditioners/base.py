"""What every conditioner provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from invflow._overrides import overridden
from invflow._part import Part
from invflow.conditioners import groups


class Conditioner(Part, ABC):
    """A causal network: computes the parameters of a group of features from earlier groups.

    The context reaches the parameters of every feature, including the first. A conditioner takes
    the features in the order in which it receives them; the transform around it decides the order.

    Args:
        features: number of features, D.
        outputs: number of parameters per feature, P.
        context: size of the context, 0 for none.
        group: number of features in a group (the last group may be smaller), or the sizes of the
            groups, which sum to D. With 1, the parameters of a feature depend on all features
            before it.

    Raises:
        TypeError: if `group` is neither an integer nor a sequence of integers.
        ValueError: if a size in `group` is out of range, or the sizes do not sum to D.
    """

    settled = Part.settled | {"group", "groups"}

    def __init__(
        self, features: int, outputs: int, context: int, group: int | Sequence[int] = 1
    ) -> None:
        super().__init__()
        #: One size for all groups, or the size of each.
        self.group = groups.checked(group, features)
        #: The size of each group.
        self.groups = groups.sizes(self.group, features)
        self.features = features
        self.outputs = outputs
        self.context = context

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters of all features in one pass.

        Args:
            z: features, shape (*batch, features).
            context: shape broadcastable to (*batch, context), or None if none was declared.

        Returns:
            Parameters, shape (*batch, features, outputs), in the dtype of `z`.
        """


class GroupDecoder(Protocol):
    """Computes the parameters of one group of features after another from cached state.

    After the last group, `params` holds all parameters, [D * P, batch], and `hidden` what a
    `ReversiblePlan` needs for the backward pass, [units, batch].
    """

    @property
    def params(self) -> Tensor:
        """The parameters so far."""
        ...

    @property
    def hidden(self) -> Tensor:
        """State for the backward pass."""
        ...

    def parameters(self, group: int) -> Tensor:
        """Return the parameters of a group of g features, [g * P, batch], given all earlier ones.

        Those of the first feature come first.
        """
        ...

    def append(self, group: int, z: Tensor) -> None:
        """Append the values of a group, [g, batch]."""
        ...


class RecordingDecoder(ABC):
    """A differentiable decoder: it stores its results and changes nothing in place.

    For conditioners without a reverse sweep of their own. A subclass implements `_parameters` and
    `append` with operations that autograd and `torch.func` can differentiate.
    """

    def __init__(self, offset: Tensor) -> None:
        self.hidden = offset.new_empty(0, offset.shape[1])
        self._gave: list[Tensor] = []

    @property
    def params(self) -> Tensor:
        return torch.cat(self._gave)

    def parameters(self, group: int) -> Tensor:
        self._gave.append(self._parameters(group))
        return self._gave[-1]

    @abstractmethod
    def append(self, group: int, z: Tensor) -> None: ...

    @abstractmethod
    def _parameters(self, group: int) -> Tensor: ...


class GroupPullback(Protocol):
    """The decoder in reverse: takes cotangents of parameters, returns those of features.

    It starts with the last group. After the first, `z` holds the cotangents of all features that
    the decoder was given, [D, batch], `params` those of all parameters, [D * P, batch], and
    `hidden` is complete, [units, batch].
    """

    @property
    def z(self) -> Tensor:
        """The cotangents of the features so far."""
        ...

    @property
    def params(self) -> Tensor:
        """The cotangents of the parameters so far."""
        ...

    @property
    def hidden(self) -> Tensor:
        """What the gradients of the weights need."""
        ...

    def cotangent(self, group: int) -> Tensor:
        """Return the cotangents of a group, [g, batch], given those of all later parameters."""
        ...

    def append(self, group: int, params: Tensor) -> None:
        """Append the cotangents of a group's parameters, [g * P, batch]."""
        ...


class Plan(ABC):
    """How to run a sweep on plain tensors, so that it can be one opaque operator.

    The tensors are an `offset`, [units, batch], which differs between batch elements, and
    `weights`, which they share; the plan itself has no tensors. The gradient of a sweep is
    computed by differentiating the decoder.
    """

    @property
    def hidden_units(self) -> int:
        """The number of rows of a decoder's hidden state."""
        return 0

    def groups(self, features: int) -> Sequence[int]:
        """Return the sizes of the groups in which a decoder takes the features."""
        return (1,) * features

    @property
    @abstractmethod
    def recipe(self) -> str:
        """The plan as a string, for operators that take only tensors and strings."""

    @abstractmethod
    def decoder(self, offset: Tensor, weights: list[Tensor]) -> GroupDecoder:
        """Return a decoder that uses these tensors."""


class ReversiblePlan(Plan):
    """A plan with its own reverse sweep; its decoder need not be differentiable."""

    def empty_deltas(self, hidden: Tensor) -> Tensor:
        """Return an empty tensor for the `hidden` of a pullback, given that of the decoder."""
        return hidden.new_empty(hidden.shape)

    @abstractmethod
    def pullback(self, hidden: Tensor, weights: list[Tensor]) -> GroupPullback:
        """Return the reverse of a decoder to which all groups were appended.

        Args:
            hidden: the decoder's.
            weights: as in `decoder`.
        """

    @abstractmethod
    def gradients(
        self, weights: list[Tensor], z: Tensor, hidden: Tensor, deltas: Tensor, params: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return the gradients of the offset and of each weight; None for a constant.

        Args:
            weights: as in `decoder`.
            z: all features that the decoder was given, [features, batch].
            hidden: the decoder's.
            deltas: the pullback's `hidden`.
            params: cotangents of the parameters, [features * outputs, batch].
        """


class CachedConditioner(Conditioner):
    """A conditioner that can also be run one group at a time, in both directions."""

    settled = Conditioner.settled | {"plan"}
    plan: Plan

    def changed(self, base: type[CachedConditioner]) -> list[str]:
        """Return the names of what this object computes differently from objects of `base`."""
        return overridden(self, base, Part, ("_initialise", "settled", "changed"))

    @abstractmethod
    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Return the offset and the weights of a sweep, differentiably.

        Args:
            batch: the batch shape of the events, which is flattened to one dimension.
            context: as in `forward`.
        """

    @classmethod
    @abstractmethod
    def plan_from(cls, recipe: str) -> Plan:
        """Return the plan that a recipe describes."""
