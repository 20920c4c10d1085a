"""A MADE taken one feature at a time: forwards from cached activations, and in reverse.

Everything here is feature-major, shape [units, batch], so that what a unit sees is a run of
contiguous rows. Both sweeps work in panels of features, as blocked triangular solvers do: when a
panel opens, one product per weight matrix brings in all that lies outside the panel; inside it,
each feature adds a product with the panel's own few units. Nothing is computed twice, and what a
mask hides is not read, so that a whole sweep does the arithmetic of one masked pass.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from invflow.conditioners.activation import ACTIVATIONS
from invflow.conditioners.base import ReversiblePlan
from invflow.conditioners.layout import Layout


class _Rows(NamedTuple):
    """One layer's share of a panel, cut into the groups of rows that each feature completes.

    Group i adds the product of `weights[i]` and `values` for every pair (weights, values) of
    `products`; `rest` holds further tensors, cut alike, for what is done next.
    """

    groups: Sequence[Tensor]
    products: list[tuple[Sequence[Tensor], Tensor]]
    rest: list[Sequence[Tensor]]

    def complete(self, i: int) -> Tensor:
        """Add to group i what comes from inside the panel."""
        rows = self.groups[i]
        for weights, values in self.products:
            rows.addmm_(weights[i], values)
        return rows


class _Read(NamedTuple):
    """What the rows of a panel read of another layer: weights and values, beyond and inside it."""

    beyond: tuple[Tensor, Tensor]
    inside: tuple[Tensor, Tensor]


def _open(rows: Tensor, sizes: list[int], reads: list[_Read], rest: Sequence[Tensor]) -> _Rows:
    """Bring into a panel's rows what lies beyond it, and cut them up."""
    for read in reads:
        if read.beyond[1].shape[0]:
            rows.addmm_(*read.beyond)
    return _Rows(
        rows.split_with_sizes(sizes),
        [(weights.split_with_sizes(sizes), values) for _, (weights, values) in reads],
        [other.split_with_sizes(sizes) for other in rest],
    )


class Decoder:
    """The parameters of one feature after another, each from the features already given.

    Args:
        layout: the structure of the MADE.
        offset: pre-activations of the first layer without its features, [units, batch].
        biases: of the later layers, [units] each.
        weights: matrices in the order of `layout.blocks`.

    Attributes:
        z: the features given so far, [features, batch].
        hidden: pre-activations of all hidden layers, one below the other.
        params: the outputs so far, [features * outputs, batch].
    """

    def __init__(
        self,
        layout: Layout,
        offset: Tensor,
        biases: Sequence[Tensor],
        weights: Sequence[Tensor],
    ) -> None:
        batch = offset.shape[1]
        self._layout = layout
        self._activation = ACTIVATIONS[layout.activation].function
        self._offsets = [offset, *(bias.unsqueeze(1) for bias in biases)]
        self._blocks = list(zip(layout.blocks, weights, strict=True))
        self.hidden = offset.new_empty(sum(layout.hidden), batch)
        self.params = offset.new_empty(layout.features * layout.outputs, batch)
        # Zeros, because a panel is multiplied whole and without masks: what a group must not see
        # is not known yet, and counts for nothing.
        self.z = offset.new_zeros(layout.features, batch)
        self._layers = [self.z, *self.hidden.split(list(layout.hidden)), self.params]
        self._values = [self.z, *(torch.zeros_like(rows) for rows in self._layers[1:-1])]
        self._panels = iter(layout.panels)
        self._first = self._end = 0

    def _open_panel(self) -> None:
        panel = next(self._panels)
        self._hidden: list[tuple[list[int], _Rows]] = []
        for layer, (lo, hi) in enumerate(panel.bounds):
            if layer == 0:
                continue
            reads: list[_Read] = []
            for (target, source), weight in self._blocks:
                if target == layer:
                    first, end = panel.bounds[source]
                    values = self._values[source]
                    reads.append(
                        _Read(
                            (weight[lo:hi, :first], values[:first]),
                            (weight[lo:hi, first:end], values[first:end]),
                        )
                    )
            rows = self._layers[layer][lo:hi]
            rows.copy_(self._offsets[layer - 1][lo:hi])
            rest = [values[lo:hi] for values in self._values[layer : layer + 1]]
            if self._layout.adds_previous(layer):
                rest.append(self._layers[layer - 1][lo:hi])
            self._hidden.append((panel.sizes[layer], _open(rows, panel.sizes[layer], reads, rest)))
        _, self._outputs = self._hidden.pop()
        self._z_rows = self.z[panel.first : panel.end].unbind(0)
        self._first, self._end = panel.first, panel.end

    def parameters(self, feature: int) -> Tensor:
        """Return the parameters of a feature, [outputs, batch], once all earlier ones are given."""
        if feature == self._end:
            self._open_panel()
        i = feature - self._first
        for sizes, layer in self._hidden:
            if sizes[i]:
                rows = layer.complete(i)
                values, *previous = layer.rest
                for before in previous:
                    rows.add_(before[i])
                values[i].copy_(self._activation(rows))
        return self._outputs.complete(i)

    def append(self, feature: int, z: Tensor) -> None:
        """Give the value of a feature, [batch]."""
        self._z_rows[feature - self._first].copy_(z)


class Pullback:
    """The decoder in reverse: cotangents of the parameters in, of the features out, last one first.

    Args:
        layout: the structure of the MADE.
        hidden: the decoder's pre-activations.
        weights: matrices in the order of `layout.blocks`.
        masks: theirs.
        cotangents: what reaches the features from elsewhere, [features, batch].

    Attributes:
        z: the completed cotangents of the features.
        hidden: those of all hidden pre-activations, one layer below the other.
        params: those of the parameters.
    """

    def __init__(
        self,
        layout: Layout,
        hidden: Tensor,
        weights: Sequence[Tensor],
        masks: Sequence[Tensor],
        cotangents: Tensor,
    ) -> None:
        self._layout = layout
        self._derivative = ACTIVATIONS[layout.activation].derivative
        self._before = hidden.split(list(layout.hidden))
        self._blocks = list(zip(layout.blocks, weights, masks, strict=True))
        self.z = cotangents.clone(memory_format=torch.contiguous_format)
        self.hidden = torch.zeros_like(hidden)
        self.params = self.z.new_zeros(layout.features * layout.outputs, self.z.shape[1])
        self._layers = [self.z, *self.hidden.split(list(layout.hidden)), self.params]
        self._panels = iter(reversed(layout.panels))
        self._first = layout.features

    def _open_panel(self) -> None:
        panel = next(self._panels)
        opened: list[tuple[list[int], _Rows]] = []
        for layer, (lo, hi) in enumerate(panel.bounds):
            reads: list[_Read] = []
            for (target, source), weight, mask in self._blocks:
                if source == layer:
                    first, end = panel.bounds[target]
                    deltas = self._layers[target]
                    # Masked, because rows that are not complete yet hold what came from beyond.
                    block = weight[first:end, lo:hi] * mask[first:end, lo:hi]
                    reads.append(
                        _Read(
                            (weight[end:, lo:hi].t(), deltas[end:]),
                            (block.t(), deltas[first:end]),
                        )
                    )
            before = self._before[layer - 1 : layer] if layer else ()
            rest = [self._derivative(rows[lo:hi]) for rows in before]
            if self._layout.adds_previous(layer + 1):
                rest.append(self._layers[layer + 1][lo:hi])
            rows = self._layers[layer][lo:hi]
            opened.append((panel.sizes[layer], _open(rows, panel.sizes[layer], reads, rest)))
        (_, self._features), *hidden, (_, self._outputs) = opened
        self._hidden = hidden[::-1]
        self._first = panel.first

    def cotangent(self, feature: int) -> Tensor:
        """Return the cotangent of a feature, [batch], once all later parameters' are given."""
        if feature < self._first:
            self._open_panel()
        return self._features.complete(feature - self._first)[0]

    def append(self, feature: int, params: Tensor) -> None:
        """Give the cotangents of a feature's parameters, [outputs, batch]."""
        i = feature - self._first
        self._outputs.groups[i].copy_(params)
        for sizes, layer in self._hidden:
            if sizes[i]:
                rows = layer.complete(i)
                slopes, *following = layer.rest
                rows.mul_(slopes[i])
                for deltas in following:
                    rows.add_(deltas[i])


@dataclasses.dataclass(frozen=True)
class MADEPlan(ReversiblePlan):
    """The sweeps of a MADE over plain tensors: biases after the first, matrices, their masks."""

    layout: Layout

    @property
    def recipe(self) -> str:
        return json.dumps(dataclasses.asdict(self.layout), sort_keys=True)

    @staticmethod
    @lru_cache(maxsize=256)
    def from_recipe(recipe: str) -> MADEPlan:
        """Return the plan of which `recipe` is the string: a pure function of it, hence cached."""
        fields: dict[str, Any] = json.loads(recipe)
        fields["hidden"] = tuple(fields["hidden"])
        return MADEPlan(Layout(**fields))

    @property
    def hidden_units(self) -> int:
        return sum(self.layout.hidden)

    def _unpack(self, weights: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        depth, blocks = len(self.layout.hidden), len(self.layout.blocks)
        return weights[:depth], weights[depth:-blocks], weights[-blocks:]

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> Decoder:
        biases, matrices, _ = self._unpack(weights)
        return Decoder(self.layout, offset, biases, matrices)

    def pullback(self, hidden: Tensor, weights: list[Tensor], cotangents: Tensor) -> Pullback:
        _, matrices, masks = self._unpack(weights)
        return Pullback(self.layout, hidden, matrices, masks, cotangents)

    def gradients(
        self, weights: list[Tensor], z: Tensor, hidden: Tensor, deltas: Tensor, params: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        layout = self.layout
        _, _, masks = self._unpack(weights)
        widths = list(layout.hidden)
        activation = ACTIVATIONS[layout.activation].function
        before = hidden.split(widths)
        layers = [*deltas.split(widths), params]
        gradients: list[Tensor | None] = [layer.sum(1) for layer in layers[1:]]
        for (layer, source), panels, mask in zip(
            layout.blocks, layout.row_panels, masks, strict=True
        ):
            values = activation(before[source - 1]) if source else z
            rows = layers[layer - 1]
            parts = [
                (rows[first:end] @ values[:seen].t()).mul_(mask[first:end, :seen])
                for first, end, seen in panels
            ]
            gradient = parts[0].new_zeros(mask.shape)
            for (first, end, seen), part in zip(panels, parts, strict=True):
                gradient[first:end, :seen] = part
            gradients.append(gradient)
        return layers[0], [*gradients, *(None for _ in masks)]
