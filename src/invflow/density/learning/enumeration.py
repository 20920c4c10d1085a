"""Every completion of rows that miss only a few categories: nothing is left to chance."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from invflow.density.learning.model import TableDensity


def countable(model: TableDensity, x: Tensor, most: int) -> Tensor:
    """Whether rows have gaps that all are in categories, with few completions; shape (rows,).

    Args:
        model: the density of complete rows.
        x: codes, shape (rows, features), NaN where missing.
        most: the largest number of completions.
    """
    gaps = x.isnan()
    if model.categories is None:
        return torch.zeros_like(gaps[:, 0])
    numbers, named = model.places.split(gaps)
    sizes = torch.tensor([size + 1.0 for size in model.categories.sizes], dtype=torch.float64)
    count = torch.where(named, sizes.to(x.device), 1.0).log().sum(-1)
    return named.any(-1) & ~numbers.any(-1) & (count <= math.log(most) + 1e-9)


def completions(
    model: TableDensity, x: Tensor, context: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield rows with the same gaps: their numbers, their completions, and the log density of each.

    Args:
        model: the density of complete rows.
        x: codes of `countable` rows, shape (rows, features), NaN where missing.
        context: shape (rows, context size).

    Yields:
        The numbers of the rows, (n,); completions, (count, n, features), also with categories never
        seen; and their log densities, (count, n).
    """
    gaps, which = x.isnan().unique(dim=0, return_inverse=True)
    for number, gap in enumerate(gaps):
        rows = (which == number).nonzero()[:, 0]
        places = gap.nonzero()[:, 0].tolist()
        columns = [model.columns.features[place] for place in places]
        levels = [torch.arange(len(column.categories) + 1.0) for column in columns]
        every = torch.cartesian_prod(*levels).reshape(-1, len(places)).to(x)
        whole = x[rows].expand(len(every), -1, -1).clone()
        whole[..., places] = every[:, None].expand(-1, len(rows), -1)
        given = context[rows].expand(len(every), -1, -1)
        log_p = model.log_prob(whole.flatten(0, 1), given.flatten(0, 1))
        yield rows, whole, log_p.view(len(every), len(rows))
