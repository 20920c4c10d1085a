"""A proposal for missing values, given the observed ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invflow import flows
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
    r"""A conditional flow over rows, given any of their values.

    For a row y with observed values o, it draws a whole vector $v \sim q(v | y_o, o, c)$: proposals
    for missing values, and standard normal numbers, which are not used, for observed ones. The
    proposals complete the row. With the density p of complete rows

    $$w = \frac{p(y_o, v_m | c)\, N(v_o; 0, 1)}{q(v | y_o, o, c)}, \qquad E_q[w] = p(y_o | c)$$

    without bias for any q. The unused values are in both densities, so that one flow serves every
    pattern of missing values.

    Args:
        model: the density of complete rows.
        generator: random numbers for the initial weights.
    """

    def __init__(self, model: TableDensity, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        size = model.flow.features
        context = 2 * size + model.flow.context
        built = flows.build(**FLOW, features=size, context=context, generator=generator)
        self.flow: Flow = built.to(model.flow.like.dtype)

    def complete(
        self, model: TableDensity, y: Tensor, context: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows completed by a draw, their log density and log w, with gradients.

        Args:
            model: the density of complete rows.
            y: encoded rows, shape (rows, features), NaN where missing.
            context: shape (rows, context size).
            noise: standard normal numbers for the draw, the shape of y.
        """
        observed = ~y.isnan()
        noise = noise.to(self.flow.like)
        v, ladj = self.flow.transform(noise, self._given(y, observed, context))
        log_q = self.flow.base.log_prob(noise) - ladj
        complete = torch.where(observed, y.nan_to_num(0.0), v.double())
        unused = torch.where(observed, _log_normal(v), 0.0).sum(-1)
        log_p = model(complete, context)
        return complete, log_p, log_p + (unused - log_q).double()

    def log_prob(self, y: Tensor, observed: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Return log q of complete rows given some of their values, shape (rows,).

        Args:
            y: encoded complete rows, shape (rows, features).
            observed: the values that are given, the shape of y.
            context: shape (rows, context size).
            noise: standard normal numbers in place of the given values, the shape of y.
        """
        v = torch.where(observed, noise, y).to(self.flow.like)
        given = self._given(y, observed, context)
        return self.flow(given, validate_args=False).log_prob(v)

    def _given(self, y: Tensor, observed: Tensor, context: Tensor) -> Tensor:
        values = torch.where(observed, y, 0.0)
        return torch.cat([values, observed, context], -1).to(self.flow.like)


def hide(y: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random mask of the values to observe: a random fraction of each row, never all."""
    fraction = torch.rand(len(y), 1, generator=generator, device=y.device)
    drawn = torch.rand(y.shape, generator=generator, device=y.device)
    # The value with the largest number is always hidden.
    return (drawn < fraction) & (drawn < drawn.amax(-1, keepdim=True))


def _log_normal(v: Tensor) -> Tensor:
    return -0.5 * (v.square() + math.log(2 * math.pi))
