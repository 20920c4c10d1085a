"""A proposal for missing values, given the observed ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invflow import flows
from invflow.density.learning.categories import Categories, uniforms
from invflow.density.learning.model import TableDensity
from invflow.flows import Flow

#: Fast to sample, and flexible; its density at given points takes the cached inverse.
FLOW: Mapping[str, Any] = {
    "name": "iaf",
    "transforms": 2,
    "hidden_features": [64, 64],
    "univariate": "spline",
}


class Imputer(nn.Module):
    r"""A proposal for the missing values of rows: categories first, then numbers given these.

    For a row y with observed values o it draws the missing categories one after the other from
    softmaxes (`Categories`), given everything observed. Then it draws a whole vector of numbers
    $v \sim q(v | y_o, o, k, c)$ given all categories k: proposals for missing numbers, and standard
    normal ones, which are not used, for observed numbers. The proposals complete the row. With the
    density p of complete rows

    $$w = \frac{p(y_o, k_m, v_m | c)\, N(v_o; 0, 1)}{q(k_m | y_o, o, c)\, q(v | y_o, o, k, c)},
    \qquad E_q[w] = p(y_o | c)$$

    without bias for any q. The unused values are in both densities, so that one flow serves every
    pattern of missing values.

    Args:
        model: the density of complete rows.
        generator: random numbers for the initial weights.
    """

    def __init__(self, model: TableDensity, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.places = model.places
        numbers, context = len(model.places.numbers), model.columns.context_size
        named = [] if model.categories is None else model.categories.columns
        levels = sum(len(column.categories) for column in named)
        self.flow: Flow | None = None
        if numbers:
            size = 2 * numbers + levels + context
            built = flows.build(**FLOW, features=numbers, context=size, generator=generator)
            self.flow = built.to(model.like.dtype)
        self.categories: Categories | None = None
        if named:
            size = 2 * numbers + levels + len(named) + context
            own = Categories(named, size, generator=generator)
            self.categories = own.to(model.like.dtype)

    @property
    def like(self) -> Tensor:
        """A tensor with the dtype and device of the weights."""
        return next(self.parameters())

    def complete(self, y: Tensor, context: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows completed by a draw, and how likely that was, with gradients.

        The draw of categories has no gradient.

        Args:
            y: encoded rows, shape (rows, features), NaN where missing.
            context: shape (rows, context size).
            noise: standard normal numbers for the draw, the shape of y.

        Returns:
            Complete rows; and the log density of what was drawn, less that of the unused numbers,
            of the numbers and of the categories, (2, rows). log w is the log density of the
            complete rows less both.
        """
        observed = ~y.isnan()
        filled, drawn = y, y.new_zeros(2, len(y), dtype=torch.float64)
        if self.categories is not None:
            numbers, codes = self.places.split(y)
            given = self._known(self.categories, y, observed, context)
            uniform = uniforms(self.places.split(noise)[1])
            codes, log_q = self.categories.fill(codes, uniform, given)
            drawn = torch.stack([drawn[0], log_q])
            filled = self.places.join(numbers, codes)
        if self.flow is not None:
            numbers, codes = self.places.split(filled)
            there = self.places.split(observed)[0]
            normal = self.places.split(noise)[0].to(self.flow.like)
            v, ladj = self.flow.transform(normal, self._given(numbers, there, codes, context))
            unused = torch.where(there, _log_normal(v), 0.0).sum(-1)
            log_q = self.flow.base.log_prob(normal) - ladj - unused
            drawn = torch.stack([log_q.double(), drawn[1]])
            whole = torch.where(there, numbers.nan_to_num(0.0), v.double())
            filled = self.places.join(whole, codes)
        return filled, drawn

    def log_prob(self, y: Tensor, observed: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Return log q of complete rows given some of their values, shape (rows,).

        Args:
            y: encoded complete rows, shape (rows, features).
            observed: the values that are given, the shape of y.
            context: shape (rows, context size).
            noise: standard normal numbers in place of the given numbers, the shape of y.
        """
        numbers, codes = self.places.split(y)
        log_q = y.new_zeros(len(y))
        if self.flow is not None:
            there = self.places.split(observed)[0]
            v = torch.where(there, self.places.split(noise)[0], numbers).to(self.flow.like)
            given = self._given(numbers, there, codes, context)
            log_q = self.flow(given, validate_args=False).log_prob(v)
        if self.categories is not None:
            hidden = ~self.places.split(observed)[1]
            given = self._known(self.categories, y, observed, context)
            each = self.categories.log_probs(codes, given)
            log_q = log_q + torch.where(hidden, each, 0.0).sum(-1)
        return log_q

    def _given(self, numbers: Tensor, there: Tensor, codes: Tensor, context: Tensor) -> Tensor:
        """Return what the flow is given: observed numbers, and all categories."""
        parts = [torch.where(there, numbers, 0.0), there, context]
        if self.categories is not None:
            parts.append(self.categories.one_hot(codes))
        return torch.cat([part.to(self.like) for part in parts], -1)

    def _known(
        self, categories: Categories, y: Tensor, observed: Tensor, context: Tensor
    ) -> Tensor:
        """Return what the categories are given: all observed values."""
        numbers, codes = self.places.split(torch.where(observed, y, torch.nan))
        parts = [numbers.nan_to_num(0.0), observed, context, categories.one_hot(codes)]
        return torch.cat([part.to(self.like) for part in parts], -1)


def hide(y: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random mask of the values to observe: a random fraction of each row, never all."""
    fraction = torch.rand(len(y), 1, generator=generator, device=y.device)
    drawn = torch.rand(y.shape, generator=generator, device=y.device)
    # The value with the largest number is always hidden.
    return (drawn < fraction) & (drawn < drawn.amax(-1, keepdim=True))


def _log_normal(v: Tensor) -> Tensor:
    return -0.5 * (v.square() + math.log(2 * math.pi))
