"""Rows with gaps: their density, and draws that fill the gaps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from invflow.density.learning.enumeration import completions, countable
from invflow.density.learning.imputer import Imputer
from invflow.density.learning.model import TableDensity

#: Draws of the imputer for each row.
CANDIDATES = 256
#: Draws taken from one set of candidates; few, so that few are the same.
DRAWS_PER_SET = 16
#: The fewest effective candidates without a warning.
FEWEST_EFFECTIVE = 10
#: Rows evaluated at once, each with all its candidates.
ROWS_AT_ONCE = 128


def to_be_filled(model: TableDensity, x: Tensor) -> Tensor:
    """Return rows whose gaps count as values that are there but not known, to be drawn."""
    x = x.clone()
    x[:, model.columns.tells] = 0.0
    return x


@torch.no_grad()
def log_prob(model: TableDensity, imputer: Imputer, x: Tensor, context: Tensor) -> Tensor:
    r"""Return the log density of the observed values of rows, shape (rows,).

    $$\log \frac1K \sum_k w_k$$

    with the importance weights of `Imputer`. Its expectation is below the logarithm of the integral
    over missing values, by about half the relative variance of the mean. All rows use the same
    noise, so that the density of a row does not depend on the other rows. If only categories are
    missing, with few values in all, the sum over these is exact.

    Args:
        model: the density of complete rows.
        imputer: of that density.
        x: shape (rows, features), NaN where missing.
        context: shape (rows, context size).
    """
    random = torch.Generator(x.device).manual_seed(0)
    noise = torch.randn(CANDIDATES, x.shape[-1], generator=random, dtype=x.dtype, device=x.device)
    found = x.new_empty(len(x))
    exact = countable(model, x, CANDIDATES)
    for rows in exact.nonzero()[:, 0].split(ROWS_AT_ONCE):
        for part, _, log_p in completions(model, x[rows], context[rows]):
            found[rows[part]] = log_p.logsumexp(0)
    for rows in (~exact).nonzero()[:, 0].split(ROWS_AT_ONCE):
        weighed = _weigh(model, imputer, x[rows], context[rows], noise.unsqueeze(1), model.shifts)
        found[rows] = weighed[1].logsumexp(0) - math.log(CANDIDATES)
    return found


@torch.no_grad()
def draw(
    model: TableDensity,
    imputer: Imputer,
    x: Tensor,
    context: Tensor,
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return draws of rows given their observed values.

    Draws of the imputer are resampled by their importance weights. They approach draws of the
    density itself as their effective number grows. If only categories are missing, with few values
    in all, they are draws of the density itself.

    Args:
        model: the density of complete rows.
        imputer: of that density.
        x: shape (rows, features), NaN where missing.
        context: shape (rows, context size).
        count: draws for each row.
        generator: random numbers.

    Returns:
        Rows, shape (count, rows, features); and the effective number of candidates, of
        `CANDIDATES`, shape (rows,).

    Raises:
        ValueError: if the density is zero at the observed values of a row.
    """
    found = x.expand(count, *x.shape).clone()
    effective = x.new_full((len(x),), float(CANDIDATES))
    exact = countable(model, x, CANDIDATES)
    for rows, whole, weights, _ in _every(model, x, context, exact):
        found[:, rows] = _chosen(whole, weights, count, generator)
    for rows in (~exact).nonzero()[:, 0].split(ROWS_AT_ONCE):
        numbers: list[Tensor] = []
        for done in range(0, count, DRAWS_PER_SET):
            whole, weights, number = _some(model, imputer, x[rows], context[rows], generator)
            few = min(DRAWS_PER_SET, count - done)
            found[done : done + few, rows] = _chosen(whole, weights, few, generator)
            numbers.append(number)
        effective[rows] = torch.stack(numbers).mean(0)
    return found, effective


@torch.no_grad()
def candidates(
    model: TableDensity, imputer: Imputer, x: Tensor, context: Tensor, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield candidates for rows given their observed values, as `draw` takes them.

    Args:
        model: the density of complete rows.
        imputer: of that density.
        x: shape (rows, features), NaN where missing.
        context: shape (rows, context size).
        generator: random numbers.

    Yields:
        The numbers of some rows, (n,); complete rows, (candidates, n, features); their weights,
        (candidates, n), which add up to one; and their effective number, (n,).

    Raises:
        ValueError: if the density is zero at the observed values of a row.
    """
    exact = countable(model, x, CANDIDATES)
    yield from _every(model, x, context, exact)
    for rows in (~exact).nonzero()[:, 0].split(ROWS_AT_ONCE):
        yield rows, *_some(model, imputer, x[rows], context[rows], generator)


def _every(
    model: TableDensity, x: Tensor, context: Tensor, exact: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield all completions of the rows that have few, as `candidates`."""
    for rows in exact.nonzero()[:, 0].split(ROWS_AT_ONCE):
        for part, whole, log_p in completions(model, x[rows], context[rows]):
            own = rows[part]
            weights = _normalised(model, whole, log_p, x[own])
            yield own, whole, weights, x.new_full((len(own),), float(CANDIDATES))


def _some(
    model: TableDensity, imputer: Imputer, x: Tensor, context: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return draws of the imputer as complete rows, their weights and their effective number."""
    shape = (CANDIDATES, *x.shape)
    options: dict[str, Any] = {"generator": generator, "dtype": x.dtype, "device": x.device}
    noise, shifts = torch.randn(shape, **options), torch.rand(shape, **options)
    y, log_w = _weigh(model, imputer, x, context, noise, shifts)
    weights = _normalised(model, y, log_w, x)
    # Complete rows are not drawn.
    number = torch.where(x.isnan().any(-1), 1 / weights.square().sum(0), float(CANDIDATES))
    return torch.where(x.isnan(), model.encoding.decode(y), x), weights, number


def _normalised(model: TableDensity, whole: Tensor, log_w: Tensor, x: Tensor) -> Tensor:
    """Return the weights of candidates, none for categories that were never seen."""
    log_w = torch.where(_has_unseen(model, whole, x), -torch.inf, log_w)
    gaps, impossible = x.isnan().any(-1), log_w.isneginf().all(0)
    if (gaps & impossible).any():
        values = x[gaps & impossible][0].tolist()
        raise ValueError(
            f"missing values cannot be drawn given {values}: the density is zero there"
        )
    return log_w.masked_fill(impossible, 0.0).softmax(0)


def _chosen(whole: Tensor, weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return completions, (count, rows, D), of the candidates (candidates, rows, D), by weight."""
    chosen = torch.multinomial(weights.T, count, replacement=True, generator=generator).T
    return whole.gather(0, chosen.unsqueeze(-1).expand(*chosen.shape, whole.shape[-1]))


def _has_unseen(model: TableDensity, y: Tensor, x: Tensor) -> Tensor:
    """Whether a category that was never seen is among what was drawn."""
    drawn = x[..., model.places.categories].isnan()
    sizes = [] if model.categories is None else model.categories.sizes
    return (drawn & (y[..., model.places.categories] == torch.tensor(sizes).to(y))).any(-1)


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
    whole, drawn = imputer.complete(y.flatten(0, 1), given, noise.expand(shape).flatten(0, 1))
    log_w = model.encoded_log_prob(whole, given) - drawn.sum(0)
    return whole.view(shape), log_w.view(shape[:2]) + ladj.nansum(-1)
