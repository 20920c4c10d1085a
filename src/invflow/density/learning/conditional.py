"""Rows with gaps: their density, and what the gaps may hold."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity

#: Draws of the imputer for each row.
CANDIDATES = 256
#: So many are picked from one set of them, that few come twice.
PICKED = 16
#: Fewer effective ones are worth a warning.
ENOUGH = 10
#: Of rows times draws, so many at once.
AT_ONCE = 2**15


@torch.no_grad()
def log_prob(model: TableDensity, imputer: Imputer, x: Tensor, context: Tensor) -> Tensor:
    r"""Return the log density of what is there of rows, shape (rows,).

    $$\log \frac1K \sum_k w_k$$

    with the importance weights of `Imputer`: below the logarithm of the integral over what is
    missing by about half the relative variance of the mean. All rows see the same noise, so that
    the density of a row does not depend on the others.

    Args:
        model: the density of whole rows.
        imputer: of that density.
        x: shape (rows, features), NaN where missing.
        context: shape (rows, context size).
    """
    random = torch.Generator(x.device).manual_seed(0)
    noise = torch.randn(CANDIDATES, x.shape[-1], generator=random, dtype=x.dtype, device=x.device)
    parts = [
        _weigh(model, imputer, *rows, noise.unsqueeze(1), model.shifts)[1].logsumexp(0)
        for rows in _pieces(x, context)
    ]
    return torch.cat([x.new_empty(0), *parts]) - math.log(CANDIDATES)


@torch.no_grad()
def draw(
    model: TableDensity,
    imputer: Imputer,
    x: Tensor,
    context: Tensor,
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return draws of rows given what is there of them.

    The imputer's draws are resampled by their importance weights, with which they become draws of
    the density itself as their effective number grows.

    Args:
        model: the density of whole rows.
        imputer: of that density.
        x: shape (rows, features), NaN where missing.
        context: shape (rows, context size).
        count: draws for each row.
        generator: random numbers.

    Returns:
        Rows, shape (count, rows, features); and of how many of the `CANDIDATES` the weights are
        as good as, shape (rows,).

    Raises:
        ValueError: the density is zero at what is there of a row.
    """
    found: list[Tensor] = []
    effective: list[Tensor] = []
    for part, given in _pieces(x, context):
        rounds = [
            _resampled(model, imputer, part, given, min(PICKED, count - done), generator)
            for done in range(0, count, PICKED)
        ]
        found.append(torch.cat([drawn for drawn, _ in rounds]))
        effective.append(torch.stack([worth for _, worth in rounds]).mean(0))
    empty = x.new_empty(count, 0, x.shape[-1])
    return torch.cat([empty, *found], 1), torch.cat([x.new_empty(0), *effective])


def _resampled(
    model: TableDensity,
    imputer: Imputer,
    x: Tensor,
    context: Tensor,
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return draws picked from one set of candidates, and what these are worth."""
    shape = (CANDIDATES, *x.shape)
    options: dict[str, Any] = {"generator": generator, "dtype": x.dtype, "device": x.device}
    noise, shifts = torch.randn(shape, **options), torch.rand(shape, **options)
    y, log_w = _weigh(model, imputer, x, context, noise, shifts)
    gaps, impossible = x.isnan().any(-1), log_w.isneginf().all(0)
    if (gaps & impossible).any():
        values = x[gaps & impossible][0].tolist()
        raise ValueError(f"nothing can be drawn given {values}, where the density is zero")
    weights = log_w.masked_fill(impossible, 0.0).softmax(0)
    chosen = torch.multinomial(weights.T, count, replacement=True, generator=generator).T
    picked = y.gather(0, chosen.unsqueeze(-1).expand(*chosen.shape, y.shape[-1]))
    # Nothing is drawn of a whole row.
    worth = torch.where(gaps, 1 / weights.square().sum(0), float(CANDIDATES))
    return torch.where(x.isnan(), model.encoding.decode(picked), x), worth


def _pieces(x: Tensor, context: Tensor) -> list[tuple[Tensor, Tensor]]:
    rows = max(1, AT_ONCE // CANDIDATES)
    return list(zip(x.split(rows), context.split(rows), strict=True)) if len(x) else []


def _weigh(
    model: TableDensity,
    imputer: Imputer,
    x: Tensor,
    context: Tensor,
    noise: Tensor,
    shifts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return completed rows as the flow sees them, (candidates, rows, D), and their log weights."""
    shape = (CANDIDATES, *x.shape)
    if shifts.ndim == 2:
        shifts = shifts[torch.arange(CANDIDATES, device=x.device) % len(shifts)].unsqueeze(1)
    y, ladj = model.encoding(x.expand(shape), shifts.expand(shape))
    given = context.expand(*shape[:2], -1).flatten(0, 1)
    whole, _, log_w = imputer.complete(
        model, y.flatten(0, 1), given, noise.expand(shape).flatten(0, 1)
    )
    return whole.view(shape), log_w.view(shape[:2]) + ladj.nansum(-1)
