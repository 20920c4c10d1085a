"""The arguments of the engines: a transform's tensors, its layout and its map's recipe."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor

from invflow.conditioners.layout import Layout
from invflow.conditioners.sweep import MADEPlan
from invflow.univariate import Univariate


@dataclasses.dataclass(frozen=True)
class Kind:
    """What transforms must share to run in one call of the kernels.

    Args:
        plan: of their conditioners.
        univariate: their map.
        input_bound: bound on what their conditioners read.
        recipe: recipe of the map, with its name in the kernels.

    Attributes:
        recipes: of the plan and the map, and the bound, as operators take them; kinds are
            compared by these.
    """

    plan: MADEPlan = dataclasses.field(compare=False)
    univariate: Univariate = dataclasses.field(compare=False)
    input_bound: float = dataclasses.field(compare=False)
    recipe: dataclasses.InitVar[str]
    recipes: tuple[str, str, float] = dataclasses.field(init=False)

    def __post_init__(self, recipe: str) -> None:
        object.__setattr__(self, "recipes", (self.plan.recipe, recipe, self.input_bound))


class Link(NamedTuple):
    """The tensors of one transform.

    Attributes:
        order: order of the features; None to keep their order.
        bias: all biases of the conditioner, as one vector.
        weight: all its matrices, without masks, as one vector.
        offset: a context's contribution to the first layer, [batch, units]; None for none.
    """

    order: Tensor | None
    bias: Tensor
    weight: Tensor
    offset: Tensor | None


class Structure(NamedTuple):
    """A layout as numbers.

    Attributes:
        starts: `starts[layer][d]`, the number of units of a layer that are known once all features
            before d are, without those of degree d; layer 0 holds the features themselves, the
            last layer the outputs.
        tops: start of each layer when all are stacked.
        places: start of each of the layout's matrices when all are concatenated.
    """

    starts: list[list[int]]
    tops: list[int]
    places: list[int]


@lru_cache(maxsize=256)
def structure(layout: Layout) -> Structure:
    """Return a layout as numbers."""
    steps = range(layout.features + 1)
    degrees = layout.degrees[1:]
    starts = [list(steps), *([bisect_left(layer, d) for d in steps] for layer in degrees)]
    sizes = [len(layer) for layer in layout.degrees]
    matrices = map(math.prod, layout.shapes)
    return Structure(
        starts=starts,
        tops=[0, *itertools.accumulate(sizes[:-1])],
        places=[0, *itertools.accumulate(matrices)][:-1],
    )


def panel(layout: Layout, units: int) -> int:
    """Return the number of features in a panel with this number of hidden units."""
    return max(units * layout.features // max(layout.hidden, default=units), 1)


class Map(NamedTuple):
    """A univariate map as numbers.

    Attributes:
        name: in the kernels.
        bound: on an affine map's log-scale, or a spline's log-slopes; 0 for none.
        low, high: ends of a spline's interval.
        smallest_bin: of a spline, relative to bins of equal size.
    """

    name: str
    bound: float = 0.0
    low: float = 0.0
    high: float = 0.0
    smallest_bin: float = 0.0


@lru_cache(maxsize=256)
def map_of(recipe: str) -> Map:
    """Return the map that a recipe describes."""
    fields = json.loads(recipe)
    return Map(fields["name"], *(float(fields.get(name, 0.0)) for name in Map._fields[1:]))
