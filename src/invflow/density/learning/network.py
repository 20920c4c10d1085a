"""A masked perceptron: the logits of categorical columns, each given the columns before it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, linear

from invflow._part import Part
from invflow.density.table import Column

#: Widths of the two hidden layers.
HIDDEN = 128
#: The spread of the initial hidden and output weights, as in `MADE`.
GAIN, OUTPUT_GAIN = 0.7, 0.01


class Network(Part):
    """The logits of all columns from one pass over their one-hot vectors.

    Args:
        columns: categorical and ordinal, with the counts of their categories.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights.
    """

    def __init__(
        self, columns: Sequence[Column], context: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.context = context
        self.sizes = [len(column.categories) for column in columns]
        units, read = sum(self.sizes), sum(self.sizes) + context
        shapes = [(HIDDEN, read), (HIDDEN, HIDDEN), (units, HIDDEN), (units, read)]
        self.weights = nn.ParameterList(torch.empty(shape) for shape in shapes)
        self.biases = nn.ParameterList(torch.empty(rows) for rows, _ in shapes[:3])
        self.keep_constants()
        self._initialise(columns, generator)

    def constants(self) -> dict[str, Tensor]:
        count = len(self.sizes)
        owners = [j for j, size in enumerate(self.sizes) for _ in range(size)]
        inputs = [0] * self.context + [j + 1 for j in owners]
        hidden = [k * count // HIDDEN for k in range(HIDDEN)]
        degrees = [inputs, hidden, hidden, owners]
        masks = {
            f"mask_{i}": torch.tensor(degrees[row])[:, None] >= torch.tensor(degrees[column])
            for i, (row, column) in enumerate([(1, 0), (2, 1), (3, 2), (3, 0)])
        }
        return {name: mask.to(torch.get_default_dtype()) for name, mask in masks.items()}

    @torch.no_grad()
    def _initialise(self, columns: Sequence[Column], generator: torch.Generator | None) -> None:
        """Start near the frequencies of the columns, each for itself."""
        for i, weight in enumerate(self.weights):
            seen = self.get_buffer(f"mask_{i}").sum(1, keepdim=True).clamp(min=1)
            scale = (GAIN if i < 2 else OUTPUT_GAIN) * seen.rsqrt()
            nn.init.normal_(weight, generator=generator).mul_(scale)
        *hidden, last = self.biases
        for bias in hidden:
            nn.init.uniform_(bias, -0.5, 0.5, generator=generator)
        counts = [column.counts or (0,) * len(column.categories) for column in columns]
        last.copy_((torch.tensor(list(chain(*counts))) + 0.5).log())

    def forward(self, read: Tensor) -> Tensor:
        """Return the logits of all categories, (*batch, sum of the numbers of categories).

        Args:
            read: the context and the one-hot vectors, (*batch, context + the same).
        """
        first, second, third, direct = (
            weight * self.get_buffer(f"mask_{i}") for i, weight in enumerate(self.weights)
        )
        hidden = elu(linear(read, first, self.biases[0]))
        hidden = elu(linear(hidden, second, self.biases[1]))
        return linear(hidden, third, self.biases[2]) + linear(read, direct)
