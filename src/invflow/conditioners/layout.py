"""Which unit of a MADE sees what: degrees, prefixes, masks and panels."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from invflow.conditioners import groups
from invflow.conditioners.groups import Group


class Panel(NamedTuple):
    """The groups first .. end - 1, and the units that belong to them.

    These are their features, the outputs of these, and the hidden units that can be computed once
    all features before a group are known. In each layer they are a run of units, `bounds[layer]`;
    `sizes[layer]` of them belong to each group.
    """

    first: int
    end: int
    bounds: list[tuple[int, int]]
    sizes: list[list[int]]


@dataclasses.dataclass(frozen=True)
class Layout:
    r"""The structure of a MADE, without its weights.

    Layer 0 holds the features, layers 1 .. L the hidden units, layer L + 1 the outputs. Every unit
    has a *degree*, and a unit of degree m sees the units of degree <= m in the layer before it.
    Feature d = 1 .. D has degree d as an input. As an output it has the number of features before
    its group as its degree, so that its parameters see only earlier groups: with groups of one
    feature, degree d - 1. Hidden units are sorted by degree: a unit sees a
    prefix of the layer before it, and weight matrices are block lower triangular.

    The hidden degrees are spread evenly over those of the outputs. A unit of degree 0 sees only the
    context, and carries it to the first group; without a context there is none, unless all features
    are one group. A layer with fewer units than degrees cannot carry every group to the next layer;
    in that case the outputs also read the features directly, as they do with `skip`.

    Args:
        features: D.
        outputs: parameters per feature, P.
        hidden: widths of the hidden layers.
        context: whether there is a context.
        residual: whether each hidden layer after the first adds to the one before.
        activation: its name.
        skip: whether the outputs also read the features directly.
        norm: whether hidden units are normalised.
        group: the sizes of the groups of features, as in `groups.sizes`.
    """

    features: int
    outputs: int
    hidden: tuple[int, ...]
    context: bool
    residual: bool
    activation: str
    skip: bool = False
    norm: bool = False
    group: Group = 1

    @classmethod
    def from_fields(cls, hidden: Sequence[int], group: int | Sequence[int], **rest: Any) -> Layout:
        """Return a layout from its fields as JSON has them, with lists for tuples."""
        return cls(hidden=tuple(hidden), group=groups.from_json(group), **rest)

    @cached_property
    def degrees(self) -> list[list[int]]:
        """The degrees of the units of every layer, each list sorted."""
        return [
            list(range(1, self.features + 1)),
            *map(self._spread, self.hidden),
            [
                start
                for start, size in zip(self.starts, self.groups, strict=True)
                for _ in range(size * self.outputs)
            ],
        ]

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """The size of each group of features."""
        return groups.sizes(self.group, self.features)

    @cached_property
    def starts(self) -> list[int]:
        """The number of features before each group."""
        return [0, *accumulate(self.groups[:-1])]

    def _spread(self, width: int) -> list[int]:
        """Return the degrees of a hidden layer."""
        each, count = self._hidden_degrees, len(self._hidden_degrees)
        return [each[k * count // width] for k in range(width)]

    @property
    def _hidden_degrees(self) -> list[int]:
        return self.starts if self.context or len(self.starts) == 1 else self.starts[1:]

    @cached_property
    def direct(self) -> bool:
        """Whether the outputs also read the features directly."""
        return bool(self.hidden) and (self.skip or self._narrow)

    @property
    def _narrow(self) -> bool:
        return any(width < len(self._hidden_degrees) for width in self.hidden)

    @cached_property
    def blocks(self) -> list[tuple[int, int]]:
        """The weight matrices as pairs (layer, layer that it reads), ordered by layer."""
        outputs = len(self.hidden) + 1
        chain = [(layer, layer - 1) for layer in range(1, outputs + 1)]
        return [*chain, (outputs, 0)] if self.direct else chain

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """The shapes of the weight matrices."""
        units = [len(degrees) for degrees in self.degrees]
        return [(units[layer], units[source]) for layer, source in self.blocks]

    def matrices(self, weight: Tensor) -> list[Tensor]:
        """Cut a vector into the weight matrices, as views."""
        parts = weight.split([rows * columns for rows, columns in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def biases(self, bias: Tensor) -> list[Tensor]:
        """Cut a vector into the biases of hidden layers and outputs, as views."""
        return list(bias.split([len(degrees) for degrees in self.degrees[1:]]))

    def adds_previous(self, layer: int) -> bool:
        """Whether a layer adds the pre-activations of the one before it (a residual connection)."""
        return self.residual and 1 < layer <= len(self.hidden)

    def mask(self, layer: int, source: int) -> Tensor:
        """Return the 0/1 matrix of what `layer` sees of `source`, shape [units, source units]."""
        rows = torch.tensor(self.degrees[layer])
        columns = torch.tensor(self.degrees[source])
        return (rows[:, None] >= columns).to(torch.get_default_dtype())

    def ends(self, layer: int) -> Tensor:
        """Return, for each unit of a hidden layer, the last unit of the same degree."""
        degrees = self.degrees[layer]
        return torch.tensor([bisect_right(degrees, degree) - 1 for degree in degrees])

    @cached_property
    def row_panels(self) -> list[list[tuple[int, int, int]]]:
        """Each of `blocks`, cut into panels of rows (first, end, columns that any of them sees).

        Multiplying each panel only with its own prefix of columns skips masked arithmetic; with
        four panels, three eighths of all arithmetic. Small matrices stay whole, because every
        product has an overhead.
        """
        return [
            self._row_panels(self.degrees[layer], self.degrees[source])
            for layer, source in self.blocks
        ]

    @staticmethod
    def _row_panels(rows: list[int], columns: list[int]) -> list[tuple[int, int, int]]:
        panels = 4 if min(len(rows), len(columns)) >= 512 else 1
        cuts = [len(rows) * k // panels for k in range(panels + 1)]
        return [(first, end, bisect_right(columns, rows[end - 1])) for first, end in pairwise(cuts)]

    @cached_property
    def panels(self) -> list[Panel]:
        """The panels of groups in which the sequential sweeps work.

        Longer panels need more arithmetic inside them, shorter ones more calls; about eighty hidden
        units per panel were fastest in measurements. A panel ends with the group that makes it long
        enough.
        """
        widest = max(self.hidden, default=1)
        length = min(max(80 * self.features // widest, 8), 48)
        cuts, begin = [0], 0
        for group, end in enumerate(accumulate(self.groups), 1):
            if end - begin >= length or end == self.features:
                cuts.append(group)
                begin = end
        return [self._panel(first, end) for first, end in pairwise(cuts)]

    def _panel(self, first: int, end: int) -> Panel:
        starts = [*self.starts, self.features][first : end + 1]
        bounds: list[tuple[int, int]] = []
        sizes: list[list[int]] = []
        for layer, degrees in enumerate(self.degrees):
            cuts = [bisect_left(degrees, start) for start in starts] if layer else starts
            bounds.append((cuts[0], cuts[-1]))
            sizes.append([b - a for a, b in pairwise(cuts)])
        return Panel(first, end, bounds, sizes)
