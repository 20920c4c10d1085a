"""Chains at one context: hidden units that see nothing else are constants, computed once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from invflow.conditioners.activation import ACTIVATIONS
from invflow.conditioners.layout import Layout
from invflow.kernels import dense
from invflow.kernels.structure import Link

#: Number of rows for each group of features from which on it saves more time than it takes.
ROWS = 2048


@dataclasses.dataclass(frozen=True)
class GivenLayout(Layout):
    """The layout of a MADE without its units of degree 0, which see only the context."""

    def _spread(self, width: int) -> list[int]:
        return [degree for degree in super()._spread(width) if degree > 0]


def at_context(layout: Layout, links: Sequence[Link], batch: int) -> tuple[Layout, Sequence[Link]]:
    """Return a chain without the units that are constants, if that saves time.

    With g groups of features, about one in g units sees only the context, and one in g of what
    the others read comes from these. If all rows share a context, it is part of the biases.

    Args:
        layout: of the transforms' MADEs.
        links: their tensors.
        batch: number of rows.
    """
    shared = layout.context and all(link.offset is None for link in links)
    if not shared or batch < ROWS * len(layout.groups) or not _fit(layout, links):
        return layout, links
    return _given(layout), [_without_constants(layout, link) for link in links]


@lru_cache(maxsize=256)
def _given(layout: Layout) -> GivenLayout:
    own = {field.name: getattr(layout, field.name) for field in dataclasses.fields(layout)}
    return GivenLayout(**own)


def _fit(layout: Layout, links: Sequence[Link]) -> bool:
    """Return whether tensors have the shapes that `Chain` requires; it says what is wrong."""
    bias, weight = (sum(map(len, layout.degrees[1:])),), (sum(map(math.prod, layout.shapes)),)
    dtype = links[0].bias.dtype
    return all(
        link.bias.shape == bias
        and link.weight.shape == weight
        and link.bias.dtype is link.weight.dtype is dtype
        for link in links
    )


def _without_constants(layout: Layout, link: Link) -> Link:
    """Return a transform's tensors with what it reads of constant units in its biases."""
    dense.check_memory("bias", link.bias)
    dense.check_memory("weight", link.weight)
    activation = ACTIVATIONS[layout.activation].function
    matrices = layout.matrices(link.weight)
    biases: list[Tensor] = []
    weights: list[Tensor] = []
    values, before = link.bias.new_empty(0), link.bias
    for layer, bias in enumerate(layout.biases(link.bias), 1):
        matrix, known = matrices[layer - 1], len(values)
        rows = torch.addmv(bias, matrix[:, :known], values)
        constant = layout.degrees[layer].count(0) if layer <= len(layout.hidden) else 0
        if layout.adds_previous(layer):
            rows[:constant] += before[:constant]
        biases.append(rows[constant:])
        weights.append(matrix[constant:, known:].flatten())
        values, before = activation(rows[:constant]), rows
    if layout.direct:
        weights.append(matrices[-1].flatten())
    return Link(link.order, torch.cat(biases), torch.cat(weights), None)
