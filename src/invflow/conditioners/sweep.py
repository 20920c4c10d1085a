"""A MADE evaluated one group of features at a time: forward from cached values, and in reverse.

Everything here is feature-major, with shape [units, batch], so the units that a unit sees are
contiguous rows. Both sweeps work in panels of groups, as blocked triangular solvers do: when a
panel opens, one product per weight matrix adds everything from outside the panel; inside it, each
group adds a product with the panel's own few units. Nothing is computed twice, and masked weights
are not read, so a whole sweep does the arithmetic of one masked pass.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from invflow.conditioners.activation import ACTIVATIONS
from invflow.conditioners.base import ReversiblePlan
from invflow.conditioners.layout import Layout
from invflow.conditioners.norm import PrefixNorm, PrefixNormPullback


class _Rows(NamedTuple):
    """One layer's rows in a panel, cut into the parts that belong to each group of features.

    Part i adds the product of `weights[i]` and `values` for every pair (weights, values) in
    `products`; `rest` holds further tensors by name, cut the same way, for the next step.
    """

    parts: Sequence[Tensor]
    products: list[tuple[Sequence[Tensor], Tensor]]
    rest: dict[str, Sequence[Tensor]]

    def complete(self, i: int) -> Tensor:
        """Add the contribution from inside the panel to part i."""
        rows = self.parts[i]
        for weights, values in self.products:
            rows.addmm_(weights[i], values)
        return rows


class _Read(NamedTuple):
    """Weights and values that a panel's rows read of a layer, outside and inside the panel."""

    beyond: tuple[Tensor, Tensor]
    inside: tuple[Tensor, Tensor]


def _open(rows: Tensor, sizes: list[int], reads: list[_Read], rest: Mapping[str, Tensor]) -> _Rows:
    """Add the contribution from outside a panel to its rows, and split them by group."""
    for read in reads:
        if read.beyond[1].shape[0]:
            rows.addmm_(*read.beyond)
    return _Rows(
        rows.split_with_sizes(sizes),
        [(weights.split_with_sizes(sizes), values) for _, (weights, values) in reads],
        {name: other.split_with_sizes(sizes) for name, other in rest.items()},
    )


class MADEDecoder:
    """Computes the parameters of one group of features after another from those given so far.

    Args:
        layout: the structure of the MADE.
        offset: pre-activations of the first layer without the features, [units, batch].
        biases: of the later layers, [units] each.
        gains: of the normalised hidden layers, [units] each; empty without `layout.norm`.
        weights: matrices in the order of `layout.blocks`.

    Attributes:
        hidden: pre-activations of all hidden layers, stacked; below them, if they are normalised,
            their scales.
        params: the outputs so far, [features * outputs, batch].
    """

    def __init__(
        self,
        layout: Layout,
        offset: Tensor,
        biases: Sequence[Tensor],
        gains: Sequence[Tensor],
        weights: Sequence[Tensor],
    ) -> None:
        batch = offset.shape[1]
        self._layout = layout
        self._activation = ACTIVATIONS[layout.activation].function
        self._offsets = [offset, *(bias.unsqueeze(1) for bias in biases)]
        self._blocks = list(zip(layout.blocks, weights, strict=True))
        self._gains = [gain.unsqueeze(1) for gain in gains]
        self.hidden = offset.new_empty(_hidden_rows(layout), batch)
        self.params = offset.new_empty(layout.features * layout.outputs, batch)
        # Zeros, because a panel is multiplied whole and without masks: rows that a part must not
        # see are not computed yet, and must not contribute.
        self._z = offset.new_zeros(layout.features, batch)
        before, self._scales = _halves(layout, self.hidden)
        self._layers = [self._z, *before, self.params]
        self._values = [self._z, *(torch.zeros_like(rows) for rows in before)]
        self._norms = [PrefixNorm(rows) for rows in self._scales]
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
            # Expanded, because the converter to ONNX does not broadcast a copy.
            rows.copy_(self._offsets[layer - 1][lo:hi].expand_as(rows))
            rest: dict[str, Tensor] = {}
            if layer < len(self._values):
                rest["values"] = self._values[layer][lo:hi]
                if self._norms:
                    rest["scale"] = self._scales[layer - 1][lo:hi]
                    rest["gain"] = self._gains[layer - 1][lo:hi]
            if self._layout.adds_previous(layer):
                rest["previous"] = self._layers[layer - 1][lo:hi]
            self._hidden.append((panel.sizes[layer], _open(rows, panel.sizes[layer], reads, rest)))
        _, self._outputs = self._hidden.pop()
        first, end = panel.bounds[0]
        self._z_parts = self._z[first:end].split_with_sizes(panel.sizes[0])
        self._first, self._end = panel.first, panel.end

    def parameters(self, group: int) -> Tensor:
        """Return the parameters of a group, [size * outputs, batch], given all earlier groups."""
        if group == self._end:
            self._open_panel()
        i = group - self._first
        for k, (sizes, layer) in enumerate(self._hidden):
            if sizes[i]:
                rows = layer.complete(i)
                rest = layer.rest
                if "previous" in rest:
                    rows.add_(rest["previous"][i])
                if self._norms:
                    scale = self._norms[k].scale(rows)
                    rest["scale"][i].copy_(scale)
                    rows = rows * (rest["gain"][i] * scale)
                rest["values"][i].copy_(self._activation(rows))
        return self._outputs.complete(i)

    def append(self, group: int, z: Tensor) -> None:
        """Append the values of a group, [size, batch]."""
        self._z_parts[group - self._first].copy_(z)


class MADEPullback:
    """The decoder in reverse: from cotangents of parameters to those of features, last group first.

    Args:
        layout: the structure of the MADE.
        hidden: the decoder's.
        gains: the decoder's.
        weights: matrices in the order of `layout.blocks`.
        masks: of the matrices.

    Attributes:
        z: cotangents of the features.
        hidden: cotangents of all hidden pre-activations, stacked; below them, if they are
            normalised, those of the normalised ones.
        params: cotangents of the parameters.
    """

    def __init__(
        self,
        layout: Layout,
        hidden: Tensor,
        gains: Sequence[Tensor],
        weights: Sequence[Tensor],
        masks: Sequence[Tensor],
    ) -> None:
        self._layout = layout
        self._derivative = ACTIVATIONS[layout.activation].derivative
        self._before, self._scales = _halves(layout, hidden)
        self._gains = [gain.unsqueeze(1) for gain in gains]
        self._norms = [PrefixNormPullback(rows) for rows in self._scales]
        self._blocks = list(zip(layout.blocks, weights, masks, strict=True))
        batch = hidden.shape[1]
        self.z = hidden.new_zeros(layout.features, batch)
        self.hidden = torch.zeros_like(hidden)
        self.params = hidden.new_zeros(layout.features * layout.outputs, batch)
        deltas, self._normed = _halves(layout, self.hidden)
        self._layers = [self.z, *deltas, self.params]
        self._panels = iter(reversed(layout.panels))
        self._first = len(layout.groups)

    def _open_panel(self) -> None:
        panel = next(self._panels)
        opened: list[tuple[list[int], _Rows]] = []
        for layer, (lo, hi) in enumerate(panel.bounds):
            reads: list[_Read] = []
            for (target, source), weight, mask in self._blocks:
                if source == layer:
                    first, end = panel.bounds[target]
                    deltas = self._layers[target]
                    # Masked, because incomplete rows already hold the contribution from outside.
                    block = weight[first:end, lo:hi] * mask[first:end, lo:hi]
                    reads.append(
                        _Read(
                            (weight[end:, lo:hi].t(), deltas[end:]),
                            (block.t(), deltas[first:end]),
                        )
                    )
            rest: dict[str, Tensor] = {}
            if 0 < layer <= len(self._before):
                rows = self._before[layer - 1][lo:hi]
                if self._norms:
                    rest["before"] = rows
                    rest["scale"] = self._scales[layer - 1][lo:hi]
                    rest["gain"] = self._gains[layer - 1][lo:hi]
                    rest["normed"] = self._normed[layer - 1][lo:hi]
                    rows = rows * rest["scale"] * rest["gain"]
                rest["slope"] = self._derivative(rows)
            if self._layout.adds_previous(layer + 1):
                rest["following"] = self._layers[layer + 1][lo:hi]
            rows = self._layers[layer][lo:hi]
            opened.append((panel.sizes[layer], _open(rows, panel.sizes[layer], reads, rest)))
        (_, self._features), *hidden, (_, self._outputs) = opened
        self._hidden = list(enumerate(hidden))[::-1]
        self._first = panel.first

    def cotangent(self, group: int) -> Tensor:
        """Return the cotangents of a group, [size, batch], given those of all later parameters."""
        if group < self._first:
            self._open_panel()
        return self._features.complete(group - self._first)

    def append(self, group: int, params: Tensor) -> None:
        """Append the cotangents of a group's parameters, [size * outputs, batch]."""
        i = group - self._first
        self._outputs.parts[i].copy_(params)
        for k, (sizes, layer) in self._hidden:
            if sizes[i]:
                rows = layer.complete(i)
                rest = layer.rest
                rows.mul_(rest["slope"][i])
                if self._norms:
                    rest["normed"][i].copy_(rows)
                    scale = rest["scale"][i][0]
                    self._norms[k].pull(rows, rest["before"][i], rest["gain"][i], scale)
                if "following" in rest:
                    rows.add_(rest["following"][i])


def _hidden_rows(layout: Layout) -> int:
    return sum(layout.hidden) * (2 if layout.norm else 1)


def _halves(layout: Layout, hidden: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Split a hidden state into its layers, and into their second halves if there are any."""
    widths = list(layout.hidden)
    layers = hidden.split(widths * 2 if layout.norm else widths)
    return layers[: len(widths)], layers[len(widths) :]


@dataclasses.dataclass(frozen=True)
class MADEPlan(ReversiblePlan):
    """The sweeps of a MADE on plain tensors: later biases, gains, matrices, masks."""

    layout: Layout

    @property
    def recipe(self) -> str:
        return json.dumps(dataclasses.asdict(self.layout), sort_keys=True)

    @staticmethod
    @lru_cache(maxsize=256)
    def from_recipe(recipe: str) -> MADEPlan:
        """Return the plan that a recipe describes; cached, because it depends on nothing else."""
        fields: dict[str, Any] = json.loads(recipe)
        return MADEPlan(Layout.from_fields(**fields))

    @property
    def hidden_units(self) -> int:
        return _hidden_rows(self.layout)

    def groups(self, features: int) -> Sequence[int]:
        return self.layout.groups

    def unpack(self, weights: list[Tensor]) -> list[list[Tensor]]:
        depth, blocks = len(self.layout.hidden), len(self.layout.blocks)
        biases, rest = weights[:depth], weights[depth:]
        return [biases, rest[: -2 * blocks], rest[-2 * blocks : -blocks], rest[-blocks:]]

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> MADEDecoder:
        biases, gains, matrices, _ = self.unpack(weights)
        return MADEDecoder(self.layout, offset, biases, gains, matrices)

    def pullback(self, hidden: Tensor, weights: list[Tensor]) -> MADEPullback:
        _, gains, matrices, masks = self.unpack(weights)
        return MADEPullback(self.layout, hidden, gains, matrices, masks)

    def gradients(
        self, weights: list[Tensor], z: Tensor, hidden: Tensor, deltas: Tensor, params: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        layout = self.layout
        _, gains, _, masks = self.unpack(weights)
        activation = ACTIVATIONS[layout.activation].function
        before, scales = _halves(layout, hidden)
        inner, normed = _halves(layout, deltas)
        layers = [*inner, params]
        gradients: list[Tensor | None] = [layer.sum(1) for layer in layers[1:]]
        if layout.norm:
            before = [rows * scale for rows, scale in zip(before, scales, strict=True)]
            for rows, cotangents in zip(before, normed, strict=True):
                gradients.append((rows * cotangents).sum(1))
            before = [rows * gain.unsqueeze(1) for rows, gain in zip(before, gains, strict=True)]
        for (layer, source), panels, mask in zip(
            layout.blocks, layout.row_panels, masks, strict=True
        ):
            values = activation(before[source - 1]) if source else z
            rows = layers[layer - 1]
            if len(panels) == 1:
                gradients.append((rows @ values.t()).mul_(mask))
                continue
            parts = [
                (rows[first:end] @ values[:seen].t()).mul_(mask[first:end, :seen])
                for first, end, seen in panels
            ]
            gradient = parts[0].new_zeros(mask.shape)
            for (first, end, seen), part in zip(panels, parts, strict=True):
                gradient[first:end, :seen] = part
            gradients.append(gradient)
        return layers[0], [*gradients, *(None for _ in masks)]
