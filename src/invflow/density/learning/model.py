"""The density of a table's rows: an encoding of its columns, and a flow."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks, flows
from invflow.density.learning.encoding import Encoding
from invflow.density.table import Columns
from invflow.flows import Flow


class TableDensity(nn.Module):
    r"""The density of rows, in the units of the table.

    $$p(x | c) = \int_{[0, 1)^d} q(y(x + r) | c) \left|\frac{dy}{dx}\right| dr$$

    where y is the encoding of the columns, q a flow, and the integral is over the d integer
    columns, for which p is a probability. Training maximises a lower bound on its logarithm,
    $E_r \log(q\, |dy/dx|)$. `log_prob` approximates the integral by the mean over `SHIFTS` fixed,
    evenly spread r, with an error of either sign. Without integers both are exact.

    Args:
        columns: of the table.
        flow: a mapping with the "name" and arguments of a flow, other than `features` and
            `context`, which follow from the columns.
        generator: random numbers for the initial weights.

    Raises:
        TypeError: if the flow does not have an argument.
        ValueError: if the flow is unknown, or an argument is out of range.
    """

    def __init__(
        self,
        columns: Columns,
        flow: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _checks.choice("flow", flow["name"], _sized())
        sizes: dict[str, Any] = {"features": len(columns.features), "context": columns.context_size}
        self.columns = columns
        self.encoding = Encoding(columns)
        self.flow: Flow = flows.build(**flow, **sizes, generator=generator)

    @property
    def shifts(self) -> Tensor:
        """Evenly spread noise, shape (points, features)."""
        return self.encoding.shifts

    def bound(self, x: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Return the log density of dequantised rows, shape (rows,).

        Args:
            x: shape (rows, features), float64, without missing values.
            context: shape (rows, context size).
            noise: in [0, 1), the shape of x.
        """
        y, ladj = self.encoding(x, noise)
        return self(y, context) + ladj.sum(-1)

    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the log density of rows in nats, shape (rows,).

        Args:
            x: shape (rows, features), float64, without missing values.
            context: shape (rows, context size).
        """
        parts = [self.bound(x, context, shift.expand_as(x)) for shift in self.shifts]
        return torch.stack(parts).logsumexp(0) - math.log(len(parts))

    def forward(self, y: Tensor, context: Tensor) -> Tensor:
        """Return the log density of encoded rows, shape (rows,), in float64.

        This is the part that is compiled.
        """
        like = self.flow.like
        return self.flow(self.given(context), validate_args=False).log_prob(y.to(like)).double()

    def sample_encoded(self, context: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return an encoded draw for each row of the context."""
        shape = () if self.flow.context else (len(context),)
        return self.flow(self.given(context)).sample(shape, generator=generator)

    def sample(self, context: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return a draw for each row of the context, shape (rows, features), float64."""
        return self.encoding.decode(self.sample_encoded(context, generator))

    def given(self, context: Tensor) -> Tensor | None:
        """Return the context in the form that the flow takes."""
        return context.to(self.flow.like) if self.flow.context else None


def _sized() -> list[str]:
    """Return the names of flows that take `features`; others are made of flows."""
    kinds = Flow.kinds().items()
    return [name for name, kind in kinds if "features" in inspect.signature(kind).parameters]
