"""The density of a table's rows: an encoding of its columns, and a flow."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks, flows
from invflow.density.learning.categories import Categories
from invflow.density.learning.encoding import Encoding
from invflow.density.table import Columns
from invflow.flows import Flow, FlowMixture


class TableDensity(nn.Module):
    r"""The density of rows, in the units of the table: categories first, then numbers given these.

    $$p(x | c) = P(k | c) \int_{[0, 1)^d} q(y(x + r) | k, c) \left|\frac{dy}{dx}\right| dr$$

    where k are the categories, with the probability P of `Categories`; y is the encoding of the
    numbers and q a flow, whose context has the categories as one-hot vectors. The integral is over
    the cells of the d columns on a grid, for which p is a probability. Training maximises a lower
    bound on its logarithm, $\log P + E_r \log(q\, |dy/dx|)$. In an ensemble q is the mean of
    several flows, P has the mean softmaxes of several networks, and each is trained by itself.
    `log_prob` approximates the integral by the mean over `SHIFTS` fixed, evenly spread r, with an
    error of either sign. Without grids both are exact.

    Args:
        columns: of the table.
        flow: a mapping with the "name" and arguments of a flow, other than `features` and
            `context`, which follow from the columns.
        members: number of flows that are averaged.
        networks: number of networks of the categories that are averaged.
        generator: random numbers for the initial weights.

    Attributes:
        flow: the density of the numbers, a mixture if there are several members; None if all
            features are categorical.
        categories: the probability of the categories; None if there are none.

    Raises:
        TypeError: if the flow does not have an argument.
        ValueError: if the flow is unknown, or an argument is out of range.
    """

    def __init__(
        self,
        columns: Columns,
        flow: Mapping[str, Any],
        *,
        members: int = 1,
        networks: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _checks.choice("flow", flow["name"], _sized())
        named = [column for column in columns.features if column.is_categorical]
        numbers = len(columns.features) - len(named)
        sizes: dict[str, Any] = {
            "features": numbers or 2,  # for a flow that only checks its arguments
            "context": columns.context_size + sum(len(column.categories) for column in named),
        }
        self.columns = columns
        self.encoding = Encoding(columns)
        built: list[Flow] = [
            flows.build(**flow, **sizes, generator=generator) for _ in range(members)
        ]
        self.flow: Flow | FlowMixture | None = None
        if numbers:
            self.flow = built[0] if members == 1 else FlowMixture(built)
        self.categories: Categories | None = None
        if named:
            self.categories = Categories(
                named, columns.context_size, networks=networks, generator=generator
            )
        self.places = Places(columns)

    @property
    def shifts(self) -> Tensor:
        """Evenly spread noise, shape (points, features)."""
        return self.encoding.shifts

    @property
    def like(self) -> Tensor:
        """A tensor with the dtype and device of the weights."""
        return next(self.learned[0].parameters())

    @property
    def flows(self) -> Iterable[nn.Module]:
        """The flows of the numbers, one for each member."""
        if self.flow is None:
            return []
        return self.flow.flows if isinstance(self.flow, FlowMixture) else [self.flow]

    @property
    def networks(self) -> int:
        """The number of networks of the categories; 1 if there are none."""
        return 1 if self.categories is None else len(self.categories.networks)

    @property
    def paths(self) -> list[list[str]]:
        """The paths of the members of the numbers, and of those of the categories."""
        names = {module: path for path, module in self.named_modules()}
        networks = [] if self.categories is None else self.categories.networks
        return [[names[part] for part in parts] for parts in (self.flows, networks)]

    @property
    def learned(self) -> list[nn.Module]:
        """The parts with weights."""
        return [part for part in (self.flow, self.categories) if part is not None]

    def bound(self, x: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """Return the log density of dequantised rows, shape (rows,).

        Args:
            x: codes, shape (rows, features), float64, without missing values.
            context: shape (rows, context size).
            noise: in [0, 1), the shape of x.
        """
        y, ladj = self.encoding(x, noise)
        return self.encoded_log_prob(y, context) + ladj.sum(-1)

    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """Return the log density of rows in nats, shape (rows,).

        Args:
            x: codes, shape (rows, features), float64, without missing values.
            context: shape (rows, context size).
        """
        parts: list[Tensor] = []
        for shift in self.shifts:
            y, ladj = self.encoding(x, shift.expand_as(x))
            parts.append(self._numbers(y, context) + ladj.sum(-1))
        mean = torch.stack(parts).logsumexp(0) - math.log(len(parts))
        return mean + self._categories(x, context)

    def encoded_log_prob(self, y: Tensor, context: Tensor) -> Tensor:
        """Return the log density of encoded rows, shape (rows,), in float64."""
        return self._numbers(y, context) + self._categories(y, context)

    def forward(self, y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log densities of encoded rows by each member alone, in float64.

        This is the part that is compiled.

        Returns:
            Of the numbers given the categories, and of the categories, both (members, rows).
        """
        numbers, codes = self.places.split(y)
        densities = probabilities = y.new_zeros(1, len(y), dtype=torch.float64)
        if self.flow is not None:
            numbers, given = numbers.to(self.like), self.given(context, codes)
            each = [flow(given, validate_args=False).log_prob(numbers) for flow in self.flows]
            densities = torch.stack(each).double()
        if self.categories is not None:
            probabilities = self.categories.each_log_prob(codes, context)
        return densities, probabilities

    def _numbers(self, y: Tensor, context: Tensor) -> Tensor:
        """Return the log density of the numbers of rows given their categories."""
        if self.flow is None:
            return y.new_zeros(len(y), dtype=torch.float64)
        numbers, codes = self.places.split(y)
        q = self.flow(self.given(context, codes), validate_args=False)
        return q.log_prob(numbers.to(self.like)).double()

    def _categories(self, y: Tensor, context: Tensor) -> Tensor:
        """Return the log probability of the categories of rows."""
        if self.categories is None:
            return y.new_zeros(len(y), dtype=torch.float64)
        return self.categories.log_prob(self.places.split(y)[1], context)

    def sample_encoded(self, context: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return an encoded draw for each row of the context."""
        codes = self.draw_codes(context, generator)
        if self.flow is None:
            return codes
        shape = () if self.flow.context else (len(context),)
        numbers = self.flow(self.given(context, codes)).sample(shape, generator=generator)
        return self.places.join(numbers, codes)

    def draw_codes(self, context: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return a draw of categories that were seen for each row of the context."""
        count = len(context)
        if self.categories is None:
            return context.new_empty(count, 0)
        shape = count, len(self.categories.columns)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=context.device)
        gaps = torch.full_like(uniform, torch.nan)
        return self.categories.fill(gaps, uniform * self.categories.seen, context)[0]

    def sample(self, context: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return a draw for each row of the context as codes, shape (rows, features), float64.

        Where gaps are learned, values that are drawn as missing are NaN, unless a copy has them.
        """
        x = self.encoding.decode(self.sample_encoded(context, generator))
        for place, tells in self.columns.gaps.items():
            gap = (x[..., tells] == 1).all(-1)
            x[..., place] = torch.where(gap, torch.nan, x[..., place])
        return x

    def given(self, context: Tensor, codes: Tensor) -> Tensor | None:
        """Return what the numbers are conditional on in the form that the flow takes.

        Args:
            context: shape (rows, context size).
            codes: of the categories, shape (rows, categorical features).
        """
        if self.flow is None or not self.flow.context:
            return None
        context = context.to(self.like)
        if self.categories is None:
            return context
        return torch.cat([context, self.categories.one_hot(codes)], -1)


class Places:
    """Where numbers and categories are among the features.

    Args:
        columns: of the table.
    """

    def __init__(self, columns: Columns) -> None:
        named = [column.is_categorical for column in columns.features]
        self.numbers = [i for i, is_named in enumerate(named) if not is_named]
        self.categories = [i for i, is_named in enumerate(named) if is_named]

    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers and the categories of rows, (rows, features)."""
        if not self.categories:
            return y, y[..., :0]
        return y[..., self.numbers], y[..., self.categories]

    def join(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Return rows, (rows, features), in the dtype of the numbers if there are only these."""
        if not self.categories:
            return numbers
        whole = categories.new_empty(*categories.shape[:-1], len(self.numbers + self.categories))
        whole[..., self.numbers], whole[..., self.categories] = numbers.to(whole), categories
        return whole


def _sized() -> list[str]:
    """Return the names of flows that take `features`; others are made of flows."""
    kinds = Flow.kinds().items()
    return [name for name, kind in kinds if "features" in inspect.signature(kind).parameters]
