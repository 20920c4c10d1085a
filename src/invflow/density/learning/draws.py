"""Draws of a density, and held-out rows compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from invflow.density.checks import calibration
from invflow.density.learning.model import TableDensity
from invflow.density.table import Column
from invflow.density.table.labels import Label
from invflow.density.table.samples import Floats
from invflow.flows import Flow, FlowMixture, StandardNormal
from invflow.training.batches import generator

#: Draws among which all rows are ranked; and for each row, if each has its own context.
SHARED_DRAWS, DRAWS_PER_ROW = 10_000, 39
#: Probabilities nearer to zero or one than this are not told apart.
TINY = 1e-15
#: Rows drawn at once.
DRAWN_AT_ONCE = 8192


class Ranks(NamedTuple):
    """Ranks of values among draws.

    Attributes:
        values: as `calibration.ranks`, (rows, features).
        draws: number of draws that all rows share; None if each row has its own.
    """

    values: Floats
    draws: int | None


class Pair(NamedTuple):
    """Two samples that have the same distribution if the density is correct.

    Attributes:
        rows: held-out rows without missing values, shape (n, columns).
        draws: of the density, shape (m, columns).
        names: of the columns; a category has one for each of its values.
    """

    rows: Floats
    draws: Floats
    names: list[Label]


@torch.no_grad()
def draw(model: TableDensity, context: Tensor, random: torch.Generator) -> Tensor:
    """Return a draw for each row of the context, shape (rows, features)."""
    return torch.cat([model.sample(each, random) for each in context.split(DRAWN_AT_ONCE)])


@torch.no_grad()
def noise(model: TableDensity, x: Tensor, context: Tensor, random: torch.Generator) -> Tensor:
    """Return the flow's base noise of rows, shape (rows, features), in float64.

    The noise of a category is a random normal number in its part of the distribution function given
    the categories before it.

    Args:
        model: the density.
        x: shape (rows, features), without missing values.
        context: shape (rows, context size).
        random: random numbers, to dequantise grids and categories.

    Raises:
        ValueError: if a value is outside the bounds of its column, or the flow is an ensemble.
    """
    if isinstance(model.flow, FlowMixture):
        raise ValueError(
            "an ensemble of flows does not map rows to noise: train with an ensemble of 1"
        )
    uniform = torch.rand(x.shape, generator=random, dtype=x.dtype)
    y, ladj = model.encoding(x, uniform)
    if not ladj.isfinite().all():
        row, column = (ladj.isfinite().logical_not()).nonzero()[0].tolist()
        name = model.columns.features[column].name
        raise ValueError(f"column {name!r} has {x[row, column]:g}, which is outside its bounds")
    numbers, codes = model.places.split(y)
    if model.flow is not None:
        given = model.given(context, codes)
        numbers = model.flow.transform.inverse(numbers.to(model.like), given)[0].double()
    if model.categories is not None:
        below, own = model.categories.cdf(codes, context)
        place = below + model.places.split(uniform)[1] * own
        codes = torch.special.ndtri(place.clamp(TINY, 1 - TINY))
    return model.places.join(numbers, codes)


def ranks(model: TableDensity, x: Tensor, context: Tensor, seed: int) -> Ranks:
    """Return the ranks of values among draws given the same context.

    Args:
        model: the density.
        x: held-out rows, shape (rows, features), NaN where missing.
        context: shape (rows, context size).
        seed: of the draws.
    """
    random = generator("cpu", seed)
    if not model.columns.context:
        drawn = draw(model, torch.empty(SHARED_DRAWS, 0), random).numpy()
        return Ranks(calibration.ranks(x.numpy(), drawn, seed=seed), SHARED_DRAWS)
    observed = x.numpy()
    below, equal, there = (np.zeros_like(observed) for _ in range(3))
    for _ in range(DRAWS_PER_ROW):
        drawn = draw(model, context, random).numpy()
        below += drawn < observed
        equal += drawn == observed
        there += ~np.isnan(drawn)
    place = torch.rand(x.shape, generator=random, dtype=torch.float64).numpy()
    values = (below + place * (equal + 1)) / (there + 1)
    return Ranks(np.where(np.isnan(observed), np.nan, values), None)


@torch.no_grad()
def radial(model: TableDensity, x: Tensor, context: Tensor) -> Floats | None:
    """Return the `radial_pit` of rows, NaN for missing values, 1 where the density is zero.

    Args:
        model: the density.
        x: held-out rows, shape (rows, features), NaN where missing.
        context: shape (rows, context size).

    Returns:
        Shape (rows,); None if there are fewer than two complete rows, or if a correct density need
        not have normal noise: in an ensemble, with another base, with categories, or with grids,
        between whose numbers the density is arbitrary.
    """
    normal = isinstance(model.flow, Flow) and isinstance(model.flow.base, StandardNormal)
    if not normal or model.columns.has_grids or model.columns.has_categories:
        return None
    inside = model.encoding(x, torch.zeros_like(x))[1].isfinite().all(-1)
    complete = ~x.isnan().any(-1)
    values = np.where((complete & ~inside).numpy(), 1.0, np.nan)
    if complete.sum() < 2:
        return None
    if inside.sum() > 1:
        z = noise(model, x[inside], context[inside], generator("cpu", 0))
        values[inside.numpy()] = calibration.radial_pit(z.numpy())
    return values


def pair(model: TableDensity, x: Tensor, context: Tensor, seed: int) -> Pair:
    """Return complete held-out rows, and draws, for a two-sample test.

    For a conditional density, draws at the contexts of one half of the rows are compared with the
    other half, contexts included, so that the samples are independent.

    Args:
        model: the density.
        x: held-out rows, shape (rows, features), NaN where missing.
        context: shape (rows, context size).
        seed: of the draws.
    """
    random = generator("cpu", seed, 1)
    names = _names(model.columns.features) + _names(model.columns.context)
    complete = ~x.isnan().any(-1)
    x, context = x[complete], context[complete]
    mine, theirs = torch.arange(len(x)), torch.arange(len(x))
    if model.columns.context:
        theirs, mine = torch.randperm(len(x), generator=random).tensor_split(2)
    drawn = draw(model, context[theirs], random) if len(theirs) else x[theirs]
    whole = ~drawn.isnan().any(-1)
    drawn, theirs = drawn[whole], theirs[whole]
    rows, drawn = _one_hot(model, x[mine]), _one_hot(model, drawn)
    return Pair(
        torch.cat([rows, context[mine]], -1).numpy(),
        torch.cat([drawn, context[theirs]], -1).numpy(),
        names,
    )


def _one_hot(model: TableDensity, x: Tensor) -> Tensor:
    """Return rows with an entry for each value of a category."""
    parts = [
        one_hot(x[:, i].nan_to_num(0.0).long(), len(column.categories) + 1)[:, :-1].to(x)
        if column.is_categorical
        else x[:, i, None]
        for i, column in enumerate(model.columns.features)
    ]
    return torch.cat(parts, -1)


def _names(columns: Sequence[Column]) -> list[Label]:
    names: list[Label] = []
    for column in columns:
        if column.is_categorical:
            names += [f"{column.name}={value}" for value in column.categories]
        else:
            names.append(column.name)
    return names
