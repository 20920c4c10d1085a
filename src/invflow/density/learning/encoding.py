"""The map from numbers in the units of a table to the inputs of a flow, and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from invflow._part import Part
from invflow.density.learning.spread import spread
from invflow.density.table import Columns

#: The density is zero this many standard deviations away; float32 can just square them.
FARTHEST = 1e15

#: Number of points in the unit cube that are averaged for the probability of integers.
SHIFTS = 32


class Encoding(Part):
    r"""Dequantises integers, removes bounds and standardises, column by column.

    $$y_i = \frac{u_i(x_i + r_i) - \mu_i}{\sigma_i}, \qquad u_i(t) = \begin{cases}
    t \\ \log(t - a_i) \\ -\log(b_i - t) \\ \log(t - a_i) - \log(b_i - t) \end{cases}$$

    for columns without bounds, with a lower bound, an upper bound, and both; $r_i \in [0, 1)$ is
    noise for integers, and zero for other columns. The values of a table stay in float64.

    Args:
        columns: of the table.

    Example:
        >>> import pandas as pd
        >>> from invflow.density.table import Frame, survey
        >>> table = pd.DataFrame({"rate": [0.2, 0.5, 0.8]})
        >>> encoding = Encoding(survey(Frame(table), {"rate": (0, 1)}))
        >>> x = torch.tensor([[0.25]], dtype=torch.float64)
        >>> y, ladj = encoding(x, torch.zeros_like(x))
        >>> encoding.decode(y)
        tensor([[0.2500]], dtype=torch.float64)
    """

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self.columns = columns
        self.keep_constants()

    def constants(self) -> dict[str, Tensor]:
        features = self.columns.features
        integers = [column.kind == "integer" for column in features]
        kept: dict[str, list[Any]] = {
            "integer": integers,
            "low": [-math.inf if c.low is None else c.low for c in features],
            # The largest integer represents the interval up to the next one.
            "high": [
                math.inf if c.high is None else c.high + (c.kind == "integer") for c in features
            ],
            "location": [column.location for column in features],
            "scale": [column.scale for column in features],
        }
        tensors = {name: torch.tensor(each, dtype=torch.float64) for name, each in kept.items()}
        with torch.device("cpu"):  # also under a default device without values, such as "meta"
            shifts = torch.zeros(SHIFTS if any(integers) else 1, len(features), dtype=torch.float64)
            shifts[:, integers] = spread(len(shifts), sum(integers))
        return {**tensors, "shifts": shifts.to(torch.get_default_device())}

    integer: Tensor
    low: Tensor
    high: Tensor
    location: Tensor
    scale: Tensor
    #: Evenly spread noise, shape (points, features); a single point if no column is integer.
    shifts: Tensor

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return y, and log |dy/dx| of every number.

        Args:
            x: shape (*batch, features), NaN where missing. On a bound or beyond it, or `FARTHEST`
                away, the logarithm of the derivative is minus infinity, so that the density is
                zero.
            noise: in [0, 1), shape (*batch, features); used for integers only.

        Returns:
            Both of shape (*batch, features); NaN where x is missing.
        """
        t = torch.where(self.integer > 0, x + noise, x)
        below, above = t - self.low, self.high - t
        inside = (below > 0) & (above > 0) | t.isnan()
        # Where the density is zero, or there is no bound, any finite value will do.
        below = torch.where(inside & self.low.isfinite(), below, 1.0)
        above = torch.where(inside & self.high.isfinite(), above, 1.0)
        free = torch.where(self.low.isfinite() | self.high.isfinite(), 0.0, t)
        u = free + below.log() - above.log()
        both = self.low.isfinite() & self.high.isfinite()
        width = torch.where(both, self.high - self.low, 1.0)
        # d/dt of log(t - a) - log(b - t) is (b - a) / ((t - a) (b - t)).
        slope = width.log() - below.log() - above.log()
        y = (u - self.location) / self.scale
        near = ~(y.abs() > FARTHEST)
        ladj = torch.where(inside & near, slope - self.scale.log(), -torch.inf)
        return torch.where(near, y, 0.0), ladj.masked_fill(t.isnan(), torch.nan)

    def decode(self, y: Tensor) -> Tensor:
        """Return numbers in the units of the table, shape (*batch, features), integers rounded."""
        u = self.location + self.scale * y.double()
        low, high = self.low, self.high
        t = torch.where(low.isfinite(), low + u.exp(), u)
        t = torch.where(high.isfinite() & ~low.isfinite(), high - (-u).exp(), t)
        between = low + (high - low) * logsigmoid(u).exp()
        t = torch.where(low.isfinite() & high.isfinite(), between, t)
        # Rounding may have reached a bound, or infinity.
        t = t.clamp(_above(low), _below(high))
        return torch.where(self.integer > 0, t.floor(), t)


def _above(low: Tensor) -> Tensor:
    """Return the next larger number."""
    return torch.nextafter(low, torch.full_like(low, torch.inf))


def _below(high: Tensor) -> Tensor:
    """Return the next smaller number."""
    return torch.nextafter(high, torch.full_like(high, -torch.inf))
