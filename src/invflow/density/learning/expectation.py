"""One best guess of each missing value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from invflow.density.learning import conditional
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity
from invflow.density.table import Column, Columns
from invflow.density.table.codes import ends, ticks
from invflow.density.table.labels import Label


@torch.no_grad()
def expected(
    model: TableDensity,
    imputer: Imputer,
    x: Tensor,
    context: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    r"""Return rows whose missing values are expectations given the observed values.

    $$\mathrm{E}[x_m | x_o] \approx \sum_k \bar w_k x_m^{(k)}$$

    for numbers, with the candidates of `conditional.candidates` and their normalised weights; not
    resampling them spares its noise. Candidates beyond the range of the table count as its ends:
    one that is far out in a tail would decide the mean. Of categories it is the most probable one,
    and of dates in parts the candidate nearest to the mean. Means of numbers on a grid lie between
    its numbers, and those of a few numbers between these.

    Args:
        model: the density of complete rows.
        imputer: of that density.
        x: codes, shape (rows, features), NaN where missing.
        context: shape (rows, context size).
        generator: random numbers.

    Returns:
        Codes, shape (rows, features); and the effective number of candidates, shape (rows,).

    Raises:
        ValueError: if the density is zero at the observed values of a row.
    """
    found, effective = x.clone(), x.new_full((len(x),), float(conditional.CANDIDATES))
    for rows, whole, weights, number in conditional.candidates(
        model, imputer, x, context, generator
    ):
        guess = torch.empty_like(x[rows])
        for places, own in _grouped(model.columns):
            guess[:, places] = _guess(own, whole[..., places], weights)
        found[rows] = torch.where(x[rows].isnan(), guess, x[rows])
        effective[rows] = number
    return found, effective


def _grouped(columns: Columns) -> Iterator[tuple[list[int], list[Column]]]:
    """Yield the places of each column of the table among the features, and its parts."""
    groups: dict[tuple[Label, bool], list[int]] = {}
    for i, column in enumerate(columns.features):
        groups.setdefault((column.of, column.gap_of is not None), []).append(i)
    for places in groups.values():
        yield places, [columns.features[i] for i in places]


def _guess(columns: list[Column], codes: Tensor, weights: Tensor) -> Tensor:
    """Return the expectation of a column, (rows, parts).

    Args:
        columns: the parts of the column, or itself.
        codes: of candidates, shape (candidates, rows, parts).
        weights: of the candidates, shape (candidates, rows).
    """
    if columns[0].part is not None:
        numpy = {
            column: part.numpy() for column, part in zip(columns, codes.unbind(-1), strict=True)
        }
        times = torch.from_numpy(ticks(numpy))
        away = torch.where(weights > 0, times - _mean(times, weights), torch.inf).abs()
        nearest = away.argmin(0).expand(1, codes.shape[-1], -1).transpose(1, 2)
        return codes.gather(0, nearest)[0]
    if columns[0].has_numbers:
        levels = weights.new_tensor(columns[0].categories)
        mean = _mean(levels[codes[..., 0].long().clamp(max=len(levels) - 1)], weights)
        place = np.interp(mean.numpy(), columns[0].categories, np.arange(len(levels)))
        return torch.from_numpy(place)[:, None]
    if columns[0].is_categorical:
        mass = weights.new_zeros(len(columns[0].categories) + 1, weights.shape[1])
        return mass.scatter_add_(0, codes[..., 0].long(), weights).argmax(0)[:, None].to(codes)
    seen = ends(columns[0])
    values = codes[..., 0] if seen is None else codes[..., 0].clamp(*seen)
    return _mean(values, weights)[:, None]


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (torch.where(weights > 0, values, 0.0) * weights).sum(0)
