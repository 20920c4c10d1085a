"""What may stand where values are missing, given those that are there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invflow import flows
from invflow.density.learning.model import TableDensity
from invflow.flows import Flow

#: Fast to sample, flexible; its density at given points is the cached inverse.
FLOW: Mapping[str, Any] = {
    "name": "iaf",
    "transforms": 2,
    "hidden_features": [64, 64],
    "univariate": "spline",
}


class Imputer(nn.Module):
    r"""A conditional flow over rows, given any part of them.

    For a row y of which the part o is observed, it draws a whole vector $v \sim q(v | y_o, o, c)$:
    at missing places a guess, at observed ones standard normal numbers of no use. The guess
    completes the row, and with the density p of whole rows

    $$w = \frac{p(y_o, v_m | c)\, N(v_o; 0, 1)}{q(v | y_o, o, c)}, \qquad E_q[w] = p(y_o | c)$$

    without bias, whatever q is: values of no use are part of both densities, so that one flow
    serves every pattern of missing values.

    Args:
        model: the density of whole rows.
        generator: random numbers for initial weights.
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
        """Return rows completed with a draw each, their log density and that of w, with gradients.

        Args:
            model: the density of whole rows.
            y: as the flow sees it, shape (rows, features), NaN where missing.
            context: shape (rows, context size).
            noise: standard normal numbers to make a draw of, the shape of y.
        """
        there = ~y.isnan()
        noise = noise.to(self.flow.like)
        v, ladj = self.flow.transform(noise, self._given(y, there, context))
        log_q = self.flow.base.log_prob(noise) - ladj
        whole = torch.where(there, y.nan_to_num(0.0), v.double())
        useless = torch.where(there, _log_normal(v), 0.0).sum(-1)
        log_p = model(whole, context)
        return whole, log_p, log_p + (useless - log_q).double()

    def log_prob(self, y: Tensor, there: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Return log q of whole rows of which a part is seen, shape (rows,): to be maximised.

        Args:
            y: whole rows as the flow sees them, shape (rows, features).
            there: what is seen of them, the shape of y.
            context: shape (rows, context size).
            noise: standard normal numbers to stand for what is seen, the shape of y.
        """
        v = torch.where(there, noise, y).to(self.flow.like)
        given = self._given(y, there, context)
        return self.flow(given, validate_args=False).log_prob(v)

    def _given(self, y: Tensor, there: Tensor, context: Tensor) -> Tensor:
        seen = torch.where(there, y, 0.0)
        return torch.cat([seen, there, context], -1).to(self.flow.like)


def hide(y: Tensor, generator: torch.Generator) -> Tensor:
    """Return what of rows is to be seen: of each another share of places, at random, never all."""
    share = torch.rand(len(y), 1, generator=generator, device=y.device)
    drawn = torch.rand(y.shape, generator=generator, device=y.device)
    there = drawn < share
    # The place of the largest number is always hidden.
    return there & (drawn < drawn.amax(-1, keepdim=True))


def _log_normal(v: Tensor) -> Tensor:
    return -0.5 * (v.square() + math.log(2 * math.pi))
