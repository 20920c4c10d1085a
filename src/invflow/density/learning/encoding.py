"""From numbers in a table's units to what a flow sees, and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from invflow._part import Part
from invflow.density.learning.spread import spread
from invflow.density.table import Columns

#: So many standard deviations away a density counts as zero: float32 can just square them.
FAR = 1e15

#: So many points in the unit cube are averaged over for the probability of whole numbers.
SHIFTS = 32


class Encoding(Part):
    r"""Column by column: dequantised, unbounded, standardised.

    $$y_i = \frac{u_i(x_i + r_i) - \mu_i}{\sigma_i}, \qquad u_i(t) = \begin{cases}
    t \\ \log(t - a_i) \\ -\log(b_i - t) \\ \log(t - a_i) - \log(b_i - t) \end{cases}$$

    for columns without bounds, with a lower one, an upper one, both; $r_i \in [0, 1)$ is noise for
    whole numbers, and zero for others. What a table holds is kept in float64.

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
            # The largest whole number stands for what is between it and the next.
            "high": [
                math.inf if c.high is None else c.high + (c.kind == "integer") for c in features
            ],
            "location": [column.location for column in features],
            "scale": [column.scale for column in features],
        }
        tensors = {name: torch.tensor(each, dtype=torch.float64) for name, each in kept.items()}
        with torch.device("cpu"):  # whatever the default, as it depends on values
            shifts = torch.zeros(SHIFTS if any(integers) else 1, len(features), dtype=torch.float64)
            shifts[:, integers] = spread(len(shifts), sum(integers))
        return {**tensors, "shifts": shifts.to(torch.get_default_device())}

    integer: Tensor
    low: Tensor
    high: Tensor
    location: Tensor
    scale: Tensor
    #: Noise that is spread evenly, shape (points, features): one point without whole numbers.
    shifts: Tensor

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return y, and log |dy/dx| of every number.

        Args:
            x: shape (*batch, features), NaN where missing. On a bound or beyond, or `FAR` away,
                the logarithm of the derivative is minus infinity, so that the density is zero.
            noise: in [0, 1), shape (*batch, features); used for whole numbers alone.

        Returns:
            Both of shape (*batch, features); NaN where x is missing.
        """
        t = torch.where(self.integer > 0, x + noise, x)
        below, above = t - self.low, self.high - t
        inside = (below > 0) & (above > 0) | t.isnan()
        # Anything inside will do where the density is zero, and infinity counts as no bound.
        below = torch.where(inside & self.low.isfinite(), below, 1.0)
        above = torch.where(inside & self.high.isfinite(), above, 1.0)
        free = torch.where(self.low.isfinite() | self.high.isfinite(), 0.0, t)
        u = free + below.log() - above.log()
        both = self.low.isfinite() & self.high.isfinite()
        width = torch.where(both, self.high - self.low, 1.0)
        # d/dt of log(t - a) - log(b - t) is (b - a) / ((t - a) (b - t)).
        slope = width.log() - below.log() - above.log()
        y = (u - self.location) / self.scale
        near = ~(y.abs() > FAR)
        ladj = torch.where(inside & near, slope - self.scale.log(), -torch.inf)
        return torch.where(near, y, 0.0), ladj.masked_fill(t.isnan(), torch.nan)

    def decode(self, y: Tensor) -> Tensor:
        """Return the numbers of a table, of shape (*batch, features); whole where they were."""
        u = self.location + self.scale * y.double()
        low, high = self.low, self.high
        t = torch.where(low.isfinite(), low + u.exp(), u)
        t = torch.where(high.isfinite() & ~low.isfinite(), high - (-u).exp(), t)
        between = low + (high - low) * logsigmoid(u).exp()
        t = torch.where(low.isfinite() & high.isfinite(), between, t)
        # Rounding may have come to a bound, or to infinity.
        t = t.clamp(_above(low), _below(high))
        return torch.where(self.integer > 0, t.floor(), t)


def _above(low: Tensor) -> Tensor:
    """Return the next number, or the smallest that is finite."""
    return torch.nextafter(low, torch.full_like(low, torch.inf))


def _below(high: Tensor) -> Tensor:
    return torch.nextafter(high, torch.full_like(high, -torch.inf))
