"""The map from the codes of numbers to the inputs of a flow, and back."""

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

#: Number of points in the unit cube that are averaged for the probability of a cell of the grids;
#: a single one where all cells are narrower than this many standard deviations.
SHIFTS, NARROW = 32, 1e-2


class Encoding(Part):
    r"""Dequantises grids, removes bounds and standardises the codes of numbers (see `Column`).

    $$y_i = \frac{u_i(x_i + r_i) - \mu_i}{\sigma_i}, \qquad u_i(t) = \begin{cases}
    t \\ \log(t - a_i) \\ -\log(b_i - t) \\ \log(t - a_i) - \log(b_i - t) \end{cases}$$

    for columns without bounds, with a lower bound, an upper bound, and both; $r_i \in [0, 1)$ is
    noise on a grid, and zero for other columns. Codes of categories are passed on. The values of a
    table stay in float64.

    A bound that was found in the data may be wrong. Of the probability of the cell on it, a share
    $\varepsilon$ (`Column.beyond`) goes to the cells beyond: $\varepsilon / (j (j + 1))$ to the
    j-th, and these add up to $\varepsilon$.

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
        grids = [column.grid is not None for column in features]
        cells = [column.cells for column in features]
        kept: dict[str, list[Any]] = {
            "grid": grids,
            "low": [-math.inf if low is None else low for low, _ in cells],
            "high": [math.inf if high is None else high for _, high in cells],
            "location": [column.location for column in features],
            "scale": [column.scale for column in features],
            "beyond": [column.beyond for column in features],
        }
        tensors = {name: torch.tensor(each, dtype=torch.float64) for name, each in kept.items()}
        wide = [
            column for column in features if column.grid is not None and NARROW * column.scale < 1
        ]
        with torch.device("cpu"):  # also under a default device without values, such as "meta"
            shifts = torch.zeros(SHIFTS if wide else 1, len(features), dtype=torch.float64)
            shifts[:, grids] = spread(len(shifts), sum(grids))
        return {**tensors, "shifts": shifts.to(torch.get_default_device())}

    grid: Tensor
    low: Tensor
    high: Tensor
    location: Tensor
    scale: Tensor
    beyond: Tensor
    #: Evenly spread noise, shape (points, features); a single point if no column needs more.
    shifts: Tensor

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return y, and log |dy/dx| of every number.

        Args:
            x: codes, shape (*batch, features), NaN where missing. On a declared bound or beyond
                it, or `FARTHEST` away, the logarithm of the derivative is minus infinity, so that
                the density is zero.
            noise: in [0, 1), shape (*batch, features); used on grids only.

        Returns:
            Both of shape (*batch, features); NaN where x is missing.
        """
        if self._is_plain:
            y = (x - self.location).div_(self.scale)
            # What is missing is not within any distance.
            if y.numel() and float(y.detach().abs().max()) <= FARTHEST:
                return y, (-self.scale.log()).expand_as(y)
        x, share = self._within(x)
        t = torch.where(self.grid > 0, x + noise, x)
        u, slope, inside = self._free(t)
        y = (u - self.location) / self.scale
        near = ~(y.abs() > FARTHEST)
        ladj = torch.where(inside & near, slope - self.scale.log() + share, -torch.inf)
        return torch.where(near, y, 0.0), ladj.masked_fill(t.isnan(), torch.nan)

    @property
    def _is_plain(self) -> bool:
        """Whether numbers are only standardised."""
        features = self.columns.features
        return all(column.grid is None and column.cells == (None, None) for column in features)

    def _free(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return u, log |du/dt|, and whether t is between its bounds."""
        bounded = self.low.isfinite() | self.high.isfinite()
        if not any(column.cells != (None, None) for column in self.columns.features):
            return t, torch.zeros_like(self.scale), torch.ones_like(bounded)
        below, above = t - self.low, self.high - t
        inside = (below > 0) & (above > 0) | t.isnan()
        # Where the density is zero, or there is no bound, any finite value will do.
        below = torch.where(inside & self.low.isfinite(), below, 1.0)
        above = torch.where(inside & self.high.isfinite(), above, 1.0)
        u = torch.where(bounded, 0.0, t) + below.log() - above.log()
        both = self.low.isfinite() & self.high.isfinite()
        width = torch.where(both, self.high - self.low, 1.0)
        # d/dt of log(t - a) - log(b - t) is (b - a) / ((t - a) (b - t)).
        return u, width.log() - below.log() - above.log(), inside

    def _within(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes inside the bounds that were found, and the log fraction of their cells."""
        if not any(column.beyond for column in self.columns.features):
            return x, torch.zeros_like(x)
        least, most = self.low, self.high - 1
        found = self.beyond > 0
        inside = torch.where(found, torch.minimum(torch.maximum(x, least), most), x)
        steps = (x - inside).abs()
        outer = self.beyond.log() - steps.log() - steps.log1p()
        on_bound = found & ((inside == least) | (inside == most))
        share = torch.where(steps > 0, outer, torch.where(on_bound, (-self.beyond).log1p(), 0.0))
        return inside, share

    def decode(self, y: Tensor) -> Tensor:
        """Return the codes of numbers, shape (*batch, features), those on grids rounded."""
        u = self.location + self.scale * y.double()
        low, high = self.low, self.high
        t = torch.where(low.isfinite(), low + u.exp(), u)
        t = torch.where(high.isfinite() & ~low.isfinite(), high - (-u).exp(), t)
        between = low + (high - low) * logsigmoid(u).exp()
        t = torch.where(low.isfinite() & high.isfinite(), between, t)
        # Rounding may have reached a bound, or infinity.
        t = t.clamp(_above(low), _below(high))
        return torch.where(self.grid > 0, t.floor(), t)


def _above(low: Tensor) -> Tensor:
    """Return the next larger number."""
    return torch.nextafter(low, torch.full_like(low, torch.inf))


def _below(high: Tensor) -> Tensor:
    """Return the next smaller number."""
    return torch.nextafter(high, torch.full_like(high, -torch.inf))
